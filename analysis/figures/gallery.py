"""Every figure of a study, with its caption, from tidy frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..choice.groups import cluster, symmetrise, transfer_graph
from ..gains.curves import curve_frame, nearest_sources
from ..parallel import side_by_side
from ..read import pairs
from ..read.study import Frames, error_matrix, load_frames, similarity_frame
from ..vocabulary import BEST_AVERAGE, MODEL_TARGET, MODEL_TASK, RANDOM, pretty
from . import heatmaps, panels, plots, style
from .placement import label_points


@dataclass(frozen=True)
class Plate:
    """One figure: the name of its files, its title and its caption in one sentence."""

    name: str
    title: str
    caption: str
    figure: Figure


def draw_figures(study_dir: Path, suite: Path | None = None, workers: int = 1) -> list[str]:
    """Stage: tables -> figures/*.png, *.svg and figures/captions.csv; returns the names."""
    study_dir = Path(study_dir)
    data = load_frames(study_dir, suite)
    drawn = draw_all(data, study_dir / "figures", workers)
    pairs.write_frame(drawn, study_dir / "figures" / "captions.csv")
    return list(drawn["name"])


def draw_all(data: Frames, folder: Path, workers: int = 1) -> pd.DataFrame:
    """Save every figure that `data` allows as PNG and SVG into `folder`, in up to `workers`
    processes; returns name, title, caption in the order of the report."""
    drawn = side_by_side([partial(_draw, maker, data, folder) for maker in MAKERS], workers)
    rows = [row for rows in drawn for row in rows]
    return pd.DataFrame(rows, columns=["name", "title", "caption"])


def _draw(
    maker: Callable[[Frames], Iterator[Plate]], data: Frames, folder: Path
) -> list[tuple[str, str, str]]:
    rows = []
    with style.style():
        for plate in maker(data):
            style.save(plate.figure, folder / plate.name)
            rows.append((plate.name, plate.title, plate.caption))
    return rows


def _side(count: int) -> float:
    """Inches for `count` cells of a heatmap."""
    return 0.36 * max(count, 3)


def gain_heatmaps(data: Frames) -> Iterator[Plate]:
    for method in data.methods:
        frame = heatmaps.gain_frame(data.gains, method, data.order, scale=data.scale)
        rows, columns = frame["source"].nunique(), frame["target"].nunique()
        figure, axes = style.new_figure(4.2 + _side(columns), 2.9 + _side(rows))
        heatmaps.draw_gain_heatmap(axes[0][0], frame, data.order, bar_label=data.axis_name)
        figure.legend(
            handles=heatmaps.legend_handles([frame], data.own_name),
            loc="outside lower center",
            ncols=3,
        )
        yield Plate(
            f"gains_{method}",
            f"Gains, {method}",
            _heatmap_caption(data, method),
            figure,
        )


def _heatmap_caption(data: Frames, method: str) -> str:
    if data.foreign:
        return (
            f"{data.score_name.capitalize()} of each source (row) on each target (column) in "
            f"{method}, in {data.unit}; the grey numbers are means without the diagonal."
        )
    return (
        "What each source (row) adds to each target (column) over tuning from scratch with "
        f"{method} prompts, in points; the grey numbers are means without the diagonal."
    )


def small_multiples(data: Frames) -> Iterator[Plate]:
    if len(data.methods) < 2:
        return
    frames = [
        heatmaps.gain_frame(data.gains, method, data.order, scale=data.scale)
        for method in data.methods
    ]
    limit = heatmaps.colour_limit(frames)
    rows = max(frame["source"].nunique() for frame in frames)
    panel = max(0.17 * rows, 1.6)
    across = min(len(frames), 4)
    down = -(-len(frames) // across)
    figure, axes = style.new_figure(
        3.0 + across * panel, 2.2 + down * panel, down, across, layout="compressed"
    )
    flat = [ax for row in axes for ax in row]
    for i, (method, frame) in enumerate(zip(data.methods, frames, strict=True)):
        heatmaps.draw_gain_heatmap(
            flat[i],
            frame,
            data.order,
            limit,
            compact=True,
            colour_bar=False,
            labels=(i + across >= len(frames), i % across == 0),
        )
        flat[i].set_title(method)
        flat[i].tick_params(labelsize=6)
    for ax in flat[len(frames) :]:
        ax.axis("off")
    bar = figure.colorbar(
        flat[0].collections[0],
        ax=flat,
        label=data.axis_name,
        shrink=0.7,
        aspect=30,
        pad=0.01,
        extend="both",
    )
    bar.outline.set_visible(False)
    figure.legend(
        handles=heatmaps.legend_handles(frames, data.own_name, compact=True),
        loc="outside lower center",
        ncols=5,
    )
    style.fix_layout(figure, passes=2)
    yield Plate(
        "gains_all_methods",
        "Gains, all methods",
        "The same gains side by side on one colour scale; a minus sign marks clearly negative "
        "cells for readers of grey prints.",
        figure,
    )


def relation_plot(data: Frames) -> Iterator[Plate]:
    if data.relations.empty:
        return
    figure, axes = style.new_figure(5.4, 3.4)
    panels.draw_relations(axes[0][0], panels.relation_frame(data.relations), data.methods)
    figure.legend(loc="outside upper center", ncols=len(data.methods))
    yield Plate(
        "relations",
        "Gains by relation of source and target",
        "Mean gain, with its 95% interval, from a task's own prompt, from tasks of the same "
        "family, of the same style, and from the rest.",
        figure,
    )


def scatters(data: Frames) -> Iterator[Plate]:
    methods = data.methods
    for measure in data.measures:
        figure, axes = style.new_figure(0.9 + 3.1 * len(methods), 3.6, 1, len(methods), sharex=True)
        drawn = []
        for ax, method in zip(axes[0], methods, strict=True):
            frame = plots.scatter_frame(data.gains, data.similarity, method, measure, data.planted)
            plots.draw_scatter(ax, frame, plots.band_frame(frame))
            if len(methods) > 1:
                ax.set_title(method, loc="left")
            ax.set_title(plots.correlation_note(frame), loc="right", fontsize=8, weight="normal")
            ax.set_xlabel(f"{pretty(measure)} similarity")
            drawn.append(frame)
        axes[0][0].set_ylabel(data.axis_name)
        if data.planted is not None:
            handles, labels = axes[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper center", ncols=3)
        # Names are placed in pixels, so the layout comes first.
        style.fix_layout(figure)
        for ax, frame in zip(axes[0], drawn, strict=True):
            label_points(ax, frame)
        yield Plate(
            f"scatter_{measure}",
            f"Gain against {pretty(measure)} similarity",
            "Each point is a pair of tasks; the line is the least-squares fit, its band a 95% "
            "interval over resampled tasks, and the pairs furthest from the line are named.",
            figure,
        )


def forest(data: Frames) -> Iterator[Plate]:
    if data.correlations.empty:
        return
    scopes = {"pooled": "all pairs together", "per_target": "mean over targets"}
    frames = {
        scope: plots.forest_frame(data.correlations, scope=scope)
        for scope in scopes
        if (data.correlations["scope"] == scope).any()
    }
    frames = {scope: frame for scope, frame in frames.items() if len(frame)}
    if not frames:
        return
    measures = list(dict.fromkeys(pd.concat(frames.values())["measure"]))
    height = 1.4 + len(measures) * max(0.16 * len(data.methods), 0.3)
    figure, axes = style.new_figure(2.4 + 3.2 * len(frames), height, 1, len(frames), sharey=True)
    for ax, (scope, frame) in zip(axes[0], frames.items(), strict=True):
        plots.draw_forest(ax, frame, measures, data.methods)
        ax.set_title(scopes[scope])
        ax.set_xlabel("Spearman correlation with gain")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    yield Plate(
        "correlations",
        "What goes with gain",
        "Spearman correlation of gain with each similarity, with 95% intervals; filled marks are "
        "significant under a permutation of tasks after correction for all tests (q \u2264 0.05).",
        figure,
    )


def similarity_maps(data: Frames) -> Iterator[Plate]:
    for measure in data.measures:
        frame = similarity_frame(data.similarity, measure, data.methods[0])
        shape = frame["source"].nunique(), frame["target"].nunique()
        figure, axes = style.new_figure(4.0 + _side(shape[1]), 2.3 + _side(shape[0]))
        heatmaps.draw_similarity(axes[0][0], frame, data.order)
        yield Plate(
            f"similarity_{measure}",
            f"Similarity: {pretty(measure)}",
            f"{pretty(measure).capitalize()} similarity of every pair of tasks, in the "
            "same order as the gains.",
            figure,
        )


def learning_curves(data: Frames) -> Iterator[Plate]:
    if data.curves.empty or data.curves["step"].nunique() < 2:
        return
    methods = [m for m in data.methods if (data.curves["method"] == m).any()]
    figure, axes = style.new_figure(0.9 + 2.9 * len(methods), 3.3, 1, len(methods))
    labels: dict[str, Any] = {}
    for ax, method in zip(axes[0], methods, strict=True):
        frame = curve_frame(data.curves, method, nearest_sources(data, method))
        panels.draw_curves(ax, frame)
        ax.set_title(method, loc="left")
        labels.update(dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True)))
    axes[0][0].set_ylabel("points from the final\nscore of scratch")
    figure.legend(
        list(labels.values()), list(labels), loc="outside upper center", ncols=len(labels)
    )
    yield Plate(
        "learning_curves",
        "How much faster",
        "Mean test score by tuning step relative to what scratch ends at (0): where a curve "
        "crosses 0 it has caught up; nearest sources are chosen without looking at gains, and "
        "bands are 95% intervals over targets.",
        figure,
    )


def ranking(data: Frames) -> Iterator[Plate]:
    if data.quality.empty:
        return
    metrics = []
    for metric in ("ndcg", "regret1", "regret3", "gain1"):
        means = data.quality.loc[data.quality["metric"] == metric, "mean"]
        if means.max() - means.min() > 1e-12:  # Regret@3 of three sources is 0 for all
            metrics.append(metric)
    if not metrics:
        return
    present = list(data.quality["ranker"].unique())
    last = [r for r in (MODEL_TARGET, MODEL_TASK, BEST_AVERAGE, RANDOM) if r in present]
    rankers = [r for r in present if r not in last] + last
    height = 1.5 + len(rankers) * max(0.14 * len(data.methods), 0.26)
    figure, axes = style.new_figure(2.4 + 2.1 * len(metrics), height, 1, len(metrics), sharey=True)
    for ax, metric in zip(axes[0], metrics, strict=True):
        plots.draw_quality(
            ax,
            plots.quality_frame(data.quality, metric, data.scale),
            metric,
            rankers,
            data.methods,
            data.unit,
        )
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    yield Plate(
        "ranking_quality",
        "How well sources can be chosen",
        "Quality of rankings of the sources, averaged over targets with 95% intervals; the models "
        "never saw the target they rank for, and dotted lines are the expectation of a random "
        "choice.",
        figure,
    )


def clustered(data: Frames) -> Iterator[Plate]:
    tasks = pairs.common_tasks(data.gains, data.order)
    if len(tasks) < 3:
        return
    for method in data.methods:
        frame = heatmaps.gain_frame(data.gains, method, data.order, scale=data.scale)
        chosen = data.gains[data.gains["method"] == method]
        points = symmetrise(
            data.scale * pairs.square(chosen, "gain", tasks),
            data.scale * error_matrix(chosen, tasks),
        )
        if not np.isfinite(points).any():
            continue
        n = len(tasks)
        figure, axes = style.new_figure(
            5.4 + _side(n), 2.9 + _side(n), 1, 2, width_ratios=[1.1, 1.6 + _side(n)]
        )
        heatmaps.draw_clustered(
            axes[0][0], axes[0][1], frame, cluster(points), tasks, data.axis_name, data.unit
        )
        figure.legend(
            handles=heatmaps.legend_handles([frame], data.own_name),
            loc="outside lower center",
            ncols=3,
        )
        yield Plate(
            f"clusters_{method}",
            f"Clusters, {method}",
            "The same heatmap in the order of a hierarchical clustering (average linkage on the "
            "noise-weighted mean of both directions), so that tasks that help one another are "
            "neighbours.",
            figure,
        )


def graphs(data: Frames) -> Iterator[Plate]:
    if data.groups.empty or "q" not in data.gains or data.gains["q"].isna().all():
        return
    for method in data.methods:
        groups = data.groups[data.groups["method"] == method]
        if groups.empty:
            continue
        graph = transfer_graph(data.gains[data.gains["method"] == method])
        frame = panels.graph_frame(graph)
        figure, axes = style.new_figure(8.2, 8.4)
        panels.draw_graph(axes[0][0], frame, groups, data.givers[data.givers["method"] == method])
        if len(frame):
            figure.legend(loc="outside lower center", ncols=2)
        total = graph.number_of_edges()
        shown = (
            f"{len(frame)} of {total} established transfers, the strongest of either sign"
            if total > len(frame)
            else f"all established transfers ({total})"
        )
        yield Plate(
            f"graph_{method}",
            f"Transfer graph, {method}",
            f"Arrows are {shown} (q \u2264 0.05), solid blue where the source helps and dashed red "
            "where it hurts; numbers and colours are groups, and the larger a task, the more of "
            "all established help it gives.",
            figure,
        )


# In the order of the report.
MAKERS: tuple[Callable[[Frames], Iterator[Plate]], ...] = (
    gain_heatmaps,
    small_multiples,
    relation_plot,
    scatters,
    forest,
    similarity_maps,
    learning_curves,
    ranking,
    clustered,
    graphs,
)
