"""Benchmark figures: score by shots, on average and task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures.style import (
    MUTED,
    ONE_COLUMN,
    TWO_COLUMNS,
    Plate,
    legend_above,
    looks,
    new_figure,
    notice,
    style,
)
from .table import AS_IS, MULTITASK, PROBE, SCRATCH, SINGLE, ZERO_SHOT, Benchmark, Entry

# In a figure of methods a line's colour is the method's; in a panel of one method, the kind's.
_LINES: dict[str, dict[str, Any]] = {
    ZERO_SHOT: {"ls": "--", "marker": "", "color": MUTED},
    PROBE: {"marker": "X", "color": MUTED},
    SCRATCH: {},
    MULTITASK: {"mfc": "white", "mew": 1.4},
    AS_IS: {"ls": ":", "mfc": "white"},
    SINGLE: {"ls": "-.", "mfc": "white"},
}
_KIND_NAMES = {
    SCRATCH: "from scratch",
    MULTITASK: "from the multitask prompt",
    AS_IS: "multitask prompt as it is",
    SINGLE: "from the best single source (hindsight)",
}
_BASES = (ZERO_SHOT, PROBE)
_DASHES = ("-", "--", ":", "-.")
_WITH_BARS = 6  # entries of a panel a task; of more, bars hide the lines
# Octaves: from one entry to the next where bars would hide one another, and all together at most.
_DODGE, _WIDEST = 0.07, 0.6


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
    pairs = {e.name: Entry(minus, e.method).name for e in result.entries if e.kind == MULTITASK}
    mine = table["minus"] == table["entry"].map(pairs)
    found = table[mine & table["difference"].notna()]
    values = 100 * found[["difference", "low", "high"]]
    values = values.rename(columns={"difference": "score"})
    return pd.concat([found[["entry", "shots"]], values], axis=1).reset_index(drop=True)


def draw_shots(
    ax: Axes, frame: pd.DataFrame, entries: Sequence[Entry], chosen: Mapping[Entry, dict[str, Any]]
) -> Axes:
    """One line an entry over shots (log2), bars where there are intervals, entries side by side."""
    shown = [entry for entry in entries if (frame["entry"] == entry.name).any()]
    tuned = [entry for entry in shown if entry.kind != ZERO_SHOT]
    shots = sorted(frame["shots"].unique())
    left, right = shots[0] / 2**0.5, shots[-1] * 2**0.5
    step = min(_DODGE, _WIDEST / max(len(tuned), 1))
    for entry in shown:
        part = frame[frame["entry"] == entry.name].sort_values("shots")
        look = {"lw": 1.5, "ms": 5, **chosen[entry]}
        x, y = part["shots"].to_numpy(float), part["score"].to_numpy(float)
        if entry.kind == ZERO_SHOT:  # from edge to edge: it has no shots
            x, y = np.r_[left, x, right], np.r_[y[0], y, y[-1]]
        else:
            x = x * 2.0 ** (step * (tuned.index(entry) - (len(tuned) - 1) / 2))
            ax.vlines(x, part["low"], part["high"], color=look["color"], lw=1.1, alpha=0.6)
        ax.plot(x, y, **look)
    ax.set_xscale("log", base=2)
    ax.set_xticks(shots, [str(k) for k in shots])
    ax.set_xticks([], minor=True)
    ax.set_xlim(left, right)
    return ax


def plot_average(result: Benchmark) -> Plate:
    """Average score by shots. Where there are multitask starts: a panel a method, and what they add."""
    title = result.title
    frame, added = shots_frame(result), contrast_frame(result)
    if frame.empty:
        return notice(title, "no task has a score of every entry")
    caption = (
        "Average score by shots over the tasks that every entry has; bars are 95% intervals, with tasks "
        "as units, of the gain over zero-shot"
    )
    methods = list(dict.fromkeys(entry.method for entry in result.entries if entry.method))
    with style():
        if added.empty:
            figure, axes = new_figure(ONE_COLUMN, 2.8)
            draw_shots(axes[0][0], frame, result.entries, _by_method(result.entries))
            legend_above(figure)
        else:
            place = "below" if len(methods) > 1 else "on the right"
            caption += f"; {place}, of the difference of a multitask start to scratch"
            figure, axes = _draw_methods(result, methods, frame, added)
        axes[0][0].set_ylabel(f"average score {_over(result)} (points)")
        figure.supxlabel("shots (training images a class)", fontsize=7)
    if any(entry.hindsight for entry in result.entries):
        caption += "; the best source is chosen with hindsight, by the scores shown"
    return Plate(title, f"{caption}.", figure)


def _draw_methods(
    result: Benchmark, methods: Sequence[str], frame: pd.DataFrame, added: pd.DataFrame
) -> tuple[Figure, list[list[Axes]]]:
    """Of each method a panel of scores, and one of what a multitask start adds: beside it where there is one
    method, else below. A start has one look in all of them."""
    if len(methods) == 1:
        figure, axes = new_figure(TWO_COLUMNS, 2.7, 1, 2)
        scores, differences = axes[0][:1], axes[0][1:]
    else:
        figure, axes = new_figure(TWO_COLUMNS, 4.6, 2, len(methods))
        scores, differences = axes
    chosen = _by_kind(result.entries)
    for row in (scores, differences):
        for ax in row[1:]:
            ax.sharey(row[0])  # before drawing, so that the first makes room for all
    for above, below, method in zip(scores, differences, methods, strict=True):
        own = [entry for entry in result.entries if entry.method in ("", method)]
        draw_shots(above, frame, own, chosen)
        above.set_title(Entry(SCRATCH, method).name, loc="left")
        below.axhline(0, color="black", lw=0.6)
        draw_shots(below, added, [entry for entry in own if entry.kind == MULTITASK], chosen)
    differences[0].set_title("what the start adds", loc="left")
    differences[0].set_ylabel("difference to scratch (points)")
    legend_above(figure, 3)
    return figure, axes


def plot_tasks(result: Benchmark, columns: int = 5) -> Plate:
    """Score by shots, a panel a task."""
    entries = [entry for entry in result.entries if entry.kind not in (AS_IS, SINGLE)]
    chosen = _looks(entries)
    bars = len(entries) <= _WITH_BARS
    columns = min(columns, len(result.targets))
    rows = -(-len(result.targets) // columns)
    with style():
        figure, axes = new_figure(
            TWO_COLUMNS, 0.8 + 1.2 * rows, rows, columns, sharex=True, sharey=True
        )
        panels = [ax for row in axes for ax in row]
        for ax, target in zip(panels, result.targets, strict=False):
            part = result.cells[(result.cells["target"] == target) & result.cells["score"].notna()]
            ax.set_title(target, loc="left", fontsize=6.5, fontweight="normal")
            if len(part):
                points = 100 * part[["score", "low", "high"]]
                if not bars:
                    points[["low", "high"]] = np.nan
                draw_shots(ax, part[["entry", "shots"]].join(points), entries, chosen)
        for i, ax in enumerate(panels[len(result.targets) :], len(result.targets)):
            ax.remove()
            panels[i - columns].tick_params(labelbottom=True)
        # Intervals of two seeds can be wider than all scores there are: they are cut, not the scores shrunk.
        scores = 100 * result.cells["score"].dropna()
        if len(scores):
            panels[0].set_ylim(scores.min() - 5, scores.max() + 5)
        figure.supxlabel("shots (training images a class)", fontsize=7)
        figure.supylabel("score (points)", fontsize=7)
        legend_above(figure, min(5, len(entries)))
    said = (
        "; bars are 95% intervals over seeds, cut where they go beyond all scores" if bars else ""
    )
    caption = f"Score of each task by shots, means over seeds{said}."
    return Plate(f"{result.title}, task by task", caption, figure)


def _looks(entries: Sequence[Entry]) -> dict[Entry, dict[str, Any]]:
    """A colour a method; where there is one alone, a colour a kind of start."""
    several = len({entry.method for entry in entries if entry.method}) > 1
    return _by_method(entries) if several else _by_kind(entries)


def _by_method(entries: Sequence[Entry]) -> dict[Entry, dict[str, Any]]:
    """A colour a method; several ways to start from many tasks have dashes of their own."""
    methods = list(dict.fromkeys(entry.method for entry in entries if entry.method))
    ways = list(dict.fromkeys(entry.way for entry in entries if entry.way))
    chosen = looks(methods)
    found = {}
    for entry in entries:
        colour, marker = chosen.get(entry.method, (MUTED, ""))
        own = {"color": colour, "marker": marker, "label": entry.name}
        found[entry] = own | _LINES[entry.kind]
        if entry.way:
            found[entry]["ls"] = _DASHES[ways.index(entry.way) % len(_DASHES)]
    return found


def _by_kind(entries: Sequence[Entry]) -> dict[Entry, dict[str, Any]]:
    """A colour a kind of start, and a way; a prompt as it is has its start's colour."""

    def shown(entry: Entry) -> str:
        return entry.way or (MULTITASK if entry.kind == AS_IS else entry.kind)

    chosen = looks(list(dict.fromkeys(shown(e) for e in entries if e.kind not in _BASES)))
    found = {}
    for entry in entries:
        colour, marker = chosen.get(shown(entry), (MUTED, ""))
        label = _KIND_NAMES.get(entry.kind, entry.name)
        if entry.way:
            label = f"from {entry.way}" if entry.kind == MULTITASK else f"{entry.way} as it is"
        found[entry] = {"color": colour, "marker": marker, "label": label} | _LINES[entry.kind]
    return found


def _over(result: Benchmark) -> str:
    """How many tasks the averages are over."""
    counts = result.averages.loc[result.averages["score"].notna(), "n_targets"]
    low, high = int(counts.min()), int(counts.max())
    return f"over {low if low == high else f'{low} to {high}'} tasks"
