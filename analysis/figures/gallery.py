"""Every figure of an analysis, from the tables that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..catalogue import CAPTIONS, Drawing, drawings
from ..parallel import side_by_side
from ..view import View
from . import (
    clusters,
    curves,
    forest,
    graph,
    heatmaps,
    ranking,
    relations,
    scatter,
    shrunk,
    similarity,
)
from .style import Plate, save, style


@dataclass(frozen=True)
class Kind:
    """A kind of figure: `plot(view, subject, *tables)` makes it; the tables come by name."""

    plot: Callable[..., Plate]
    tables: tuple[str, ...]


# By `catalogue.Drawing.kind`.
KINDS = {
    "gains": Kind(heatmaps.plot_gains, ("gains",)),
    "gains_all_methods": Kind(heatmaps.plot_all_gains, ("gains",)),
    "gains_shrunk": Kind(shrunk.plot_shrunk, ("gains",)),
    "relations": Kind(relations.plot_relations, ("relations",)),
    "scatter": Kind(scatter.plot_scatter, ("gains", "similarity")),
    "correlations": Kind(forest.plot_forest, ("correlations",)),
    "similarity": Kind(similarity.plot_similarity, ("similarity",)),
    "learning_curves": Kind(curves.plot_curves, ("curves", "gains", "similarity")),
    "ranking_quality": Kind(ranking.plot_ranking, ("ranking",)),
    "clusters": Kind(clusters.plot_clusters, ("gains",)),
    "graph": Kind(graph.plot_graph, ("gains", "groups", "givers")),
}


def draw_figures(
    frames: Mapping[str, pd.DataFrame],
    view: View,
    folder: Path,
    *,
    wanted: list[Drawing] | None = None,
    workers: int = 1,
) -> pd.DataFrame:
    """Save every figure as PNG, SVG and PDF into `folder`, in up to `workers` processes.

    `frames`: the tables of a study by name, and similarity and curves (of one value of shots);
    `wanted`: what to draw (None: `catalogue.drawings` of a study). Returns name, title, caption in
    the order of the report. Raises InputError for a table that is missing.
    """
    if wanted is None:
        factors = bool(view.factor_names)
        wanted = drawings(view.methods, view.measures, has_factors=factors)
    calls = [partial(_draw, drawing, frames, view, Path(folder)) for drawing in wanted]
    rows: list[tuple[str, str, str]] = side_by_side(calls, workers)
    return pd.DataFrame(rows, columns=list(CAPTIONS))


def make_plate(drawing: Drawing, frames: Mapping[str, pd.DataFrame], view: View) -> Plate:
    """One figure, not yet saved."""
    kind = KINDS[drawing.kind]
    lost = [name for name in kind.tables if name not in frames]
    if lost:
        raise InputError(f"figure '{drawing.name}': table '{lost[0]}' is missing: expected it")
    return kind.plot(view, drawing.subject, *(frames[name] for name in kind.tables))


def _draw(
    drawing: Drawing, frames: Mapping[str, pd.DataFrame], view: View, folder: Path
) -> tuple[str, str, str]:
    with style([*view.tasks, *view.methods, *view.measures]):
        plate = make_plate(drawing, frames, view)
        save(plate.figure, folder / drawing.name)
    return drawing.name, plate.title, plate.caption
