"""Learning curves, gains by relation, and the transfer graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from analysis.figures import COLOURS, MUTED, NEGATIVE, POSITIVE, looks

RELATIONS = ("self", "family", "style", "neither")
RELATION_LABELS = {"self": "own prompt", "family": "same family", "style": "same style",
                   "neither": "neither"}  # fmt: skip


def curve_frame(
    curves: pd.DataFrame,
    method: str,
    nearest: Mapping[str, pd.DataFrame] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean test score by step, in points from the target's final scratch score: start, step,
    points, low, high.

    `curves`: method, source ("scratch" too), target, seed, step, score. `nearest`: name of a
    choice of sources -> target, source. Starts: "scratch", "all sources" and these names. Own
    prompts are left out; cells without a final score are too.
    Intervals by a bootstrap over targets.
    """
    frame = curves[(curves["method"] == method) & (curves["source"] != curves["target"])]
    last = frame["step"].max()
    final = frame[frame["step"] == last].dropna(subset=["score"])
    frame = frame.merge(final[["source", "target", "seed"]], on=["source", "target", "seed"])
    base = final[final["source"] == "scratch"][["target", "seed", "score"]]
    frame = frame.merge(base.rename(columns={"score": "base"}), on=["target", "seed"])
    frame = frame.dropna(subset=["score"])
    frame["points"] = 100 * (frame["score"] - frame["base"])
    scratch = frame["source"] == "scratch"
    parts = {"scratch": frame[scratch], "all sources": frame[~scratch]}
    for name, chosen in (nearest or {}).items():
        parts[name] = frame.merge(chosen[["source", "target"]])
    rng = np.random.default_rng(seed)
    rows = []
    for start, part in parts.items():
        if part.empty:
            continue
        wide = part.pivot_table(index="target", columns="step", values="points").dropna(axis=1)
        values = wide.to_numpy(float)
        draws = values[rng.integers(len(values), size=(bootstrap, len(values)))].mean(1)
        low, high = np.percentile(draws, [2.5, 97.5], axis=0)
        if len(values) < 3:
            low, high = np.full((2, values.shape[1]), np.nan)
        rows.append(
            pd.DataFrame({"start": start, "step": wide.columns.to_numpy(),
                          "points": values.mean(0), "low": low, "high": high})
        )  # fmt: skip
    columns = ["start", "step", "points", "low", "high"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def reached(frame: pd.DataFrame) -> pd.DataFrame:
    """Step at which each start of a `curve_frame` first reaches the final scratch score (linear
    between evaluations): start, step, share (of the budget); NaN when it never does."""
    rows = []
    for start, part in frame.groupby("start", sort=False):
        steps, points = part["step"].to_numpy(float), part["points"].to_numpy(float)
        above = np.flatnonzero(points >= -1e-9)
        step = np.nan
        if len(above):
            i = int(above[0])
            step = steps[i]
            if i and points[i] > points[i - 1]:
                step -= (steps[i] - steps[i - 1]) * points[i] / (points[i] - points[i - 1])
        rows.append((start, step, step / steps.max() if steps.max() > 0 else np.nan))
    return pd.DataFrame(rows, columns=["start", "step", "share"])


def draw_curves(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Draw a `curve_frame`; the zero line is what tuning from scratch ends at."""
    ax.axhline(0, color="black", lw=0.6)
    shown = looks([str(name) for name in frame["start"].unique() if name != "scratch"])
    shown["scratch"] = ("#555555", "X")
    for start, part in frame.groupby("start", sort=False):
        colour, marker = shown[str(start)]
        dash = "--" if start == "scratch" else "-"
        ax.fill_between(part["step"], part["low"], part["high"], color=colour, alpha=0.15, lw=0)
        ax.plot(part["step"], part["points"], dash, marker=marker, ms=4, color=colour, lw=1.5,
                label=str(start))  # fmt: skip
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
                at[str(edge.source)], at[str(edge.target)],
                connectionstyle="arc3,rad=0.18", arrowstyle="-|>", mutation_scale=7,
                shrinkA=np.sqrt(size[str(edge.source)]) / 2 + 1,
                shrinkB=np.sqrt(size[str(edge.target)]) / 2 + 1,
                lw=0.4 + 2.0 * abs(points) / top, alpha=0.7, **_edge_look(points),
            )
        )  # fmt: skip
    for task in tasks:
        x, y = at[task]
        colour = COLOURS[(int(group[task]) - 1) % len(COLOURS)]
        ax.scatter(x, y, s=size[task], color=colour, ec="black", lw=0.7, zorder=3)
        turn = float(np.degrees(angle[task]))
        left = np.cos(angle[task]) < -1e-9
        name = f"({group[task]}) {task}" if left else f"{task} ({group[task]})"
        ax.text(
            1.1 * x, 1.1 * y, name, rotation=turn + 180 if left else turn,
            rotation_mode="anchor", ha="right" if left else "left", va="center", fontsize=8,
        )  # fmt: skip
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
