"""Panels of learning curves, gains by relation, and the transfer graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from .style import COLOURS, MUTED, NEGATIVE, POSITIVE, looks

RELATIONS = ("self", "family", "style", "neither")
RELATION_LABELS = {
    "self": "own prompt",
    "family": "same family",
    "style": "same style",
    "neither": "neither",
}


def draw_curves(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Draw a `curves.curve_frame`; the zero line is what tuning from scratch ends at."""
    ax.axhline(0, color="black", lw=0.6)
    shown = looks([str(name) for name in frame["start"].unique() if name != "scratch"])
    shown["scratch"] = ("#555555", "X")
    for start, part in frame.groupby("start", sort=False):
        colour, marker = shown[str(start)]
        dash = "--" if start == "scratch" else "-"
        ax.fill_between(part["step"], part["low"], part["high"], color=colour, alpha=0.15, lw=0)
        ax.plot(
            part["step"],
            part["points"],
            dash,
            marker=marker,
            ms=4,
            color=colour,
            lw=1.5,
            label=str(start),
        )
    ax.set_xlabel("tuning step")
    return ax


def relation_frame(relations: pd.DataFrame, gain_kind: str = "gain") -> pd.DataFrame:
    """method, relation, points, low, high, n_pairs, in the order of `RELATIONS`."""
    chosen = relations[relations["gain_kind"] == gain_kind].copy()
    chosen["order"] = chosen["relation"].map({name: i for i, name in enumerate(RELATIONS)})
    chosen = chosen.dropna(subset=["gain", "order"]).sort_values("order", kind="stable")
    frame = chosen[["method", "relation", "n_pairs"]].reset_index(drop=True)
    for column, source in (("points", "gain"), ("low", "low"), ("high", "high")):
        frame[column] = 100 * chosen[source].to_numpy(float)
    return frame


def draw_relations(ax: Axes, frame: pd.DataFrame, methods: Sequence[str]) -> Axes:
    """Mean gain with its interval by relation, methods side by side."""
    names = [name for name in RELATIONS if (frame["relation"] == name).any()]
    ax.axhline(0, color="black", lw=0.6)
    step = 0.6 / max(len(methods), 1)
    for k, (method, (colour, marker)) in enumerate(looks(methods).items()):
        some = frame[frame["method"] == method]
        x = some["relation"].map({n: i for i, n in enumerate(names)}) + step * (
            k - (len(methods) - 1) / 2
        )
        ax.vlines(x, some["low"], some["high"], color=colour, lw=1.6)
        ax.plot(x, some["points"], marker, ms=6, color=colour, label=method)
    ax.set_xticks(range(len(names)), [RELATION_LABELS[n] for n in names])
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylabel("mean transfer gain (points)")
    return ax


def graph_frame(graph: nx.DiGraph, most: tuple[int, int] = (60, 25)) -> pd.DataFrame:
    """The edges to draw, those that hurt first (so that help lies on top), weakest first: source,
    target, points; at most `most` that help and that hurt."""
    rows = [(s, t, 100 * data["weight"]) for s, t, data in graph.edges(data=True)]
    frame = pd.DataFrame(rows, columns=["source", "target", "points"]).astype({"points": float})
    helps = frame[frame["points"] > 0].sort_values("points", kind="stable")
    hurts = frame[frame["points"] <= 0].sort_values("points", ascending=False, kind="stable")
    return pd.concat([hurts.tail(most[1]), helps.tail(most[0])], ignore_index=True)


def draw_graph(ax: Axes, frame: pd.DataFrame, groups: pd.DataFrame, giving: pd.DataFrame) -> Axes:
    """Tasks on a circle, members of a group next to each other; arrows from source to target, blue
    and solid where it helps, red and dashed where it hurts, as wide as the gain is large.

    `groups`: `grouping.group_table`; `giving`: `grouping.givers` (the node's size is the share of
    all established help that the task gives).
    """
    tasks = list(groups["task"])
    n = len(tasks)
    angle = {task: np.pi / 2 - 2 * np.pi * (i + 0.5) / n for i, task in enumerate(tasks)}
    at = {task: (np.cos(a), np.sin(a)) for task, a in angle.items()}
    hub = giving.set_index("task")["hub"].reindex(tasks).fillna(0.0)
    group = groups.set_index("task")["group"]
    size = {task: 30 + 220 * float(hub[task] / max(hub.max(), 1e-12)) for task in tasks}
    top = frame["points"].abs().max() if len(frame) else 1.0
    for edge in frame.itertuples():
        points = float(edge.points)  # type: ignore[arg-type]
        ax.add_patch(
            FancyArrowPatch(
                at[str(edge.source)],
                at[str(edge.target)],
                connectionstyle="arc3,rad=0.18",
                arrowstyle="-|>",
                mutation_scale=7,
                shrinkA=np.sqrt(size[str(edge.source)]) / 2 + 1,
                shrinkB=np.sqrt(size[str(edge.target)]) / 2 + 1,
                lw=0.4 + 2.0 * abs(points) / top,
                alpha=0.7,
                **_edge_look(points),
            )
        )
    for task in tasks:
        x, y = at[task]
        colour = COLOURS[(int(group[task]) - 1) % len(COLOURS)]
        ax.scatter(x, y, s=size[task], color=colour, ec="black", lw=0.7, zorder=3)
        turn = float(np.degrees(angle[task]))
        left = np.cos(angle[task]) < -1e-9
        name = f"({group[task]}) {task}" if left else f"{task} ({group[task]})"
        ax.text(
            1.1 * x,
            1.1 * y,
            name,
            rotation=turn + 180 if left else turn,
            rotation_mode="anchor",
            ha="right" if left else "left",
            va="center",
            fontsize=8,
        )
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
