"""Heatmaps of similarities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..read.pairs import pivot
from ..read.study import similarity_frame
from ..view import View
from ..vocabulary import MINUS, pretty
from .heatmaps import WIDEST, draw_cells, name_axes, room, write_values
from .style import ONE_COLUMN, SEQUENTIAL, TWO_COLUMNS, Plate, new_figure, notice


def draw_similarity(ax: Axes, frame: pd.DataFrame, order: Sequence[str]) -> Axes:
    """Draw a frame of `similarity_frame`; colours span the values off the diagonal, which is
    left grey: a task's likeness to itself says nothing."""
    wide = pivot(frame.assign(value=frame["value"].mask(frame["diagonal"])), "value", order)
    values = wide.to_numpy(float)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5

    def text(value: float, digits: int) -> str:
        shown = f"{value:.{digits}f}".replace("-", MINUS)
        return shown.replace("0.", ".", 1) if abs(value) < 1 and digits else shown

    draw_cells(ax, wide, SEQUENTIAL, (low, high), "similarity")
    write_values(ax, wide, text, (2, 1, 0) if np.abs(finite).max(initial=0) < 10 else (0,))
    name_axes(ax, wide)
    return ax


def plot_similarity(view: View, measure: str, similarity: pd.DataFrame) -> Plate:
    """The heatmap of one measure; of the first method's, for similarities of prompts."""
    name = pretty(measure)
    title = f"Similarity: {name}"
    known = similarity[similarity["measure"] == measure]
    if not known["value"].notna().any():
        return notice(title, f"no pair of tasks has a {name} similarity")
    frame = similarity_frame(similarity, measure, view.methods[0])
    rows, columns = (list(frame[end].unique()) for end in ("source", "target"))
    width = ONE_COLUMN if len(columns) <= WIDEST else TWO_COLUMNS
    figure, axes = new_figure(width, room(rows, columns, width))
    draw_similarity(axes[0][0], frame, view.tasks)
    caption = (
        f"{name[:1].upper() + name[1:]} similarity of every pair of tasks, in the same order as "
        "the gains."
    )
    return Plate(title, caption, figure)
