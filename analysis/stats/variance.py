"""Variances of few replicates, each moderated by those of the other pairs.

With three seeds a pair's own variance has two degrees of freedom, and Student's t needs 4.3
standard errors. Hundreds of pairs together tell which variances occur, so each pair's variance is
drawn towards that, as far as they agree (Smyth 2004, Statistical Applications in Genetics and
Molecular Biology 3, article 3): variances are taken as d0 s0^2 / chi^2(d0), and the posterior
(d0 s0^2 + d s^2) / (d0 + d) has d0 + d degrees of freedom.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma, stdtr, stdtrit

MIN_PAIRS = 10  # with fewer variances the prior is a guess: they stay as they are
LARGEST = 1e6  # prior degrees of freedom that stand for one variance common to all


def moderated(variance: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior variances [n] and their degrees of freedom [n] of sample `variance` [n] with `df`
    [n] degrees of freedom each; NaN where df is below 1 or the variance is NaN.

    The prior is fitted to log variances by moments (Smyth 2004, section 6.2), zero variances
    counted as 1e-5 of the median. Degrees of freedom are at most those of all pairs together.
    """
    usable = np.isfinite(variance) & (df >= 1)
    total = np.where(usable, df, np.nan).astype(float)
    result = np.where(usable, variance, np.nan)
    if usable.sum() < MIN_PAIRS or not np.median(variance[usable]) > 0:
        return result, total
    prior, strength = fit_prior(variance[usable], df[usable])
    mixed = (strength * prior + total * result) / (strength + total)
    return mixed, np.minimum(total + strength, np.nansum(total))


def moderated_by_group(
    variance: np.ndarray, df: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `moderated`, for variances [n] whose size depends on their `group` [n] (a pair's target).

    A group's mean variance is moderated by those of the other groups, and each variance over that of
    its group by the other ratios: a noisy target is not drawn to the quiet ones. No variance has more
    degrees of freedom than its group. With fewer than `MIN_PAIRS` groups they are taken as one.
    """
    usable = np.isfinite(variance) & (df >= 1)
    _, number = np.unique(group, return_inverse=True)
    own = np.where(usable, df, 0.0)
    total = np.bincount(number, own)
    count = np.maximum(total, 1)
    level = np.bincount(number, own * np.where(usable, variance, 0.0)) / count
    if (total > 0).sum() < MIN_PAIRS or not np.median(level[total > 0]) > 0:
        return moderated(variance, df)
    level, strength = moderated(np.where(total > 0, level, np.nan), total)
    size = level[number]
    ratio, found = moderated(
        np.divide(variance, size, out=np.full(len(size), np.nan), where=size > 0), df
    )
    return ratio * size, np.minimum(found, strength[number])


def fit_prior(variance: np.ndarray, df: np.ndarray) -> tuple[float, float]:
    """Prior variance s0^2 and degrees of freedom d0 of sample variances [n] with `df` [n]."""
    logs = np.log(np.maximum(variance, 1e-5 * np.median(variance)))
    logs = logs - digamma(df / 2) + np.log(df / 2)
    # What sampling alone does not explain of the spread of the logs is the prior's.
    excess = logs.var(ddof=1) - polygamma(1, df / 2).mean()
    strength = LARGEST
    if excess > polygamma(1, LARGEST / 2):
        strength = float(brentq(lambda d: polygamma(1, d / 2) - excess, 1e-3, LARGEST))
    return float(np.exp(logs.mean() + digamma(strength / 2) - np.log(strength / 2))), strength


def mean_interval(
    values: np.ndarray, level: float = 0.95, widened: float = 1.0
) -> tuple[float, float, float, float]:
    """Mean, low, high and p (mean 0) of defined values by Student's t; NaN where undefined. The standard
    error is `widened` where values are not independent."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        mean = float(values[0]) if len(values) else np.nan
        return mean, np.nan, np.nan, np.nan
    mean = float(values.mean())
    if np.ptp(values) <= 1e-12 * max(1.0, abs(mean)):  # no spread but rounding
        return mean, mean, mean, 1.0 if mean == 0 else 0.0
    # scipy.stats.ttest_1samp in the functions behind it: thousands of means are tested.
    error = widened * float(values.std(ddof=1)) / np.sqrt(len(values))
    return _by_t(mean, error, len(values) - 1, level)


def mean_intervals(
    samples: Sequence[np.ndarray], level: float = 0.95
) -> list[tuple[float, float, float, float]]:
    """As `mean_interval`, of samples whose variances are moderated by one another."""
    samples = [np.asarray(values, float)[~np.isnan(values)] for values in samples]
    counts = np.array([len(values) for values in samples])
    own = [values.var(ddof=1) if len(values) > 1 else np.nan for values in samples]
    variance, df = moderated(np.array(own), counts - 1)
    return [
        mean_interval(values, level)  # nothing, one value, or no spread in any sample
        if not v > 0
        else _by_t(float(values.mean()), float(np.sqrt(v / len(values))), d, level)
        for values, v, d in zip(samples, variance, df, strict=True)
    ]


def _by_t(mean: float, error: float, df: float, level: float) -> tuple[float, float, float, float]:
    half = float(stdtrit(df, 0.5 + level / 2)) * error
    return mean, mean - half, mean + half, float(2 * stdtr(df, -abs(mean) / error))
