"""Benchmark figures: score by shots, on average and task by task."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ..figures.style import (
    COLOURS,
    MARKERS,
    MUTED,
    Plate,
    legend_above,
    new_figure,
    notice,
    style,
)
from .table import AS_IS, MULTITASK, PROBE, SCRATCH, SINGLE, ZERO_SHOT, Benchmark, Entry

# How a kind of entry is drawn; its colour is the method's.
_LINES: dict[str, dict[str, Any]] = {
    ZERO_SHOT: {"ls": "--", "marker": ""},
    PROBE: {"ls": "-", "marker": "X"},
    SCRATCH: {"ls": "-"},
    MULTITASK: {"ls": "-", "mfc": "white", "mew": 1.4},
    AS_IS: {"ls": ":", "mfc": "white", "alpha": 0.8},
    SINGLE: {"ls": "-.", "mfc": "white", "alpha": 0.8},
}
_DODGE = 0.07  # octaves between the lines of neighbouring entries


def shots_frame(result: Benchmark) -> pd.DataFrame:
    """What `draw_shots` draws: columns entry, shots, score, low, high, in points.

    low and high are the interval of the gain over zero-shot, with tasks as units, laid around the
    average score: how unlike the tasks are, which all entries share, is not in it.
    """
    found = result.averages[result.averages["score"].notna()]
    points = 100 * found["score"]
    sides = {
        side: points + 100 * (found[f"over_zero_shot_{side}"] - found["over_zero_shot"])
        for side in ("low", "high")
    }
    frame = pd.DataFrame(
        {"entry": found["entry"], "shots": found["shots"], "score": points, **sides}
    )
    return frame.reset_index(drop=True)


def contrast_frame(result: Benchmark, minus: str = SCRATCH) -> pd.DataFrame:
    """Mean difference of each multitask start to the same method's entry of the kind `minus`: columns
    entry, shots, score, low, high, in points (interval with tasks as units)."""
    table = result.differences[result.differences["target"].isna()]
    pairs = {
        Entry(MULTITASK, e.method).name: Entry(minus, e.method).name
        for e in result.entries
        if e.kind == MULTITASK
    }
    mine = table["minus"] == table["entry"].map(pairs)
    found = table[mine & table["difference"].notna()]
    values = 100 * found[["difference", "low", "high"]]
    values = values.rename(columns={"difference": "score"})
    return pd.concat([found[["entry", "shots"]], values], axis=1).reset_index(drop=True)


def draw_shots(ax: Axes, frame: pd.DataFrame, result: Benchmark) -> Axes:
    """One line an entry over shots (log2), bars where there are intervals, entries side by side."""
    names = [entry for entry in result.entries if (frame["entry"] == entry.name).any()]
    for k, entry in enumerate(names):
        part = frame[frame["entry"] == entry.name].sort_values("shots")
        look = _look(entry, result)
        flat = entry.kind == ZERO_SHOT
        x = part["shots"] * 2.0 ** (0 if flat else _DODGE * (k - (len(names) - 1) / 2))
        if not flat:
            ax.vlines(x, part["low"], part["high"], color=look["color"], lw=1.1, alpha=0.7)
        ax.plot(x, part["score"], label=entry.name, **look)
    ax.set_xscale("log", base=2)
    ax.set_xticks(result.shots, [str(shots) for shots in result.shots])
    ax.set_xticks([], minor=True)
    room = 2.0**0.45
    ax.set_xlim(min(result.shots) / room, max(result.shots) * room)
    ax.set_xlabel("shots (training images a class)")
    return ax


def plot_average(result: Benchmark) -> Plate:
    """Average score by shots, and where there are multitask starts, what they add to scratch."""
    title = result.title
    frame, added = shots_frame(result), contrast_frame(result)
    if frame.empty:
        return notice(title, "no task has a score of every entry")
    with style():
        count = 1 + (len(added) > 0)
        figure, axes = new_figure(1.0 + 3.9 * count, 3.9, 1, count)
        ax = draw_shots(axes[0][0], frame, result)
        ax.set_ylabel("average score (points)")
        ax.set_title(_over(result), loc="left")
        if len(added):
            ax = axes[0][1]
            ax.axhline(0, color="black", lw=0.6)
            draw_shots(ax, added, result)
            ax.set_ylabel("multitask start minus scratch (points)")
            ax.set_title("what the start adds", loc="left")
        legend_above(figure, min(4, len(result.entries)))
    caption = (
        "Average score by shots over the tasks that every entry has; bars are 95% intervals, with tasks "
        "as units, of the gain over zero-shot"
    )
    if len(added):
        caption += ", and on the right of the difference of a multitask start to scratch"
    if any(entry.hindsight for entry in result.entries):
        caption += "; the best source is chosen with hindsight"
    return Plate(title, f"{caption}.", figure)


def plot_tasks(result: Benchmark, columns: int = 5) -> Plate:
    """Score by shots, a panel a task."""
    entries = [entry for entry in result.entries if entry.kind not in (AS_IS, SINGLE)]
    cells = result.cells[result.cells["entry"].isin([entry.name for entry in entries])]
    columns = min(columns, len(result.targets))
    rows = -(-len(result.targets) // columns)
    with style():
        figure, axes = new_figure(
            1.0 + 1.75 * columns, 1.0 + 1.6 * rows, rows, columns, sharex=True, sharey=True
        )
        panels = [ax for row in axes for ax in row]
        for ax, target in zip(panels, result.targets, strict=False):
            part = cells[(cells["target"] == target) & cells["score"].notna()]
            values = 100 * part[["score", "low", "high"]]
            draw_shots(ax, pd.concat([part[["entry", "shots"]], values], axis=1), result)
            ax.set_title(target, loc="left", fontsize=8, fontweight="normal")
            ax.set_xlabel("")
        for ax in panels[len(result.targets) :]:
            ax.remove()
        figure.supxlabel("shots (training images a class)", fontsize=9)
        figure.supylabel("score (points)", fontsize=9)
        legend_above(figure, min(4, len(entries)))
    caption = "Score of each task by shots, means over seeds; bars are 95% intervals over seeds."
    return Plate(f"{result.title}, task by task", caption, figure)


def _look(entry: Entry, result: Benchmark) -> dict[str, Any]:
    """Colour and marker by method, line by kind."""
    methods = list(dict.fromkeys(e.method for e in result.entries if e.method))
    look: dict[str, Any] = {"color": MUTED, "lw": 1.5, "ms": 5}
    if entry.method:
        place = methods.index(entry.method)
        look |= {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
    return look | _LINES[entry.kind]


def _over(result: Benchmark) -> str:
    """How many tasks the averages are over."""
    counts = result.averages.loc[result.averages["score"].notna(), "n_targets"]
    low, high = int(counts.min()), int(counts.max())
    return f"over {low if low == high else f'{low} to {high}'} tasks"
