"""Benchmark tables for readers: which words stand in which cell. `write` makes text of them.

Scores are in points (0 to 100) with one digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..vocabulary import MINUS, signed
from .adaptation import SAME
from .table import AS_IS, SINGLE, Benchmark, Entry, common_targets, shots_name
from .write import DAGGER, PLUS_MINUS, Grid

Row = Mapping[Any, Any]
_MODERATED = "variances of ten tasks or more drawn towards one another"
_OPTIMISTIC = "groups look better there than on others"


def benchmark_grids(result: Benchmark) -> list[Grid]:
    """All tables of a benchmark: averages, differences, then by shots each target's scores; where there
    are starts beside scratch and multitask ones, further tables with all of a method."""
    main = [entry for entry in result.entries if entry.kind not in (AS_IS, SINGLE)]
    grids = [average_grid(result), difference_grid(result)]
    grids += [score_grid(result, shots, main) for shots in result.shots]
    for method in dict.fromkeys(e.method for e in result.entries if e not in main):
        own = [entry for entry in result.entries if entry.method in ("", method)]
        grids += [score_grid(result, shots, own, method) for shots in result.shots]
    return grids


def score_grid(result: Benchmark, shots: int, entries: Sequence[Entry], subtitle: str = "") -> Grid:
    """Scores with some shots: targets in rows, entries in columns, the average last. The best of a row
    is bold, all of equals, none chosen with hindsight."""
    cells = _by(result.cells, shots, "target", "entry")
    averages = _by(result.averages, shots, "entry")
    rows, scores = [], []
    lacking: dict[tuple[str, str], list[str]] = {}
    for target in result.targets:
        own = [cells[target, entry.name] for entry in entries]
        rows.append((target, *(_score(cell) + _mark(cell) for cell in own)))
        scores.append([cell["score"] for cell in own])
        for cell in own:
            if cell["reason"]:
                lacking.setdefault((cell["entry"], cell["reason"]), []).append(target)
    shared = common_targets(result.cells, result.entries, shots)
    last = [averages[entry.name] for entry in entries]
    rows.append((f"average of {len(shared)}", *(_points(cell["score"]) for cell in last)))
    scores.append([cell["score"] for cell in last])
    notes = [f"{name}, {why}: {', '.join(names)}" for (name, why), names in lacking.items()]
    if any(_mark(cell) for cell in cells.values()):
        notes.append(f"{DAGGER} marks scores of fewer seeds than there are")
    notes += _left_out(averages, entries)
    if any(np.isfinite(cell["low"]) for cell in cells.values()):
        notes.append(f"{PLUS_MINUS} is half of a 95% interval over seeds, {_MODERATED}")
    if any(entry.hindsight for entry in entries):
        notes.append("the best source is chosen with hindsight, by the scores shown: never bold")
    title = f"{result.title}, {shots_name(shots)}"
    return Grid(
        f"{title}, {subtitle}" if subtitle else title,
        ("task", *(entry.name for entry in entries)),
        tuple(rows),
        _bold(_competing(scores, entries)),
        frozenset([len(result.targets)]),
        _sentences(notes),
    )


def average_grid(result: Benchmark) -> Grid:
    """Averages over targets: entries in rows, shots in columns; the best of each column is bold."""
    found = [_by(result.averages, shots, "entry") for shots in result.shots]
    rows = [
        (entry.name, *(_score(averages[entry.name]) for averages in found))
        for entry in result.entries
    ]
    scores = [[averages[e.name]["score"] for e in result.entries] for averages in found]
    notes = []
    for shots, averages in zip(result.shots, found, strict=True):
        count = len(common_targets(result.cells, result.entries, shots))
        notes.append(f"{shots_name(shots)}: averages over {count} of {len(result.targets)} tasks")
        notes += [f"{shots_name(shots)}: {note}" for note in _left_out(averages, result.entries)]
    if any(entry.hindsight for entry in result.entries):
        notes.append("the best source is chosen with hindsight, by the scores shown: never bold")
    notes.append(f"{PLUS_MINUS} is half of a 95% interval with tasks as units")
    notes += result.notes
    return Grid(
        f"{result.title}: average score",
        ("", *map(shots_name, result.shots)),
        tuple(rows),
        _bold(_competing(scores, result.entries), transposed=True),
        notes=_sentences(notes),
    )


def difference_grid(result: Benchmark) -> Grid:
    """Mean differences with intervals (targets as units): contrasts in rows, shots in columns."""
    means = result.differences[result.differences["target"].isna()]
    rows: list[tuple[str, ...]] = []
    lacking: dict[tuple[int, str], list[str]] = {}
    for (entry, minus), part in means.groupby(["entry", "minus"], sort=False):
        own = {row["shots"]: row for row in part.to_dict("records")}
        name = f"{entry} {MINUS} {minus}"
        rows.append((name, *(_difference(own[shots]) for shots in result.shots)))
        for k, row in own.items():
            if row["reason"]:
                lacking.setdefault((k, row["reason"]), []).append(name)
    notes = [f"{shots_name(k)}, {why}: {', '.join(names)}" for (k, why), names in lacking.items()]
    notes.append("95% intervals with tasks as units; differences are paired by task and seed")
    return Grid(
        f"{result.title}: differences in points",
        ("", *map(shots_name, result.shots)),
        tuple(rows),
        notes=_sentences(notes),
    )


def published_grid(table: pd.DataFrame) -> Grid:
    """Ours beside the authors' averages, from `generalisation.beside_published`."""
    rows = []
    for row in table.to_dict("records"):
        bounds = {side: row[f"difference_{side}"] for side in ("low", "high")}
        rows.append(
            (
                row["entry"],
                str(row["shots"]),
                _points(row["ours"]),
                _points(row["published"]),
                _difference({"difference": row["difference"], **bounds}),
                f"{row['n_targets']}, {'the same' if row['same_targets'] else 'others'}",
            )
        )
    notes = ["published averages are read off a figure (give or take 0.2), their shots not stated"]
    notes.append("95% intervals with our tasks as units, the published value taken as exact")
    if not rows:
        notes = ["no published average is known for this backbone and these entries"]
    return Grid(
        "Beside the published averages",
        ("", "shots", "ours", "published", "difference", "tasks"),
        tuple(rows),
        notes=_sentences(notes),
    )


def adaptation_grids(table: pd.DataFrame) -> list[Grid]:
    """A table a method, start and number of shots from `adaptation.adaptation`: the tasks of each group
    with the group's mean below them, the mean over all tasks last. The better of both is bold."""
    grids = []
    for (method, start, shots, judged), part in table.groupby(
        ["method", "start", "shots", "judged_on"], sort=False
    ):
        rows, scores, notes = [], [], []
        for row in part.to_dict("records"):
            group, target = (row[k] if isinstance(row[k], str) else "" for k in ("group", "target"))
            name = target or ("mean of the group" if group else "mean over tasks")
            numbers = (_points(row["together"]), _points(row["alone"]), _difference(row))
            rows.append((name, group, *numbers, _counted(row["n"], row["unit"])))
            scores.append([row["together"], row["alone"]])
            if row["reason"]:
                notes.append(f"{f'{name}, {group}' if group else name}: {row['reason']}")
        notes.append(f"judged on {judged}{f': {_OPTIMISTIC}' if judged == SAME else ''}")
        notes.append(f"95% intervals over seeds, {_MODERATED}; of means with tasks as units")
        grids.append(
            Grid(
                f"Tasks tuned together, {method} from {start}, {shots_name(shots)}",
                ("task", "group", "together", "alone", "difference", "over"),
                tuple(rows),
                frozenset((i, j + 1) for i, j in _bold(np.array(scores, dtype=float))),
                frozenset([len(rows) - 1]),
                _sentences(notes),
            )
        )
    return grids


def _by(table: pd.DataFrame, shots: int, *keys: str) -> dict[Any, dict[Any, Any]]:
    """The rows with some shots, by one key or several."""
    rows = table[table["shots"] == shots].to_dict("records")
    return {tuple(r[k] for k in keys) if len(keys) > 1 else r[keys[0]]: r for r in rows}


def _left_out(averages: Mapping[Any, Row], entries: Sequence[Entry]) -> list[str]:
    """What the averages of some shots leave out, and which entries have none."""
    notes: dict[str, None] = {}
    for entry in entries:
        row = averages[entry.name]
        if np.isfinite(row["score"]) and row["reason"]:
            notes.setdefault(f"not in the averages: {row['reason'].partition(': ')[2]}")
        elif row["reason"]:
            notes.setdefault(f"{entry.name} has no average: {row['reason']}")
    return list(notes)


def _competing(scores: Sequence[Sequence[float]], entries: Sequence[Entry]) -> NDArray[np.float64]:
    """Scores [rows, entries] with those chosen with hindsight undefined."""
    fair = [not entry.hindsight for entry in entries]
    return np.where(fair, np.array(scores, dtype=float), np.nan)


def _bold(scores: NDArray[np.float64], transposed: bool = False) -> frozenset[tuple[int, int]]:
    """The places in a grid of the best of each row of scores, as shown: all of equals, none where one is
    alone. `transposed` where the grid's columns are the rows of `scores`."""
    best = []
    for i, row in enumerate(np.round(100 * scores, 1)):
        if np.isfinite(row).sum() > 1:
            best += [(i, int(j)) for j in np.flatnonzero(row == np.nanmax(row))]
    return frozenset((j, i + 1) if transposed else (i, j + 1) for i, j in best)


def _mark(cell: Row) -> str:
    return DAGGER if cell["reason"] and np.isfinite(cell["score"]) else ""


def _points(score: float) -> str:
    return f"{100 * score:.1f}" if np.isfinite(score) else ""


def _score(row: Row) -> str:
    """A score in points, with half of its interval; "" where there is none."""
    text, width = _points(row["score"]), row["high"] - row["low"]
    return f"{text} {PLUS_MINUS} {50 * width:.1f}" if text and np.isfinite(width) else text


def _difference(row: Row) -> str:
    """A difference in points with the bounds of its interval; "" where there is none."""
    if not np.isfinite(row["difference"]):
        return ""
    value, low, high = (_signed(row[key]) for key in ("difference", "low", "high"))
    return f"{value} [{low}, {high}]" if np.isfinite(row["low"]) else value


def _signed(share: float) -> str:
    text = signed(100 * share)
    return f"+{text}" if share > 0 and float(text) != 0 else text


def _counted(n: int, unit: str) -> str:
    noun = "task" if unit == "targets" else "seed"
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _sentences(notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{note[0].upper()}{note[1:]}." for note in notes)


def joint_grids(modes: pd.DataFrame) -> list[Grid]:
    """The two modes of transfer beside each other, from `joint.compare_modes`: a table a number of shots."""
    grids = []
    for shots, part in modes.groupby("shots"):
        rows = []
        for row in part.to_dict("records"):
            cells = [
                _difference({"difference": row[name], "low": row[low], "high": row[high]})
                for name, low, high in (
                    ("joint_gain", "joint_low", "joint_high"),
                    ("sequential_gain", "sequential_low", "sequential_high"),
                    ("difference", "difference_low", "difference_high"),
                )
            ]
            known = np.isfinite(row["r"])
            r = f"{signed(row['r'], 2)}, p = {row['p']:.4f}" if known else ""
            rows.append((row["method"], *cells, r, str(row["n_pairs"])))
        grids.append(
            Grid(
                f"Joint pairs, {shots_name(shots)}: mean gain over scratch in points",
                ("", "joint", "sequential", f"joint {MINUS} sequential", "r of the modes", "pairs"),
                tuple(rows),
                notes=_sentences(
                    [
                        "joint: both tasks tuned together with one prompt, twice the steps of one task; "
                        "sequential: tuned from the other task's prompt",
                        "95% intervals with targets as units; r over pairs, tested by permutation of tasks",
                    ]
                ),
            )
        )
    return grids
