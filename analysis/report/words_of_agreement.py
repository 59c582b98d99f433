"""What a comparison of two matrices of gains says, as sentences that end where their intervals do."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..stats.multiplicity import ALPHA
from ..vocabulary import signed
from .words import Row, interval, records


def sentences(table: pd.DataFrame) -> list[str]:
    """Of one comparison (`compare.COMPARE_COLUMNS`): how far the two agree, then each direction."""
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
