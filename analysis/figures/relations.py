"""Gains by the relation of source and target: the factors that they share."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ..view import View
from .style import ONE_COLUMN, TWO_COLUMNS, Plate, legend_above, looks, new_figure, notice


def relation_labels(factors: Sequence[str]) -> dict[str, str]:
    """Each relation's name for readers, in the order of the figure."""
    rest = "neither" if len(factors) == 2 else "none of these"
    same = {factor: f"same {factor}" for factor in factors}
    return {"self": "own prompt", **same, "neither": rest}


def relation_frame(
    relations: pd.DataFrame, factors: Sequence[str], scale: float = 100.0
) -> pd.DataFrame:
    """method, relation, n_pairs, points, low, high of relations that have a gain, in order."""
    order = {name: i for i, name in enumerate(relation_labels(factors))}
    chosen = relations[(relations["gain_kind"] == "gain") & relations["gain"].notna()]
    chosen = chosen.assign(order=chosen["relation"].map(order)).dropna(subset=["order"])
    chosen = chosen.sort_values("order", kind="stable")
    frame = chosen[["method", "relation", "n_pairs"]].reset_index(drop=True)
    for column, source in (("points", "gain"), ("low", "low"), ("high", "high")):
        frame[column] = scale * chosen[source].to_numpy(float)
    return frame


def draw_relations(
    ax: Axes, frame: pd.DataFrame, methods: Sequence[str], labels: dict[str, str]
) -> Axes:
    """Mean gain with its interval by relation, methods side by side."""
    names = [name for name in labels if (frame["relation"] == name).any()]
    place = {name: i for i, name in enumerate(names)}
    ax.axhline(0, color="black", lw=0.6)
    step = 0.6 / max(len(methods), 1)
    for k, (method, (colour, marker)) in enumerate(looks(methods).items()):
        some = frame[frame["method"] == method]
        x = some["relation"].map(place).astype(float) + step * (k - (len(methods) - 1) / 2)
        ax.vlines(x, some["low"], some["high"], color=colour, lw=1.2)
        ax.plot(x, some["points"], marker, ms=4, color=colour, label=method)
    ax.set_xticks(range(len(names)), [labels[name] for name in names])
    ax.set_xlim(-0.5, len(names) - 0.5)
    return ax


def plot_relations(view: View, _: str, relations: pd.DataFrame) -> Plate:
    """One panel: relations beside each other, methods within."""
    title, factors = "Gains by relation of source and target", view.factor_names
    labels = relation_labels(factors)
    frame = relation_frame(relations, factors, view.wording.scale)
    if frame.empty:
        return notice(title, "no relation of tasks has a gain")
    width = ONE_COLUMN if len(labels) <= 4 else TWO_COLUMNS
    figure, axes = new_figure(width, 2.4)
    draw_relations(axes[0][0], frame, view.methods, labels)
    axes[0][0].set_ylabel(f"mean {view.wording.axis}")
    legend_above(figure)
    same = ", ".join(f"of the same {factor}" for factor in factors)
    caption = (
        "Mean gain, with its 95% interval, from a task's own prompt, from tasks "
        f"{same}, and from the rest."
    )
    return Plate(title, caption, figure)
