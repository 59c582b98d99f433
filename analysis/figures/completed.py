"""A grid of which a part was measured: the rest as estimated, and how wide both their intervals are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ..read.pairs import pivot
from ..read.study import seeds_known, why_no_gain
from ..view import View
from .heatmaps import colour_limit, draw_cells, name_axes, room
from .style import (
    DIVERGING,
    SEQUENTIAL,
    TWO_COLUMNS,
    Plate,
    fix_layout,
    legend_below,
    new_figure,
    notice,
)

_INSIDE = 0.58  # side of the square of an estimate, of a cell's
_EMPTY = "#E6E6E6"


def completed_frame(
    gains: pd.DataFrame, completed: pd.DataFrame, method: str, scale: float = 100
) -> pd.DataFrame:
    """A row a pair of one method: source, target, `points` (measured gain or estimate), `width` of its 95 %
    interval, both in points, whether it is `estimated`, and whether it is the `diagonal`."""
    measured = gains[(gains["method"] == method) & gains["gain"].notna()]
    absent = completed[completed["method"] == method].rename(columns={"estimate": "gain"})
    parts = [measured.assign(estimated=False), absent.assign(estimated=True)]
    columns = ["source", "target", "gain", "low", "high", "estimated"]
    both = pd.concat([part[columns] for part in parts if len(part)], ignore_index=True)
    return pd.DataFrame(
        {
            "source": both["source"],
            "target": both["target"],
            "points": scale * both["gain"],
            "width": scale * (both["high"] - both["low"]),
            "estimated": both["estimated"].astype(bool),
            "diagonal": both["source"] == both["target"],
        }
    )


def draw_completed(
    ax: Axes,
    frame: pd.DataFrame,
    value: str,
    order: Sequence[str],
    colours: str,
    ends: tuple[float, float],
    label: str,
    names: bool = True,
) -> Axes:
    """Map of a column of a `completed_frame`: measured cells are full, estimated ones small squares."""
    wide = pivot(frame, value, order)
    values = wide.to_numpy(float)
    guessed = (
        pivot(frame.assign(estimated=frame["estimated"].astype(float)), "estimated", order) == 1
    )
    beyond = bool((np.abs(values[np.isfinite(values)]) > ends[1]).any())
    draw_cells(ax, wide.mask(guessed), colours, ends, label, beyond)
    colour, scale = mpl.colormaps[colours], Normalize(*ends)
    shown = np.argwhere(guessed.to_numpy() & np.isfinite(values))
    edge = (1 - _INSIDE) / 2
    squares = [Rectangle((j + edge, i + edge), _INSIDE, _INSIDE) for i, j in shown]
    faces = [colour(scale(values[i, j])) for i, j in shown]
    ax.add_collection(PatchCollection(squares, facecolors=faces, linewidths=0))
    at = frame[frame["diagonal"]]
    for task in at["target"]:
        x, y = list(wide.columns).index(task), list(wide.index).index(task)
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, ec="black", lw=0.8, clip_on=False))
    name_axes(ax, wide, y=names)
    return ax


def plot_completed(view: View, method: str, gains: pd.DataFrame, completed: pd.DataFrame) -> Plate:
    """One method's grid, measured and estimated, beside the widths of the intervals."""
    title, words = f"Measured and estimated gains, {method}", view.wording
    reason = why_no_gain(gains, method)
    # With few measured cells there are none.
    completed = completed.dropna(subset=["estimate"])
    if not reason and not (completed["method"] == method).any():
        reason = f"no pair of {method} is estimated"
    if reason:
        return notice(title, reason)
    own = gains[gains["source"].isin(view.tasks)]
    order = view.order(own)
    frame = completed_frame(own, completed, method, words.scale)
    limit = colour_limit([frame])
    width = frame.loc[~frame["diagonal"], "width"].max()
    height = room(order, order, TWO_COLUMNS / 2) + 0.3
    figure, ((left, right),) = new_figure(TWO_COLUMNS, height, 1, 2, layout="compressed")
    look: Any = (order, DIVERGING, (-limit, limit), words.axis)
    draw_completed(left, frame, "points", *look).set_title("gain, or its estimate")
    unit = f"width of the 95% interval ({words.unit})"
    look = (order, SEQUENTIAL, (0.0, float(width) if width > 0 else 1.0), unit, False)
    draw_completed(right, frame, "width", *look).set_title("how uncertain it is")
    for ax in (left, right):
        ax.tick_params(labelsize=6)
    legend_below(figure, _handles(frame, words.own_name))
    fix_layout(figure, passes=2)
    count = int(frame["estimated"].sum())
    name = words.score_name[:1].upper() + words.score_name[1:]
    caption = (
        f"{name}s of {method}: full squares were measured, the {count} small ones are estimates from these "
        "and from similarities of tasks (left); right, the width of their 95% intervals, which for estimates "
        "comes from measured cells that were left out."
    )
    if not seeds_known(gains):
        caption += " With one seed those of measured cells hold the noise of test images alone."
    return Plate(title, caption, figure)


def _handles(frame: pd.DataFrame, own: str) -> list[Any]:
    """Explanations of the marks."""
    square: Any = {"marker": "s", "ls": "", "mfc": "#4D4D4D", "mec": _EMPTY}
    handles: list[Any] = [
        Line2D([], [], ms=7, mew=0, label="measured", **square),
        Line2D([], [], ms=6, mew=1.5, label="estimated", **square),
    ]
    if frame["diagonal"].any():
        handles.append(Patch(fill=False, ec="black", label=own))
    return handles
