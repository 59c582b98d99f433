"""The forest of correlations: what goes with gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..read.study import few_tasks
from ..stats.multiplicity import ALPHA, significant
from ..view import View
from .style import TWO_COLUMNS, Plate, draw_dodged, legend_above, new_figure, notice

SCOPES = {"pooled": "all pairs together", "per_target": "mean over targets"}


def forest_frame(
    correlations: pd.DataFrame,
    statistic: str = "spearman",
    scope: str = "pooled",
    gain_kind: str = "gain",
) -> pd.DataFrame:
    """Rows of one forest panel: method, measure, value, low, high, q; undefined values left out."""
    chosen = (
        (correlations["statistic"] == statistic)
        & (correlations["scope"] == scope)
        & (correlations["gain_kind"] == gain_kind)
    )
    columns = ["method", "measure", "value", "low", "high", "q"]
    return correlations.loc[chosen, columns].dropna(subset=["value"]).reset_index(drop=True)


def draw_forest(
    ax: Axes, frame: pd.DataFrame, measures: Sequence[str], methods: Sequence[str]
) -> Axes:
    """One row a measure, one mark a method with its interval; filled where it is significant."""
    marks = frame.assign(row=frame["measure"], filled=significant(frame["q"]))
    draw_dodged(ax, marks, measures, methods)
    ax.axvline(0, color="black", lw=0.6, zorder=0)
    low, high = frame["low"].fillna(frame["value"]), frame["high"].fillna(frame["value"])
    ends = np.array([min(low.min(), -0.1), max(high.max(), 0.1)] if len(frame) else [-1, 1])
    ax.set_xlim(*(np.clip(ends, -1, 1) + np.array([-0.05, 0.05])))
    return ax


def plot_forest(view: View, _: str, correlations: pd.DataFrame) -> Plate:
    """All pairs together beside the mean over targets."""
    title = "What goes with gain"
    frames = {scope: forest_frame(correlations, scope=scope) for scope in SCOPES}
    frames = {scope: frame for scope, frame in frames.items() if len(frame)}
    if few := few_tasks(correlations["n_tasks"].max()):
        return notice(title, few)
    if not frames:
        reason = "no correlation is defined: it takes 4 tasks that are both source and target"
        return notice(title, f"{reason}, and gains that differ")
    measures = list(dict.fromkeys(pd.concat(frames.values())["measure"]))
    height = 0.8 + len(measures) * max(0.09 * len(view.methods), 0.17)
    figure, axes = new_figure(TWO_COLUMNS, height, 1, len(frames), sharey=True)
    for ax, (scope, frame) in zip(axes[0], frames.items(), strict=True):
        draw_forest(ax, frame, measures, view.methods)
        ax.set_title(SCOPES[scope])
        ax.set_xlabel("Spearman correlation with gain")
    legend_above(figure)
    caption = (
        "Spearman correlation of gain with each similarity, with 95% intervals; filled marks are "
        "significant under a permutation of tasks after correction for all tests "
        f"(q \u2264 {ALPHA})."
    )
    if view.factors:
        caption += (
            " Single tasks change places there; fewer marks may hold with each "
            f"{' or '.join(view.factors)} as a unit, which the answers tell."
        )
    return Plate(title, caption, figure)
