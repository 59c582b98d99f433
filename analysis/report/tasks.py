"""The table that the report opens with: each task's size, chance level and absolute scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..read.study import transfers
from ..view import View
from ..vocabulary import signed
from .words import Row, records


@dataclass(frozen=True)
class Overview:
    """Headings and rows of the table, and sentences on what did not learn."""

    heads: list[str]
    numbers: int  # columns before this one, but the first, hold numbers; the last one holds words
    rows: list[list[str]]
    flags: list[str]


def overview(
    view: View,
    sizes: pd.DataFrame,
    samples: pd.DataFrame,
    transfer: pd.DataFrame,
    gains: pd.DataFrame,
) -> Overview:
    """The opening table of one value of shots, scores in points.

    sizes, samples: `read.tasks.task_sizes` and `sample_sizes`; transfer, gains: the study's tables. A
    score is at chance where it is not more than two standard errors of a guess above it; a method did
    not learn where its scratch is there in most tasks.
    """
    by_target = transfer.groupby("target")
    bases = {"zero-shot": by_target["zero_shot"].mean()}
    if "linear_probe" in transfer and transfer["linear_probe"].notna().any():
        bases["linear probe"] = by_target["linear_probe"].mean()
    heads = ["task", "classes", "train images", "test images", "chance", *bases]
    heads += [f"{method} from scratch" for method in view.methods]
    heads.append("best source")
    images = samples.groupby("task")[["train", "val"]].mean().sum(axis=1)
    scores = transfer.groupby(["target", "method"])["scratch"].mean()
    best = _best(view, gains)
    rows: list[list[str]] = []
    at_chance: dict[str, list[str]] = {name: [] for name in (*bases, *view.methods)}
    known, below = dict.fromkeys(at_chance, 0), dict.fromkeys(at_chance, 0)
    for row in records(sizes.set_index("task").reindex(list(view.tasks)).reset_index()):
        task = row["task"]
        own = {name: scored.get(task, np.nan) for name, scored in bases.items()}
        own |= {method: scores.get((task, method), np.nan) for method in view.methods}
        cells = []
        for name, value in own.items():
            flag = _at_chance(value, row)
            known[name] += int(np.isfinite(value))
            below[name] += int(value <= own["zero-shot"])
            if flag:
                at_chance[name].append(str(task))
            cells.append(_points(value) + (" (at chance)" if flag else ""))
        rows.append(
            [
                str(task),
                _count(row["classes"]),
                _count(images.get(task, np.nan)),
                _count(row["test"]),
                _points(row["chance"]),
                *cells,
                best.get(task, "none"),
            ]
        )
    return Overview(heads, len(heads) - 1, rows, _flags(view, at_chance, known, below))


def _flags(
    view: View, at_chance: dict[str, list[str]], known: dict[str, int], below: dict[str, int]
) -> list[str]:
    said = []
    for method in view.methods:
        lost, count = at_chance[method], known[method]
        if not count:
            said.append(f"{method}: no run from scratch has a score.")
        elif 2 * len(lost) > count:
            said.append(
                f"{method} did not learn: from scratch it is at chance in {len(lost)} of {count} tasks, so "
                "that its gains say nothing of transfer between tasks that were learned."
            )
        elif below[method] * 2 > count:
            said.append(
                f"{method} did not learn: from scratch it does not pass zero-shot in "
                f"{below[method]} of {count} tasks."
            )
        elif lost:
            said.append(f"{method} from scratch is at chance in {', '.join(lost)}.")
    if at_chance["zero-shot"]:
        said.append(f"Zero-shot is at chance in {', '.join(at_chance['zero-shot'])}.")
    return said


def _at_chance(score: float, row: Row) -> bool:
    """Whether a guess would score as much: within two standard errors of chance, or below it."""
    chance, count = row["chance"], row["test"]
    if not (np.isfinite(score) and np.isfinite(chance)):
        return False
    return bool(score <= chance + 2 * np.sqrt(chance * (1 - chance) / count))


def _best(view: View, gains: pd.DataFrame) -> dict[str, str]:
    """The source, and the method, whose prompt leads to the highest score on each target, and how many others
    lead to the same."""
    every = [transfers(gains, method, view.givers) for method in view.methods]
    top = pd.concat(every).sort_values("score", ascending=False, kind="stable")
    highest = top["score"] >= top.groupby("target")["score"].transform("max") - 1e-9
    alike = top[highest].groupby("target").size()
    found = {}
    for row in records(top.drop_duplicates("target")):
        others = int(alike.get(row["target"], 1)) - 1
        more = f" (and {others} as good)" if others else ""
        found[row["target"]] = f"{row['source']}, {row['method']}: {_points(row['score'])}{more}"
    return found


def _points(score: float) -> str:
    return signed(100 * score) if np.isfinite(score) else "none"


def _count(number: float) -> str:
    return f"{number:,.0f}" if np.isfinite(number) else "unknown"
