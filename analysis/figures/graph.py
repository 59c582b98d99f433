"""The graph of established transfers, with groups of tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from ..choice.groups import transfer_graph
from ..read.study import seeds_known, why_no_gain
from ..stats.multiplicity import ALPHA
from ..view import View
from .style import MUTED, NEGATIVE, POSITIVE, TWO_COLUMNS, Plate, new_figure, notice

MOST = 48  # arrows that can be told apart


def graph_frame(edges: pd.DataFrame, most: int = MOST, scale: float = 100.0) -> pd.DataFrame:
    """The edges to draw (of source, target, weight), weakest first: source, target, points.

    Of more than `most`, the same share of those that help and of those that hurt, the strongest of
    each, so that the picture has the message of all.
    """
    frame = edges[["source", "target"]].assign(points=scale * edges["weight"].astype(float))
    share = min(1.0, most / max(len(frame), 1))
    size = frame["points"].abs()
    kept = [
        size[side].nlargest(round(share * int(side.sum())), keep="first").index
        for side in (frame["points"] > 0, frame["points"] <= 0)
    ]
    chosen = frame.loc[kept[0].append(kept[1])]
    return chosen.sort_values("points", key=abs, kind="stable", ignore_index=True)


def draw_graph(ax: Axes, frame: pd.DataFrame, groups: pd.DataFrame, giving: pd.DataFrame) -> Axes:
    """Tasks on a circle, members of a group next to each other along one arc; arrows from source to
    target, blue and solid where it helps, red and dashed where it hurts, as wide as the gain is large.

    `groups`: `choice.groups.group_table`; `giving`: `choice.groups.givers` (the node's size is the
    share of all established help that the task gives).
    """
    tasks = list(groups["task"])
    n = len(tasks)
    angle = {task: np.pi / 2 - 2 * np.pi * (i + 0.5) / n for i, task in enumerate(tasks)}
    at = {task: (np.cos(a), np.sin(a)) for task, a in angle.items()}
    hub = giving.set_index("task")["hub"].reindex(tasks).fillna(0.0)
    group = groups.set_index("task")["group"]
    size = {task: 14 + 110 * float(hub[task] / max(hub.max(), 1e-12)) for task in tasks}
    top = frame["points"].abs().max() if len(frame) else 1.0
    for source, target, points in frame[["source", "target", "points"]].to_numpy():
        look: dict[str, Any] = {
            "connectionstyle": "arc3,rad=0.18",
            "arrowstyle": "-|>",
            "mutation_scale": 5,
            "shrinkA": np.sqrt(size[source]) / 2 + 1,
            "shrinkB": np.sqrt(size[target]) / 2 + 1,
            "lw": 0.3 + 1.4 * abs(points) / top,
            "alpha": 0.7,
        }
        ax.add_patch(FancyArrowPatch(at[source], at[target], **look, **_edge_look(points)))
    for task in tasks:
        x, y = at[task]
        ax.scatter(x, y, s=size[task], color="#BBBBBB", ec="black", lw=0.6, zorder=3)
        turn = float(np.degrees(angle[task]))
        left = np.cos(angle[task]) < -1e-9
        name = f"({group[task]}) {task}" if left else f"{task} ({group[task]})"
        turned: Any = {"rotation": turn + 180 if left else turn, "rotation_mode": "anchor"}
        side = "right" if left else "left"
        ax.text(1.17 * x, 1.17 * y, name, ha=side, va="center", fontsize=6.5, **turned)
    for _, members in groups.groupby("group", sort=False)["task"]:
        ends = [angle[members.iloc[0]], angle[members.iloc[-1]]]
        half = 0.3 * 2 * np.pi / n
        along = np.linspace(ends[0] + half, ends[1] - half, 30)
        ax.plot(1.12 * np.cos(along), 1.12 * np.sin(along), color="black", lw=1.2)
    for points, label in ((1, "helps"), (-1, "hurts")):
        if (np.sign(frame["points"]) == points).any():
            ax.plot([], [], lw=1.2, label=label, **_edge_look(points))
    if not len(frame):
        ax.text(0, 0, "no established transfer", ha="center", va="center", color=MUTED)
    ax.set_aspect("equal")
    ax.set_xlim(-1.15, 1.15)
    ax.set_ylim(-1.15, 1.15)
    ax.axis("off")
    return ax


def _edge_look(points: float) -> dict[str, Any]:
    """Colour and dash of an edge: the sign must survive a grey print."""
    if points > 0:
        return {"color": POSITIVE, "ls": "-"}
    return {"color": NEGATIVE, "ls": (0, (3, 1.5))}


def plot_graph(
    view: View, method: str, gains: pd.DataFrame, groups: pd.DataFrame, givers: pd.DataFrame
) -> Plate:
    """The graph of one method."""
    title = f"Transfer graph, {method}"
    chosen = gains[gains["method"] == method]
    mine = groups[groups["method"] == method]
    reason = why_no_gain(gains, method)
    if reason or chosen["q"].isna().all():
        return notice(title, reason or f"no pair of {method} could be tested")
    if mine.empty:
        return notice(title, f"no tasks of {method} are both source and target")
    edges = transfer_graph(chosen)
    edges = edges[edges["source"].isin(mine["task"]) & edges["target"].isin(mine["task"])]
    frame = graph_frame(edges, scale=view.wording.scale)
    figure, axes = new_figure(TWO_COLUMNS, TWO_COLUMNS)
    draw_graph(axes[0][0], frame, mine, givers[givers["method"] == method])
    if len(frame):
        figure.legend(loc="outside lower center", ncols=2)
    drawn, known = (
        {help: int(((part > 0) == help).sum()) for help in (True, False)}
        for part in (frame["points"], edges["weight"])
    )
    kind = "established" if seeds_known(gains) else "beyond test-image noise (seeds unknown)"
    caption = (
        f"Arrows are {drawn[True]} of {known[True]} gains and {drawn[False]} of {known[False]} losses that "
        f"are {kind}, at q \u2264 {ALPHA}"
    )
    if len(frame) < len(edges):
        caption += ", the largest of each in equal shares"
    caption += (
        ": solid blue where the source helps, dashed red where it hurts; tasks along one arc, with its "
        "number, are a group, and the larger a task, the more of all such help it gives."
    )
    return Plate(title, caption, figure)
