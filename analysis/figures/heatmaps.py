"""Heatmaps of gains: one a method, and all methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from mvlpt_core.contract.errors import InputError

from ..read.pairs import pivot
from ..read.study import why_no_gain
from ..stats.multiplicity import ALPHA
from ..view import View
from ..vocabulary import signed
from .style import DIVERGING, MUTED, Plate, fix_layout, legend_below, new_figure, notice


def gain_frame(
    gains: pd.DataFrame,
    method: str,
    order: Sequence[str],
    value: str = "gain",
    scale: float = 100.0,
) -> pd.DataFrame:
    """Cells of one method's heatmap: source, target, points, established, suggested, diverged,
    diagonal.

    points = `scale` x gain. `established`: `significant` in the gains table (false discovery rate
    controlled); `suggested`: the cell's own interval excludes 0; `diverged`: measured but without
    a gain.
    Raises InputError for a method that the table does not have and for a task outside `order`.
    """
    frame = gains[gains["method"] == method]
    if frame.empty:
        known = sorted(set(gains["method"]))
        raise InputError(f"no gains of method '{method}' in the table: expected one of {known}")
    strange = set(frame["source"].unique()) | set(frame["target"].unique())
    if strange - set(order):
        task = min(strange - set(order))
        raise InputError(f"task '{task}' is not in the order of the figure: expected all tasks")
    absent = pd.Series(False, index=frame.index)
    return pd.DataFrame(
        {
            "source": frame["source"],
            "target": frame["target"],
            "points": scale * frame[value],
            "established": frame.get("significant", absent).astype(bool),
            "suggested": frame.get("excludes_zero", absent).astype(bool),
            "diverged": frame[value].isna() & (frame.get("n_diverged", absent) > 0),
            "diagonal": frame["source"] == frame["target"],
        }
    ).reset_index(drop=True)


def colour_limit(frames: Sequence[pd.DataFrame]) -> float:
    """Symmetric end of the colour scale in points: the 98th percentile of the sizes off the
    diagonal, so that one wild cell does not wash out the rest; at least 0.1."""
    values = np.concatenate(
        [np.abs(f.loc[~f["diagonal"], "points"].to_numpy(float)) for f in frames]
    )
    values = values[np.isfinite(values)]
    return max(float(np.percentile(values, 98)) if len(values) else 0.0, 0.1)


def draw_gain_heatmap(
    ax: Axes,
    frame: pd.DataFrame,
    order: Sequence[str],
    limit: float | None = None,
    compact: bool = False,
    labels: tuple[bool, bool] = (True, True),
    colour_bar: bool = True,
    bar_label: str = "transfer gain (points)",
) -> Axes:
    """Draw a frame of `gain_frame`; `compact` (small multiples) leaves out values and means, and
    marks the clearly negative cells with a minus sign, so that grey prints keep the sign."""
    wide = pivot(frame, "points", order)
    limit = colour_limit([frame]) if limit is None else limit
    rows, columns = wide.shape
    size = float(np.clip(7.6 - 0.09 * (max(rows, columns) - 12), 5.5, 8.5))
    beyond = float(np.nanmax(np.abs(wide.to_numpy(float)), initial=0.0)) > limit
    draw_cells(ax, wide, DIVERGING, (-limit, limit), bar_label if colour_bar else "", beyond)
    if not compact:
        write_values(ax, wide, signed, size)
    _marks(ax, frame, wide, size, limit, compact)
    name_axes(ax, wide, *labels)
    if not compact:
        _means(ax, frame, wide, size)
    return ax


def draw_cells(
    ax: Axes,
    wide: pd.DataFrame,
    colours: str,
    ends: tuple[float, float],
    label: str,
    beyond: bool = False,
) -> None:
    """The coloured cells of a map between the `ends` of its scale, grey where undefined, and its
    colour bar, if that has a `label`; `beyond`: some values lie outside the scale."""
    bar = {"label": label, "shrink": 0.6, "aspect": 30, "pad": 0.02}
    bar["extend"] = "both" if beyond else "neither"
    look: Any = {"linewidths": 0.4, "linecolor": "white", "square": True}
    look |= {"xticklabels": False, "yticklabels": False, "cbar": bool(label), "cbar_kws": bar}
    sns.heatmap(wide, ax=ax, cmap=colours, vmin=ends[0], vmax=ends[1], **look)
    ax.set_facecolor("#E6E6E6")


def write_values(ax: Axes, wide: pd.DataFrame, text: Callable[[float], str], size: float) -> None:
    """Write each cell's value on the map. Seaborn's own annotations would be drawn once more, for
    the sake of its tick labels."""
    mesh = ax.collections[0]
    mesh.update_scalarmappable()
    bright = [sns.utils.relative_luminance(colour) > 0.408 for colour in mesh.get_facecolor()]
    for (i, j), value in np.ndenumerate(wide.to_numpy(float)):
        if np.isfinite(value):
            ink = "black" if bright[i * wide.shape[1] + j] else "white"
            ax.text(
                j + 0.5, i + 0.5, text(value), fontsize=size, color=ink, ha="center", va="center"
            )


def _marks(
    ax: Axes, frame: pd.DataFrame, wide: pd.DataFrame, size: float, limit: float, compact: bool
) -> None:
    at = frame.assign(
        x=frame["target"].map({task: i for i, task in enumerate(wide.columns)}),
        y=frame["source"].map({task: i for i, task in enumerate(wide.index)}),
        # Ink that shows on the cell's colour.
        ink=np.where(frame["points"].abs() > 0.62 * limit, "white", "black"),
    )
    for x, y in at.loc[at["diverged"], ["x", "y"]].to_numpy(float):
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, hatch="xxxx", ec="#444444", lw=0))
    for x, y in at.loc[at["diagonal"], ["x", "y"]].to_numpy(float):
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, ec="black", lw=1.0, clip_on=False))
    dot = 0.9 if compact else size / 3.4
    dots = at[~at["diagonal"] & (at["established"] | at["suggested"])]
    for (ink, filled), some in dots.groupby(["ink", "established"]):
        ax.plot(
            some["x"] + 0.85,
            some["y"] + 0.16,
            "o",
            ms=dot,
            mec=ink,
            mew=0.5,
            mfc=ink if filled else "none",
        )
    if compact:
        for ink, some in at[at["points"] < -0.2 * limit].groupby("ink"):
            ax.plot(some["x"] + 0.5, some["y"] + 0.55, "_", ms=3, mew=0.8, color=ink)


def name_axes(ax: Axes, wide: pd.DataFrame, x: bool = True, y: bool = True) -> None:
    """Task names on the axes; texts inside the map stay out of the layout, which they only slow."""
    for text in ax.texts:
        text.set_in_layout(False)
    ax.tick_params(length=0)
    rows, columns = wide.shape
    ax.set_xticks(np.arange(columns) + 0.5, list(wide.columns) if x else [""] * columns)
    ax.tick_params(axis="x", labelrotation=90)
    ax.set_yticks(np.arange(rows) + 0.5, list(wide.index) if y else [""] * rows)
    ax.set_xlabel("target task" if x else "")
    ax.set_ylabel("source task" if y else "")


def _means(ax: Axes, frame: pd.DataFrame, wide: pd.DataFrame, size: float) -> None:
    """Mean off-diagonal gain that each task gives (right) and gets (top), as small grey text."""
    off = frame[~frame["diagonal"]]
    given, received = (off.groupby(side)["points"].mean() for side in ("source", "target"))
    for i, task in enumerate(wide.index):
        if np.isfinite(given.get(task, np.nan)):
            ax.text(
                len(wide.columns) + 0.15,
                i + 0.5,
                signed(given[task]),
                fontsize=size,
                color=MUTED,
                va="center",
            )
    for i, task in enumerate(wide.columns):
        if np.isfinite(received.get(task, np.nan)):
            ax.text(
                i + 0.5,
                -0.15,
                signed(received[task]),
                fontsize=size,
                color=MUTED,
                ha="center",
                va="bottom",
            )
    ax.text(
        len(wide.columns) + 0.15,
        -0.15,
        "mean",
        fontsize=size,
        color=MUTED,
        va="bottom",
        style="italic",
    )


def legend_handles(
    frames: Sequence[pd.DataFrame],
    own: str = "own prompt, tuned longer (control)",
    compact: bool = False,
) -> list[Line2D | Patch]:
    """Explanations of the marks that occur in `frames`, and of no others; `compact` maps mark
    their clearly negative cells."""
    frame = pd.concat(frames)
    handles: list[Line2D | Patch] = []
    off = frame[~frame["diagonal"]]
    if frame["diagonal"].any():
        handles.append(Patch(fill=False, ec="black", label=own))
    dot: Any = {"marker": "o", "ls": "", "ms": 4, "mec": "black"}
    if off["established"].any():
        handles.append(Line2D([], [], mfc="black", label=f"q \u2264 {ALPHA} over all pairs", **dot))
    if (off["suggested"] & ~off["established"]).any():
        handles.append(
            Line2D([], [], mfc="none", label=f"95% interval excludes 0, q > {ALPHA}", **dot)
        )
    if compact:
        minus: Any = {"marker": "_", "ls": "", "ms": 5, "mec": "black"}
        handles.append(Line2D([], [], label="clearly negative", **minus))
    if frame["diverged"].any():
        handles.append(
            Patch(fc="#E6E6E6", ec="#444444", hatch="xxxx", lw=0, label="diverged: no score")
        )
    return handles


def side(count: int) -> float:
    """Inches for `count` cells of a heatmap."""
    return 0.36 * max(count, 3)


def plot_gains(view: View, method: str, gains: pd.DataFrame) -> Plate:
    """The heatmap of one method."""
    title, words = f"Gains, {method}", view.wording
    reason = why_no_gain(gains, method)
    if reason:
        return notice(title, reason)
    order = view.order(gains)
    frame = gain_frame(gains, method, order, scale=words.scale)
    rows, columns = frame["source"].nunique(), frame["target"].nunique()
    figure, axes = new_figure(4.2 + side(columns), 2.9 + side(rows))
    draw_gain_heatmap(axes[0][0], frame, order, bar_label=words.axis)
    handles = legend_handles([frame], words.own_name)
    legend_below(figure, handles, 3)
    name = words.score_name[:1].upper() + words.score_name[1:]
    caption = words.heatmap.format(method=method, unit=words.unit, score_name=name)
    return Plate(title, caption, figure)


def plot_all_gains(view: View, _: str, gains: pd.DataFrame) -> Plate:
    """The heatmaps of all methods, small, on one colour scale."""
    title, words = "Gains, all methods", view.wording
    if not gains["gain"].notna().any():
        return notice(title, "no method has a gain")
    order, present = view.order(gains), set(gains["method"])
    frames = {
        method: gain_frame(gains, method, order, scale=words.scale)
        for method in view.methods
        if method in present
    }
    limit = colour_limit(list(frames.values()))
    panel = max(0.17 * max(frame["source"].nunique() for frame in frames.values()), 1.6)
    across = min(len(frames), 4)
    down = -(-len(frames) // across)
    size = 3.0 + across * panel, 2.2 + down * panel
    figure, axes = new_figure(*size, down, across, layout="compressed")
    flat = [ax for row in axes for ax in row]
    for i, (method, frame) in enumerate(frames.items()):
        labels = (i + across >= len(frames), i % across == 0)
        look: Any = {"compact": True, "colour_bar": False, "labels": labels}
        draw_gain_heatmap(flat[i], frame, order, limit, **look)
        flat[i].set_title(method)
        flat[i].tick_params(labelsize=6)
    for ax in flat[len(frames) :]:
        ax.axis("off")
    look = {"shrink": 0.7, "aspect": 30, "pad": 0.01, "extend": "both"}
    bar = figure.colorbar(flat[0].collections[0], ax=flat, label=words.axis, **look)
    bar.outline.set_visible(False)
    handles = legend_handles(list(frames.values()), words.own_name, compact=True)
    legend_below(figure, handles, 5)
    fix_layout(figure, passes=2)
    caption = (
        "The same gains side by side on one colour scale; a minus sign marks clearly negative "
        "cells for readers of grey prints."
    )
    return Plate(title, caption, figure)
