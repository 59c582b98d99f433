"""Two matrices of gains: cell against cell, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..read.pairs import off_diagonal
from .heatmaps import draw_gain_heatmap, gain_frame, room
from .style import COLOURS, MUTED, TWO_COLUMNS, Plate, new_figure


def difference_frame(x: np.ndarray, y: np.ndarray, tasks: Sequence[str]) -> pd.DataFrame:
    """y - x [T, T] in points as cells of a heatmap (`heatmaps.gain_frame`); nothing is marked."""
    rows, columns = np.nonzero(~np.eye(len(tasks), dtype=bool))
    cells = {"source": np.array(tasks)[rows], "target": np.array(tasks)[columns]}
    difference = pd.DataFrame({"method": "", **cells, "gain": (y - x)[rows, columns]})
    return gain_frame(difference, "", tasks)


def plot_pair(a: str, b: str, x: np.ndarray, y: np.ndarray, tasks: Sequence[str]) -> Plate:
    """Gains of the same pairs by `a` and by `b` (matrices [T, T]), and b less a as a heatmap."""
    width = 0.62 * TWO_COLUMNS
    figure, axes = new_figure(
        TWO_COLUMNS, max(room(tasks, tasks, width), 2.4), 1, 2, width_ratios=(0.38, 0.62)
    )
    scatter, map_ = axes[0]
    one, other = (100 * off_diagonal(side).ravel() for side in (x, y))
    ends = [float(np.nanmin([one, other])), float(np.nanmax([one, other]))]
    scatter.plot(ends, ends, color=MUTED, lw=0.6, zorder=0)
    scatter.axhline(0, color=MUTED, lw=0.4, zorder=0)
    scatter.axvline(0, color=MUTED, lw=0.4, zorder=0)
    scatter.plot(one, other, ".", ms=3, color=COLOURS[0], alpha=0.7)
    scatter.set(xlabel=f"gain, {a} (points)", ylabel=f"gain, {b} (points)", box_aspect=1)
    frame = difference_frame(x, y, tasks)
    draw_gain_heatmap(map_, frame, tasks, compact=True, bar_label=f"{b} less {a} (points)")
    caption = f"Gains of the same pairs by {a} and {b} (line: equal), and how much more {b} gains."
    return Plate(f"{a} and {b}", caption, figure)
