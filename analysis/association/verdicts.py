"""What can be said of each correlation beside a margin: gain grows or falls with the similarity, is
unconnected with it within the margin, or nothing yet."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ..stats.multiplicity import ALPHA

MARGIN = 0.1  # of a correlation
GROWS, FALLS, EQUAL, UNCLEAR = "grows", "falls", "equal", "unclear"
VERDICT_COLUMNS = ("verdict", "margin", "told")
POWER = 0.8


def with_verdicts(table: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """The table, with value, low, high (95 %) and q, and `VERDICT_COLUMNS`.

    equal: the 90 % interval lies inside -margin..margin, two one-sided tests at 5 % (Schuirmann 1987); else
    grows or falls where q is at most 5 %; else unclear, which is no evidence that there is no link; "" where
    there is no value. A correlation that is certain to be within the margin is equal, for it does not matter.
    told: the size of a correlation that a design like this one tells from 0, by itself at 5 %, in four of
    five studies. The 90 % interval and `told` take Fisher's z as normal, with the spread of the 95 %
    interval.
    """
    with np.errstate(divide="ignore"):  # ends of -1 and 1: nothing is known
        low, high = (np.arctanh(table[side].to_numpy(float)) for side in ("low", "high"))
    with np.errstate(invalid="ignore"):
        error = (high - low) / (2 * stats.norm.ppf(1 - ALPHA / 2))
    value = table["value"].to_numpy(float)
    known = np.isfinite(value) & ~np.isnan(error)
    z = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    inside = np.abs(z) + stats.norm.ppf(1 - ALPHA) * error <= np.arctanh(margin)
    found = table["q"].to_numpy(float) <= ALPHA
    conditions = [~known, inside, found & (value > 0), found & (value < 0)]
    verdict = np.select(conditions, ["", EQUAL, GROWS, FALLS], default=UNCLEAR)
    enough = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
    told = np.where(known, np.tanh(enough * error), np.nan)
    return table.assign(verdict=verdict, margin=margin, told=told)


def cannot_say(verdict: str, margin: float, told: float) -> str:
    """What a row of `with_verdicts` that establishes no link lets one say, to follow its correlation; "" for
    other rows."""
    if verdict == EQUAL:
        return f"equal to 0 within a margin of {margin:g}"
    if verdict == UNCLEAR and np.isfinite(told):
        return f"unclear: could have told {told:.2f}"
    return ""
