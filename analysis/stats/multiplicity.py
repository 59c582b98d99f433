"""Corrections of p-values for the number of tests; NaN p-values are not tests and stay NaN."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

ALPHA = 0.05  # the rate of false discoveries that is accepted


def significant(q: Any) -> Any:
    """Whether q (a number, an array or a column) is at most `ALPHA`; NaN is not."""
    return q <= ALPHA


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values (q) that control the false discovery rate; same shape as `p`.

    q_(i) = min over j >= i of p_(j) m / j. Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57;
    valid under independence and positive dependence (Benjamini and Yekutieli 2001).
    """
    values = np.asarray(p, dtype=float)
    result = np.full(values.shape, np.nan)
    tested = ~np.isnan(values)
    if tested.any():
        result[tested] = stats.false_discovery_control(values[tested])
    return result
