"""Heatmaps of gains in the order of a hierarchical clustering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram

from ..choice.groups import cluster, symmetrise
from ..read.pairs import common_tasks, square
from ..read.study import error_matrix, seeds_known, why_no_gain
from ..view import View
from .heatmaps import WIDEST, draw_gain_heatmap, gain_frame, legend_handles, room
from .style import ONE_COLUMN, TWO_COLUMNS, Plate, fix_layout, legend_below, new_figure, notice

Array = NDArray[np.float64]
_ALIKE = 1e-9  # points between the largest and the smallest gain: less is rounding, and no distance


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
    tree_ax.set_xlabel(f"distance\n({unit})", loc="left")
    tree_ax.spines["left"].set_visible(False)
    tree_ax.tick_params(axis="y", length=0)
    return tree_ax, map_ax


def plot_clusters(view: View, method: str, gains: pd.DataFrame) -> Plate:
    """The heatmap of one method in the order of its clusters."""
    title, words = f"Clusters, {method}", view.wording
    tasks = common_tasks(gains, view.tasks)
    if len(tasks) < 3:
        return notice(title, f"{len(tasks)} tasks are both source and target: 3 make clusters")
    chosen = gains[gains["method"] == method]
    if why_no_gain(gains, method):
        return notice(title, why_no_gain(gains, method))
    points = symmetrise(
        words.scale * square(chosen, "gain", tasks), words.scale * error_matrix(chosen, tasks)
    )
    if not np.isfinite(points).any():
        return notice(title, f"no pair of these tasks has a gain in {method}")
    if np.ptp(points[np.isfinite(points)]) < _ALIKE:
        return notice(title, f"all pairs of these tasks gain the same in {method}")
    frame = gain_frame(gains, method, view.order(gains), scale=words.scale)
    width = ONE_COLUMN if len(tasks) <= WIDEST else TWO_COLUMNS
    tree = max(0.12 * width, 0.6)  # room for the name of its axis
    height = room(tasks, tasks, width - tree)
    figure, axes = new_figure(width, height, 1, 2, width_ratios=[tree, width - tree])
    tree_ax, map_ax = axes[0]
    draw_clustered(tree_ax, map_ax, frame, cluster(points), tasks, words.axis, words.unit)
    legend_below(figure, legend_handles([frame], words.own_name, seeds_known=seeds_known(gains)))
    # The map is square, and ends where its rows do; the tree has their height.
    fix_layout(figure)
    map_ax.apply_aspect()
    box, rows = tree_ax.get_position(), map_ax.get_position()
    tree_ax.set_position((box.x0, rows.y0, box.width, rows.height))
    caption = (
        "The same heatmap in the order of a hierarchical clustering (average linkage on the "
        "noise-weighted mean of both directions), so that tasks that help one another are "
        "neighbours."
    )
    return Plate(title, caption, figure)
