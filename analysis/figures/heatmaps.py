"""Heatmaps of gains and of similarities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram

from mvlpt_core.contract.errors import InputError

from ..read.pairs import pivot
from ..vocabulary import MINUS, signed
from .style import DIVERGING, MUTED, SEQUENTIAL

Array = NDArray[np.float64]


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
    Errors: a method that the table does not have; a task outside `order`.
    """
    frame = gains[gains["method"] == method]
    if frame.empty:
        raise InputError(f"no gains of method {method!r}; there are {sorted(set(gains['method']))}")
    strange = set(frame["source"].unique()) | set(frame["target"].unique())
    if strange - set(order):
        raise InputError(f"task {min(strange - set(order))!r} is not in the order of the figure")
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
    sns.heatmap(
        wide,
        ax=ax,
        cmap=DIVERGING,
        vmin=-limit,
        vmax=limit,
        linewidths=0.4,
        linecolor="white",
        square=True,
        cbar=colour_bar,
        xticklabels=False,
        yticklabels=False,
        cbar_kws={
            "label": bar_label,
            "shrink": 0.6,
            "aspect": 30,
            "pad": 0.02,
            "extend": "both" if beyond else "neither",
        },
    )
    ax.set_facecolor("#E6E6E6")
    if not compact:
        _values(ax, wide, signed, size)
    _marks(ax, frame, wide, size, limit, compact)
    _axis_names(ax, wide, *labels)
    if not compact:
        _means(ax, frame, wide, size)
    return ax


def _values(ax: Axes, wide: pd.DataFrame, text: Callable[[float], str], size: float) -> None:
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


def _axis_names(ax: Axes, wide: pd.DataFrame, x: bool = True, y: bool = True) -> None:
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
        handles.append(Line2D([], [], mfc="black", label="q \u2264 0.05 over all pairs", **dot))
    if (off["suggested"] & ~off["established"]).any():
        handles.append(Line2D([], [], mfc="none", label="95% interval excludes 0, q > 0.05", **dot))
    if compact:
        minus: Any = {"marker": "_", "ls": "", "ms": 5, "mec": "black"}
        handles.append(Line2D([], [], label="clearly negative", **minus))
    if frame["diverged"].any():
        handles.append(
            Patch(fc="#E6E6E6", ec="#444444", hatch="xxxx", lw=0, label="diverged: no score")
        )
    return handles


def draw_clustered(
    tree_ax: Axes,
    map_ax: Axes,
    frame: pd.DataFrame,
    tree: Array,
    tasks: Sequence[str],
    bar_label: str = "transfer gain (points)",
    unit: str = "points",
) -> tuple[Axes, Axes]:
    """Dendrogram (left) beside the heatmap in the dendrogram's order. `tree` is the linkage of
    `tasks`, in `unit`."""
    drawn = dendrogram(
        tree,
        ax=tree_ax,
        orientation="left",
        no_labels=True,
        color_threshold=0,
        above_threshold_color="#333333",
    )
    order = [tasks[i] for i in drawn["leaves"]]
    draw_gain_heatmap(
        map_ax,
        frame[frame["source"].isin(order) & frame["target"].isin(order)],
        order,
        bar_label=bar_label,
    )
    # One leaf is 10 units high: the tree then lines up with the rows of the heatmap.
    tree_ax.set_ylim(10 * len(order), 0)
    tree_ax.set_xlabel(f"distance ({unit})")
    tree_ax.spines["left"].set_visible(False)
    tree_ax.tick_params(axis="y", length=0)
    return tree_ax, map_ax


def draw_similarity(ax: Axes, frame: pd.DataFrame, order: Sequence[str]) -> Axes:
    """Draw a frame of `similarity_frame`; colours span the values off the diagonal, which is
    left grey: a task's likeness to itself says nothing."""
    wide = pivot(frame.assign(value=frame["value"].mask(frame["diagonal"])), "value", order)
    values = wide.to_numpy(float)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    digits = 2 if np.abs(finite).max(initial=0) < 10 else 0

    def text(value: float) -> str:
        shown = f"{value:.{digits}f}".replace("-", MINUS)
        return shown.replace("0.", ".", 1) if abs(value) < 1 and digits else shown

    size = float(np.clip(7.6 - 0.09 * (max(wide.shape) - 12), 5.5, 8.5))
    sns.heatmap(
        wide,
        ax=ax,
        cmap=SEQUENTIAL,
        vmin=low,
        vmax=high,
        linewidths=0.4,
        linecolor="white",
        square=True,
        xticklabels=False,
        yticklabels=False,
        cbar_kws={"label": "similarity", "shrink": 0.6, "aspect": 30, "pad": 0.02},
    )
    ax.set_facecolor("#E6E6E6")
    _values(ax, wide, text, size)
    _axis_names(ax, wide)
    return ax
