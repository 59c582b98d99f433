"""The graph of established transfers, with groups of tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from ..choice.groups import transfer_graph
from ..read.study import why_no_gain
from ..stats.multiplicity import ALPHA
from ..view import View
from .style import COLOURS, MUTED, NEGATIVE, POSITIVE, Plate, new_figure, notice


def graph_frame(
    edges: pd.DataFrame, most: tuple[int, int] = (60, 25), scale: float = 100.0
) -> pd.DataFrame:
    """The edges to draw (of source, target, weight), those that hurt first, so that help lies on
    top, weakest first: source, target, points; at most `most` that help and that hurt."""
    frame = edges[["source", "target"]].assign(points=scale * edges["weight"].astype(float))
    helps = frame[frame["points"] > 0].sort_values("points", kind="stable")
    hurts = frame[frame["points"] <= 0].sort_values("points", ascending=False, kind="stable")
    return pd.concat([hurts.tail(most[1]), helps.tail(most[0])], ignore_index=True)


def draw_graph(ax: Axes, frame: pd.DataFrame, groups: pd.DataFrame, giving: pd.DataFrame) -> Axes:
    """Tasks on a circle, members of a group next to each other; arrows from source to target, blue
    and solid where it helps, red and dashed where it hurts, as wide as the gain is large.

    `groups`: `choice.groups.group_table`; `giving`: `choice.groups.givers` (the node's size is the
    share of all established help that the task gives).
    """
    tasks = list(groups["task"])
    n = len(tasks)
    angle = {task: np.pi / 2 - 2 * np.pi * (i + 0.5) / n for i, task in enumerate(tasks)}
    at = {task: (np.cos(a), np.sin(a)) for task, a in angle.items()}
    hub = giving.set_index("task")["hub"].reindex(tasks).fillna(0.0)
    group = groups.set_index("task")["group"]
    size = {task: 30 + 220 * float(hub[task] / max(hub.max(), 1e-12)) for task in tasks}
    top = frame["points"].abs().max() if len(frame) else 1.0
    for source, target, points in frame[["source", "target", "points"]].to_numpy():
        look: dict[str, Any] = {
            "connectionstyle": "arc3,rad=0.18",
            "arrowstyle": "-|>",
            "mutation_scale": 7,
            "shrinkA": np.sqrt(size[source]) / 2 + 1,
            "shrinkB": np.sqrt(size[target]) / 2 + 1,
            "lw": 0.4 + 2.0 * abs(points) / top,
            "alpha": 0.7,
        }
        ax.add_patch(FancyArrowPatch(at[source], at[target], **look, **_edge_look(points)))
    for task in tasks:
        x, y = at[task]
        colour = COLOURS[(int(group[task]) - 1) % len(COLOURS)]
        ax.scatter(x, y, s=size[task], color=colour, ec="black", lw=0.7, zorder=3)
        turn = float(np.degrees(angle[task]))
        left = np.cos(angle[task]) < -1e-9
        name = f"({group[task]}) {task}" if left else f"{task} ({group[task]})"
        turned: Any = {"rotation": turn + 180 if left else turn, "rotation_mode": "anchor"}
        side = "right" if left else "left"
        ax.text(1.1 * x, 1.1 * y, name, ha=side, va="center", fontsize=8, **turned)
    for points, label in ((1, "helps"), (-1, "hurts")):
        if (np.sign(frame["points"]) == points).any():
            ax.plot([], [], lw=1.6, label=label, **_edge_look(points))
    if not len(frame):
        ax.text(0, 0, "no established transfer", ha="center", va="center", color=MUTED)
    ax.set_aspect("equal")
    ax.set_xlim(-1.1, 1.1)
    ax.set_ylim(-1.1, 1.1)
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
    figure, axes = new_figure(8.2, 8.4)
    draw_graph(axes[0][0], frame, mine, givers[givers["method"] == method])
    if len(frame):
        figure.legend(loc="outside lower center", ncols=2)
    total = len(edges)
    shown = f"all established transfers ({total})"
    if total > len(frame):
        shown = f"{len(frame)} of {total} established transfers, the strongest of either sign"
    caption = (
        f"Arrows are {shown} (q \u2264 {ALPHA}), solid blue where the source helps and dashed red "
        "where it hurts; numbers and colours are groups, and the larger a task, the more of all "
        "established help it gives."
    )
    return Plate(title, caption, figure)
