"""Two matrices of gains: cell against cell, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..gains.agreement import Matrix
from ..read.pairs import off_diagonal
from .heatmaps import draw_gain_heatmap, gain_frame, room
from .style import COLOURS, MUTED, TWO_COLUMNS, Plate, new_figure

STANDARD = "s.d. over pairs"


def difference_frame(difference: np.ndarray, tasks: Sequence[str]) -> pd.DataFrame:
    """Differences [T, T] as cells of a heatmap (`heatmaps.gain_frame`), in their unit; nothing is marked."""
    rows, columns = np.nonzero(~np.eye(len(tasks), dtype=bool))
    cells = {"source": np.array(tasks)[rows], "target": np.array(tasks)[columns]}
    frame = pd.DataFrame({"method": "", **cells, "gain": difference[rows, columns]})
    return gain_frame(frame, "", tasks, scale=1.0)


def in_one_unit(a: Matrix, b: Matrix, tasks: Sequence[str]) -> tuple[np.ndarray, np.ndarray, str]:
    """The gains [T, T] of both, off the diagonal, and their unit: their own where they share one, else
    standard deviations about the mean, over the pairs that both have."""
    x, y = (side.scale * off_diagonal(side.square(tasks)) for side in (a, b))
    if a.unit == b.unit:
        return x, y, a.unit
    both = np.isfinite(x) & np.isfinite(y)
    x, y = ((m - m[both].mean()) / (m[both].std() or 1.0) for m in (x, y))
    return x, y, STANDARD


def plot_pair(a: Matrix, b: Matrix, tasks: Sequence[str]) -> Plate:
    """Gains of the same pairs of `tasks` by `a` and by `b`, and b less a as a heatmap, `in_one_unit`."""
    x, y, unit = in_one_unit(a, b, tasks)
    width = 0.62 * TWO_COLUMNS
    figure, axes = new_figure(
        TWO_COLUMNS, max(room(tasks, tasks, width), 2.4), 1, 2, width_ratios=(0.38, 0.62)
    )
    scatter, map_ = axes[0]
    ends = [float(np.nanmin([x, y])), float(np.nanmax([x, y]))]
    scatter.plot(ends, ends, color=MUTED, lw=0.6, zorder=0)
    scatter.axhline(0, color=MUTED, lw=0.4, zorder=0)
    scatter.axvline(0, color=MUTED, lw=0.4, zorder=0)
    scatter.plot(x.ravel(), y.ravel(), ".", ms=3, color=COLOURS[0], alpha=0.7)
    scatter.set(xlabel=f"gain, {a.name} ({unit})", ylabel=f"gain, {b.name} ({unit})", box_aspect=1)
    frame = difference_frame(y - x, tasks)
    draw_gain_heatmap(
        map_, frame, tasks, compact=True, bar_label=f"{b.name} less {a.name} ({unit})"
    )
    both = f"{a.name} and {b.name}"
    caption = f"Gains of the same pairs by {both} (line: equal), and how much more {b.name} gains."
    return Plate(both, caption, figure)
