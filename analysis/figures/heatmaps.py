"""Heatmaps of gains: one a method, and all methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from mvlpt_core.contract.errors import InputError

from ..gains.verdicts import EQUAL
from ..read.pairs import pivot
from ..read.study import seeds_known, why_no_gain
from ..stats.multiplicity import ALPHA
from ..view import View
from ..vocabulary import signed
from .style import (
    DIVERGING,
    MUTED,
    ONE_COLUMN,
    SMALLEST,
    TWO_COLUMNS,
    Plate,
    fix_layout,
    ink,
    legend_below,
    new_figure,
    notice,
)

EQUAL_MARK = "s"
WIDEST = 6  # tasks of a map that fits one column
_BESIDE = 0.85  # inches right of a map: means and colour bar
_EM, _DIGIT = 0.58, 0.64  # mean widths of a letter and of a digit of figures' font, of its size


def gain_frame(
    gains: pd.DataFrame,
    method: str,
    order: Sequence[str],
    value: str = "gain",
    scale: float = 100.0,
) -> pd.DataFrame:
    """Cells of one method's heatmap: source, target, points, established, suggested, equal, diverged,
    diagonal.

    points = `scale` x gain. `established`: `significant` in the gains table (false discovery rate
    controlled); `suggested`: the cell's own interval excludes 0; `equal`: its verdict; `diverged`:
    measured but without a gain.
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
            "equal": frame.get("verdict", absent) == EQUAL,
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
    beyond = float(np.nanmax(np.abs(wide.to_numpy(float)), initial=0.0)) > limit
    draw_cells(ax, wide, DIVERGING, (-limit, limit), bar_label if colour_bar else "", beyond)
    if not compact:
        write_values(ax, wide, signed, (1, 0))
    _marks(ax, frame, wide, compact)
    name_axes(ax, wide, *labels)
    if not compact:
        _means(ax, frame, wide)
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


def write_values(
    ax: Axes, wide: pd.DataFrame, text: Callable[[float, int], str], digits: Sequence[int]
) -> None:
    """Write each cell's value on the map, with the most `digits` of those given whose widest text
    fits a cell; none where nothing fits. Seaborn's own annotations would be drawn once more, for the sake
    of its tick labels."""
    mesh = ax.collections[0]
    mesh.update_scalarmappable()
    colours, values = mesh.get_facecolor(), wide.to_numpy(float)
    known = np.argwhere(np.isfinite(values))
    figure = ax.get_figure(root=True)
    assert figure is not None
    cell = (
        72
        * (figure.get_figwidth() - _BESIDE - _label_width(list(wide.index)))
        / max(wide.shape[1], 1)
    )
    for count in digits:
        shown = {(i, j): text(values[i, j], count) for i, j in known}
        if _DIGIT * SMALLEST * max(map(len, shown.values()), default=0) <= cell:
            break
    else:
        return
    for (i, j), words in shown.items():
        ax.text(
            j + 0.5,
            i + 0.5,
            words,
            fontsize=SMALLEST,
            color=ink(colours[i * wide.shape[1] + j]),
            ha="center",
            va="center",
        )


def _marks(ax: Axes, frame: pd.DataFrame, wide: pd.DataFrame, compact: bool) -> None:
    colours = {}
    mesh = ax.collections[0]
    mesh.update_scalarmappable()
    for k, colour in enumerate(mesh.get_facecolor()):
        colours[divmod(k, wide.shape[1])] = ink(colour)
    at = frame.assign(
        x=frame["target"].map({task: i for i, task in enumerate(wide.columns)}),
        y=frame["source"].map({task: i for i, task in enumerate(wide.index)}),
    )
    at["ink"] = [colours[y, x] for x, y in at[["x", "y"]].to_numpy(int)]
    for x, y in at.loc[at["diverged"], ["x", "y"]].to_numpy(float):
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, hatch="xxxx", ec="#444444", lw=0))
    for x, y in at.loc[at["diagonal"], ["x", "y"]].to_numpy(float):
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, ec="black", lw=0.8, clip_on=False))
    dot = 0.9 if compact else 1.6
    marked = at.assign(filled=marks(frame)).dropna(subset=["filled"])
    for (dark, filled), some in marked.groupby(["ink", "filled"]):
        inside = dark if filled else "none"
        look: Any = {"ms": dot, "mec": dark, "mew": 0.4, "mfc": inside}
        ax.plot(some["x"] + 0.86, some["y"] + 0.14, "o", **look)
    for dark, some in at[at["equal"] & ~at["diagonal"]].groupby("ink"):
        look = {"ms": 2 * dot, "mew": 0.3, "color": str(dark)}
        ax.plot(some["x"] + 0.14, some["y"] + 0.14, EQUAL_MARK, **look)
    if compact:
        limit = mesh.get_clim()[1]
        for dark, some in at[at["points"] < -0.2 * limit].groupby("ink"):
            ax.plot(some["x"] + 0.5, some["y"] + 0.55, "_", ms=2.4, mew=0.6, color=str(dark))


def marks(frame: pd.DataFrame) -> pd.Series:
    """The dots of a `gain_frame`, so that they mark the fewer cells: True (filled) for established
    cells and False (open) for those that are only suggested; where most are established, False for the
    measured cells that are not; else missing."""
    off = ~frame["diagonal"] & frame["points"].notna()
    out = pd.Series(None, index=frame.index, dtype=object)
    if mostly_established(frame):
        return out.mask(off & ~frame["established"], False)
    return out.mask(off & frame["suggested"], False).mask(off & frame["established"], True)


def mostly_established(frame: pd.DataFrame) -> bool:
    """Whether more than half of the measured cells off the diagonal are established."""
    off = frame[~frame["diagonal"] & frame["points"].notna()]
    return bool(len(off)) and bool(off["established"].mean() > 0.5)


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


def _means(ax: Axes, frame: pd.DataFrame, wide: pd.DataFrame) -> None:
    """Mean off-diagonal gain that each task gives (right) and gets (top), as small grey text."""
    off = frame[~frame["diagonal"]]
    given, received = (off.groupby(side)["points"].mean() for side in ("source", "target"))
    for i, task in enumerate(wide.index):
        if np.isfinite(given.get(task, np.nan)):
            ax.text(
                len(wide.columns) + 0.15,
                i + 0.5,
                signed(given[task]),
                fontsize=SMALLEST,
                color=MUTED,
                va="center",
            )
    for i, task in enumerate(wide.columns):
        if np.isfinite(received.get(task, np.nan)):
            ax.text(
                i + 0.5,
                -0.15,
                signed(received[task]),
                fontsize=SMALLEST,
                color=MUTED,
                ha="center",
                va="bottom",
                rotation=90,
            )
    ax.text(
        len(wide.columns) + 0.15,
        -0.15,
        "mean",
        fontsize=SMALLEST,
        color=MUTED,
        va="bottom",
        style="italic",
    )


def legend_handles(
    frames: Sequence[pd.DataFrame],
    own: str = "own prompt, tuned longer (control)",
    compact: bool = False,
    seeds_known: bool = True,
) -> list[Line2D | Patch]:
    """Explanations of the marks that occur in `frames`, and of no others; `compact` maps mark
    their clearly negative cells; `seeds_known`: whether intervals are over seeds."""
    frame = pd.concat(frames)
    handles: list[Line2D | Patch] = []
    if frame["diagonal"].any():
        handles.append(Patch(fill=False, ec="black", label=own))
    dot: Any = {"marker": "o", "ls": "", "ms": 3, "mec": "black"}
    shown = [(mostly_established(own), marks(own).dropna()) for own in frames]
    beyond = "" if seeds_known else " beyond test-image noise, seeds unknown"
    if any((found == True).any() for _, found in shown):  # noqa: E712
        handles.append(Line2D([], [], mfc="black", label=f"q \u2264 {ALPHA}{beyond}", **dot))
    open_marks = [
        f"not established (q > {ALPHA})" if mostly else f"95% interval excludes 0, q > {ALPHA}"
        for mostly, found in shown
        if (found == False).any()  # noqa: E712
    ]
    if open_marks:
        one = len(set(open_marks)) == 1
        label = open_marks[0] if one else f"q > {ALPHA}, marked where it is the rarer"
        handles.append(Line2D([], [], mfc="none", label=label, **dot))
    if frame["equal"].any():
        equal: Any = {"marker": EQUAL_MARK, "ls": "", "ms": 4, "mec": "black", "mfc": "black"}
        handles.append(Line2D([], [], label="equal within the margin", **equal))
    if compact:
        minus: Any = {"marker": "_", "ls": "", "ms": 4, "mec": "black"}
        handles.append(Line2D([], [], label="clearly negative", **minus))
    if any(map(_unmeasured, frames)):
        handles.append(Patch(fc="#E6E6E6", label="not measured"))
    if frame["diverged"].any():
        handles.append(
            Patch(fc="#E6E6E6", ec="#444444", hatch="xxxx", lw=0, label="diverged: no score")
        )
    return handles


def _unmeasured(frame: pd.DataFrame) -> int:
    """How many pairs of two tasks of a `gain_frame` have no row."""
    sources, targets = set(frame["source"]), set(frame["target"])
    return len(sources) * len(targets) - len(sources & targets) - int((~frame["diagonal"]).sum())


def room(rows: Sequence[str], columns: Sequence[str], width: float) -> float:
    """Inches of height that a map of square cells takes whose figure is `width` inches wide."""
    cell = (width - _BESIDE - _label_width(rows)) / max(len(columns), 3)
    return _label_width(columns) + cell * len(rows) + 0.95


def _label_width(names: Sequence[str]) -> float:
    """Inches that the longest name takes on an axis."""
    return _EM * 6.5 / 72 * max(map(len, map(str, names)), default=0) + 0.25


def plot_gains(view: View, method: str, gains: pd.DataFrame) -> Plate:
    """The heatmap of one method."""
    title, words = f"Gains, {method}", view.wording
    reason = why_no_gain(gains, method)
    if reason:
        return notice(title, reason)
    order = view.order(gains)
    frame = gain_frame(gains, method, order, scale=words.scale)
    rows, columns = (list(frame[end].unique()) for end in ("source", "target"))
    width = ONE_COLUMN if len(columns) <= WIDEST else TWO_COLUMNS
    figure, axes = new_figure(width, room(rows, columns, width))
    draw_gain_heatmap(axes[0][0], frame, order, bar_label=words.axis)
    legend_below(figure, legend_handles([frame], words.own_name, seeds_known=seeds_known(gains)))
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
    figure = beside(view, frames, gains)
    caption = (
        "The same gains side by side on one colour scale; a minus sign marks clearly negative "
        "cells for readers of grey prints."
    )
    return Plate(title, caption, figure)


def beside(view: View, frames: Mapping[str, pd.DataFrame], gains: pd.DataFrame) -> Figure:
    """Small heatmaps of some `gain_frame`s, by title, on one colour scale."""
    words = view.wording
    order = view.order(gains)
    limit = colour_limit(list(frames.values()))
    across = min(len(frames), 3)
    down = -(-len(frames) // across)
    names = max(_label_width(list(f[end])) for f in frames.values() for end in ("source", "target"))
    panel = (TWO_COLUMNS - 0.7 - names) / across
    figure, axes = new_figure(
        TWO_COLUMNS, 0.6 + names + down * (panel + 0.25), down, across, layout="compressed"
    )
    flat = [ax for row in axes for ax in row]
    for i, (title, frame) in enumerate(frames.items()):
        labels = (i + across >= len(frames), i % across == 0)
        look: Any = {"compact": True, "colour_bar": False, "labels": labels}
        draw_gain_heatmap(flat[i], frame, order, limit, **look)
        flat[i].set_title(title)
        flat[i].tick_params(labelsize=6)
    for ax in flat[len(frames) :]:
        ax.axis("off")
    look = {"shrink": 0.7, "aspect": 30, "pad": 0.01, "extend": "both"}
    bar = figure.colorbar(flat[0].collections[0], ax=flat, label=words.axis, **look)
    bar.outline.set_visible(False)
    look = {"compact": True, "seeds_known": seeds_known(gains)}
    legend_below(figure, legend_handles(list(frames.values()), words.own_name, **look))
    fix_layout(figure, passes=2)
    return figure
