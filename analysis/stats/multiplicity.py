"""Corrections of p-values for the number of tests; NaN p-values are not tests and stay NaN."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

ALPHA = 0.05  # the rate of false discoveries that is accepted


def significant(q: Any) -> Any:
    """Whether q (a number, an array or a column) is at most `ALPHA`; NaN is not."""
    return q <= ALPHA


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values (q) that control the false discovery rate; same shape as `p`.

    q_(i) = min over j >= i of p_(j) m / j. Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57;
    valid under independence and positive dependence (Benjamini and Yekutieli 2001).
    """
    return _adjust(p, step_up=True)


def holm(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values that control the chance of any false discovery; same shape as `p`.

    p_(i) -> max over j <= i of p_(j) (m - j + 1). Holm 1979, Scand. J. Statist. 6.
    """
    return _adjust(p, step_up=False)


def _adjust(p: ArrayLike, step_up: bool) -> np.ndarray:
    values = np.asarray(p, dtype=float)
    result = np.full(values.shape, np.nan)
    tested = ~np.isnan(values)
    given = values[tested]
    m = len(given)
    order = np.argsort(given, kind="stable")
    rank = np.arange(1, m + 1)
    if step_up:
        adjusted = np.minimum.accumulate((given[order] * m / rank)[::-1])[::-1]
    else:
        adjusted = np.maximum.accumulate(given[order] * (m - rank + 1))
    back = np.empty(m)
    back[order] = np.minimum(adjusted, 1.0)
    result[tested] = back
    return result
