"""What a comparison of two matrices of gains says, as sentences that end where their intervals do."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..stats.multiplicity import ALPHA
from ..view import View
from ..vocabulary import signed
from .words import Frames, Row, interval, p_value, records

_NOTE = (
    "Correlation over pairs of two tasks, with 95% interval (jackknife over tasks in both roles, since pairs "
    "share sources and targets) and p (permutations of tasks, not corrected for the number of rows). Beyond "
    "sources and targets: what is left of both without the mean of each source and target. Best source kept: "
    "share of targets for which both have the same best source. Two methods share their few-shot samples and "
    "test images."
)


def do_methods_agree(view: View, tables: Frames) -> list[str]:
    """A sentence for every two methods of a study."""
    return [sentences(own)[0] for own in _every_two(view, tables)]


def methods_beside(view: View, tables: Frames) -> dict[str, Any] | None:
    """The table of every two methods: title, header, rows, note; None where no two were compared."""
    rows = []
    for own in _every_two(view, tables):
        a, b = own[["a", "b"]].iloc[0]
        of = {(row["a"], row["measure"]): row for row in records(own)}
        rows.append([a, b, *(_tested(of[a, what]) for what in ("raw", "rank", "residual"))])
        kept = of[a, "best_kept"]
        span = interval(100 * kept["low"], 100 * kept["high"], 0)
        rows[-1].append(f"{100 * kept['value']:.0f}%{span}" if np.isfinite(kept["value"]) else "")
    if not rows:
        return None
    heads = ["gains", "ranks of gains", "gains beyond sources and targets", "best source kept"]
    return {
        "title": "How far do the methods agree?",
        "header": [view.wording.heads_name, "and", *heads],
        "rows": rows,
        "note": _NOTE,
    }


def _every_two(view: View, tables: Frames) -> list[pd.DataFrame]:
    """The rows of `method_agreement` of every two methods, in the order of the methods."""
    table = tables["method_agreement"]
    found = [
        table[table["a"].isin(two) & table["b"].isin(two)] for two in combinations(view.methods, 2)
    ]
    return [own for own in found if len(own)]


def _tested(row: Row) -> str:
    if not np.isfinite(row["value"]):
        return "undefined"
    return f"{signed(row['value'], 2)}{interval(row['low'], row['high'], 2)} ({p_value(row['p'])})"


def sentences(table: pd.DataFrame) -> list[str]:
    """Of one comparison (`gains.between.COMPARE_COLUMNS`): how far the two agree, then each direction."""
    rows = records(table)
    found = {(row["a"], row["b"], row["measure"]): row for row in rows}
    a, b = rows[0]["a"], rows[0]["b"]
    raw, left = found[a, b, "raw"], found[a, b, "residual"]
    text = f"{a} and {b}: gains of the same pairs correlate by {_coefficient(raw)}; "
    text += f"without what each source and each target brings, by {_coefficient(left)}"
    if not left["p"] <= ALPHA:
        text += ", so that nothing is told of pairs as such."
    else:
        agrees = "the pairs themselves agree"
        if left["value"] < 0:
            agrees = "pairs that gain in one lose in the other"
        text += f", so that {agrees}"
        held = left["low"] > 0 or left["high"] < 0
        text += (
            "."
            if held
            else ", among these tasks: the interval, which is for others like them, holds 0."
        )
    out = [text]
    for one, other in ((a, b), (b, a)):
        kept, regret = found[one, other, "best_kept"], found[one, other, "regret"]
        targets = f"{kept['n']:.0f} targets"
        text = f"The best source by {one} is the best by {other} for {100 * kept['value']:.0f}% of {targets}"
        span = interval(100 * regret["low"], 100 * regret["high"])
        text += f"; taking it costs {100 * regret['value']:.1f}{span} points there"
        same = found.get((one, other, "replicated"))
        if same is not None and np.isfinite(same["value"]):
            opposite = found[one, other, "opposite"]
            text += (
                f". Of the {same['n']:.0f} pairs with q \u2264 {ALPHA} by {one}, {100 * same['value']:.0f}% "
                f"have it by {other} with the same sign, {100 * opposite['value']:.0f}% with the opposite"
            )
        out.append(text + ".")
    return out


def _coefficient(row: Row) -> str:
    span = interval(row["low"], row["high"], 2)
    return f"{signed(row['value'], 2)}{span} (p = {row['p']:.2g})"
