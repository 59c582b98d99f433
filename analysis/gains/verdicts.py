"""What can be said of each pair beside a margin: a gain, a loss, equal, or nothing yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..stats.multiplicity import ALPHA
from ..stats.power import smallest_effect
from ..vocabulary import REPLICATES

MARGIN = 0.01  # score units: a point
GAIN, LOSS, EQUAL, UNCLEAR = "gain", "loss", "equal", "unclear"
SEEDS_UNKNOWN = "seeds unknown"
OVER_SEEDS = ("seeds", REPLICATES)  # intervals that hold the noise of seeds

Numbers = float | np.ndarray


def verdicts(gains: pd.DataFrame, margin: float) -> np.ndarray:
    """A word for each row [n] of a gains table with gain, se, df, q and interval.

    equal: `equal_within` the margin; else gain or loss where q is at most 5 %; else unclear, which is no
    evidence of equality. A small gain that is certain is equal, for it does not matter. With one seed and
    no replicates all that is known is the noise of test images: "seeds unknown". "" without an interval.
    """
    gain, error, df = (gains[name].to_numpy(float) for name in ("gain", "se", "df"))
    inside = equal_within(gain, error, df, margin)
    found = gains["q"].to_numpy(float) <= ALPHA
    over_seeds = gains["interval"].isin(OVER_SEEDS).to_numpy()
    conditions = [
        np.isnan(gain) | (gains["interval"].to_numpy() == "none"),
        ~over_seeds,
        inside,
        found & (gain > 0),
        found & (gain < 0),
    ]
    return np.select(conditions, ["", SEEDS_UNKNOWN, EQUAL, GAIN, LOSS], default=UNCLEAR)


def equal_within(value: Numbers, error: Numbers, df: Numbers, margin: float) -> Any:
    """Whether values with standard errors and t of `df` are 0 within `margin`: the 90 % interval lies inside
    -margin..margin, which is two one-sided tests at 5 % (Schuirmann 1987)."""
    return np.abs(value) + stats.t.ppf(1 - ALPHA, df) * error <= margin


def smallest_told(pairs: pd.DataFrame) -> float:
    """The gain that half of these pairs would have told from 0, each by itself at 5 % with a power of
    80 %, by their own `se` and `df`; NaN where there are none."""
    known = pairs[["se", "df"]].dropna().to_numpy(float)
    if not len(known):
        return np.nan
    # One solution for each number of degrees of freedom: they scale with the standard error.
    sizes = {df: smallest_effect(1.0, float(df)) for df in np.unique(known[:, 1])}
    return float(np.median([se * sizes[df] for se, df in known]))
