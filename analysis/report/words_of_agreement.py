"""What a comparison of two matrices of gains says, as sentences that end where their intervals do."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..stats.agree import ORDER
from ..stats.multiplicity import ALPHA
from ..view import View
from ..vocabulary import signed
from .words import Frames, Row, interval, p_value, records

# Of gains by table: how many to one unit of it, and their name.
Units = Mapping[str, tuple[float, str]]
POINTS = (100.0, "points")

_NOTE = (
    "Correlation over pairs of two tasks, with 95% interval (jackknife over tasks in both roles, since pairs "
    "share sources and targets) and p (permutations of tasks, not corrected for the number of rows). Beyond "
    "sources and targets: what is left of both without the mean of each source and target. Best source kept: "
    "share of targets for which both have the same best source."
)
_SHARED = " Two methods share their few-shot samples and test images."
_SHOWN = {
    "raw": "gains",
    "rank": "ranks of gains",
    "residual": "gains beyond sources and targets",
    ORDER: "order of a target's sources",
}


def do_they_agree(view: View, tables: Frames) -> list[str]:
    """Of every two methods (or tables by others): all that `sentences` says where there are but two, else
    its first sentence; the rest is in `methods_beside`."""
    units = dict.fromkeys(view.methods, (view.wording.scale, view.wording.unit))
    said = [sentences(own, units) for own in _every_two(view, tables)]
    return said[0] if len(said) == 1 else [of[0] for of in said]


def methods_beside(view: View, tables: Frames) -> dict[str, Any] | None:
    """The table of every two methods: title, header, rows, note; None where no two were compared."""
    rows = []
    for own in _every_two(view, tables):
        a, b = own[["a", "b"]].iloc[0]
        of = {(row["a"], row["measure"]): row for row in records(own)}
        rows.append([a, b, *(_tested(of.get((a, what))) for what in _SHOWN)])
        rows[-1].append(_share(of.get((a, "best_kept"))))
    if not rows:
        return None
    heads = view.wording.heads_name
    return {
        "title": f"How far do the {heads}s agree?",
        "header": [heads, "and", *_SHOWN.values(), "best source kept"],
        "rows": rows,
        "note": _NOTE + _SHARED * bool(view.wording.baseline),
    }


def _every_two(view: View, tables: Frames) -> list[pd.DataFrame]:
    """The rows of `agreement` of every two methods, in the order of the methods."""
    table = tables["agreement"]
    found = [
        table[table["a"].isin(two) & table["b"].isin(two)] for two in combinations(view.methods, 2)
    ]
    return [own for own in found if len(own)]


def _share(row: Row | None) -> str:
    if row is None or not np.isfinite(row["value"]):
        return ""
    return f"{100 * row['value']:.0f}%{interval(100 * row['low'], 100 * row['high'], 0)}"


def _tested(row: Row | None) -> str:
    if row is None:
        return ""
    if not np.isfinite(row["value"]):
        return "undefined"
    return f"{signed(row['value'], 2)}{interval(row['low'], row['high'], 2)} ({p_value(row['p'])})"


def sentences(table: pd.DataFrame, units: Units) -> list[str]:
    """Of one comparison (`gains.agreement.AGREEMENT_COLUMNS`): how far the two agree, then each direction."""
    rows = records(table)
    found = {(row["a"], row["b"], row["measure"]): row for row in rows}
    a, b = rows[0]["a"], rows[0]["b"]
    order = _order(found[a, b, ORDER])
    known = [found[a, b, name]["value"] for name in ("raw", "residual") if (a, b, name) in found]
    alone = not known or not np.isfinite(known).all()
    return [order] if alone else [*_pairs(found, a, b, units), order]


def _order(row: Row) -> str:
    both = f"{row['a']} and {row['b']}"
    if not np.isfinite(row["value"]):
        return (
            f"{both} share too few pairs, or gains that do not vary, to tell whether they agree on the "
            "order of a target's sources."
        )
    return (
        f"{both} order a target's sources to a Spearman correlation of {_coefficient(row)}, mean over "
        f"{row['n']:.0f} targets."
    )


def _pairs(found: dict[tuple[str, str, str], Row], a: str, b: str, units: Units) -> list[str]:
    """Of two that have tasks in common: whether their pairs agree, and what each says of the other."""
    raw, left = found[a, b, "raw"], found[a, b, "residual"]
    text = f"{a} and {b}: gains of the same {raw['n']:.0f} pairs correlate by {_coefficient(raw)}; "
    text += f"without what each source and each target brings, by {_coefficient(left)}"
    if not left["p"] <= ALPHA:
        text += ", so that nothing is told of pairs as such."
    else:
        agrees = "the pairs themselves agree"
        if left["value"] < 0:
            agrees = "pairs that gain more than their source and target tell in one gain less in the other"
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
        scale, unit = units.get(other, POINTS)
        targets = f"{kept['n']:.0f} targets"
        text = f"The best source by {one} is the best by {other} for {100 * kept['value']:.0f}% of {targets}"
        span = interval(scale * regret["low"], scale * regret["high"])
        text += f"; taking it costs {scale * regret['value']:.1f}{span} {unit} there"
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
    tested = f" (p = {row['p']:.2g})" if np.isfinite(row["p"]) else ""
    return f"{signed(row['value'], 2)}{interval(row['low'], row['high'], 2)}{tested}"
