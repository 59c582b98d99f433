"""How well sources can be chosen: quality of each ranking."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ..choice.ranking import QUALITY
from ..view import View
from ..vocabulary import BEST_AVERAGE, CHOSEN, MINUS, MODEL_TARGET, MODEL_TASK, RANDOM, SCREENS
from .style import TWO_COLUMNS, Plate, draw_dodged, legend_above, looks, new_figure, notice

IN_POINTS = ("regret1", "regret3", "regret5", "gain1")  # qualities in the units of gains
SHOWN = ("ndcg_above_random", "regret1", "regret3", "gain1")


def quality_frame(summaries: pd.DataFrame, metric: str, scale: float = 100.0) -> pd.DataFrame:
    """One panel of ranking quality: method, ranker, value, low, high; regrets in points.

    `summaries`: `choice.ranking.summarise_quality` with a method column."""
    chosen = summaries[summaries["metric"] == metric]
    scale = scale if metric in IN_POINTS else 1.0
    frame = chosen[["method", "ranker"]].reset_index(drop=True)
    for column, source in (("value", "mean"), ("low", "low"), ("high", "high")):
        frame[column] = scale * chosen[source].to_numpy(float)
    return frame.dropna(subset=["value"])


def draw_quality(
    ax: Axes,
    frame: pd.DataFrame,
    metric: str,
    rankers: Sequence[str],
    methods: Sequence[str],
    unit: str = "points",
) -> Axes:
    """Draw a `quality_frame`: rankers as rows, methods side by side; the title says which way is
    better, dotted lines show each method's best average source, the bar."""
    quality = QUALITY[metric]
    draw_dodged(ax, frame.assign(row=frame["ranker"]), rankers, methods)
    for method, (colour, _) in looks(methods).items():
        bar = frame.loc[(frame["method"] == method) & (frame["ranker"] == BEST_AVERAGE)]
        for value in bar["value"]:
            ax.axvline(value, color=colour, lw=0.8, ls=":", zorder=-1)
    arrow = "right" if quality.higher else "left"
    shown = f" ({unit})" if metric in IN_POINTS else ""
    ax.set_xlabel(f"{quality.label}{shown}\nbetter to the {arrow}")
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}".replace("-", MINUS))
    return ax


def plot_ranking(view: View, _: str, ranking: pd.DataFrame) -> Plate:
    """One panel a quality, of those in which ways to choose differ."""
    title, words = "How well sources can be chosen", view.wording
    metrics = []
    for metric in SHOWN:
        means = ranking.loc[ranking["metric"] == metric, "mean"]
        if means.max() - means.min() > 1e-12:  # Regret@3 of three sources is 0 for all
            metrics.append(metric)
    if not metrics:
        return notice(title, "no target has two sources that differ")
    present = list(ranking["ranker"].unique())
    last = [r for r in (MODEL_TARGET, MODEL_TASK, CHOSEN, BEST_AVERAGE, RANDOM) if r in present]
    rankers = [r for r in present if r not in last] + last
    height = 0.9 + len(rankers) * max(0.085 * len(view.methods), 0.16)
    figure, axes = new_figure(TWO_COLUMNS, height, 1, len(metrics), sharey=True)
    for ax, metric in zip(axes[0], metrics, strict=True):
        frame = quality_frame(ranking, metric, words.scale)
        draw_quality(ax, frame, metric, rankers, view.methods, words.unit)
    legend_above(figure)
    unit = ranking["unit"].iloc[0]
    caption = (
        f"Quality of rankings of the sources, averaged with 95% intervals over {unit}; the models never "
        "saw the target they rank for. Dotted lines are the bar, which takes no similarity: the source "
        "that is best on average over the other targets."
    )
    if any(ranker in SCREENS for ranker in rankers):
        caption += (
            " Screening takes loss and gradient of the target's sample at each source's prompt."
        )
    return Plate(title, caption, figure)
