"""Where the variance of a source x target matrix lies: the social relations model.

gain[s, t] = mean + source[s] + target[t] + pair[s, t], where what a task gives and takes may correlate,
and so may the two directions of a pair (Warner, Kenny and Stoto 1979, Journal of Personality and
Social Psychology 37, 1742-1757). With several seeds each of the three has a part that repeats and one
that is the seed's.

Two cells that share nothing have expected product mean^2; sharing the source adds the variance of
sources, and so on for a shared target, the opposite direction, a source that is the other's target and
the cell itself. So each component is a difference of mean products, unbiased whichever cells are
missing at random. Without missing cells these are Warner, Kenny and Stoto's estimators from sums of
squares: both are the unbiased quadratic form that no renaming of tasks changes, and there is but one.
Products of cells of two seeds hold nothing of what a seed adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .structure import jackknife

MIN_TASKS = 4  # two cells that share no task
SHARES = ("source", "target", "pair")
SEED_SHARES = ("seed_source", "seed_target", "seed_pair")
CORRELATIONS = ("reciprocity", "giving_receiving")
COMPONENTS = (*SHARES, *SEED_SHARES, *CORRELATIONS)
# Rows of `_moments`: what two cells share.
_SAME, _OPPOSITE, _SOURCE, _TARGET, _CHAIN, _NOTHING = range(6)


@dataclass(frozen=True)
class Estimate:
    """A component (one of `COMPONENTS`): its share of the variance of one seed's gains, or a
    correlation, with an interval; its `variance` in squared units of the gains (NaN for a
    correlation); `reason`: why something is missing, or ""."""

    component: str
    variance: float
    value: float
    low: float
    high: float
    reason: str = ""


def variance_split(gains: np.ndarray, level: float = 0.95) -> list[Estimate]:
    """The components of `gains` [K, T, T], K seeds, rows sources, NaN where there is none; the diagonal
    is not looked at.

    Shares add up to 1 and are not cut at 0, so that they are unbiased. With one seed `SEED_SHARES`
    are left out: they lie in the others. Intervals are t intervals of a jackknife that leaves out
    one task in both roles; they take five tasks. O(K T^3).
    """
    gains = np.array(gains, dtype=float)
    tasks = gains.shape[1]
    gains[:, np.arange(tasks), np.arange(tasks)] = np.nan
    used = np.isfinite(gains).any(axis=(0, 2)) | np.isfinite(gains).any(axis=(0, 1))
    gains = gains[:, used][:, :, used]
    several = bool((np.isfinite(gains).sum(0) > 1).any())
    names = (*SHARES, *(SEED_SHARES if several else ()), *CORRELATIONS)
    if len(gains[0]) < MIN_TASKS:
        why = f"fewer than {MIN_TASKS} tasks have gains"
        return [_unknown(name, np.nan, why) for name in names]
    variances, values = _components(_with_left_out(gains), several)
    return [_estimate(name, variances.get(name), values[name], variances, level) for name in names]


def _with_left_out(gains: np.ndarray) -> np.ndarray:
    """[K, 1 + T, T, T]: the matrices, and with each task left out as source and target."""
    tasks = gains.shape[1]
    stack = np.repeat(gains[:, None], 1 + tasks, axis=1)
    for task in range(tasks):
        stack[:, 1 + task, task] = stack[:, 1 + task, :, task] = np.nan
    return stack


def _components(
    stack: np.ndarray, several: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Variances, and shares with correlations, [B] each, of matrices [K, B, T, T]."""
    within, repeated = covariances(stack, several)
    # Of one seed's gains: the variance of a cell, whatever it is made of.
    total = within["source"] + within["target"] + within["pair"]
    variances = {name: repeated[name] for name in SHARES}
    if several:
        variances |= {f"seed_{name}": within[name] - repeated[name] for name in SHARES}
    values = {name: _ratio(variance, total) for name, variance in variances.items()}
    values["reciprocity"] = _ratio(repeated["opposite"], repeated["pair"])
    product = np.maximum(repeated["source"], 0) * np.maximum(repeated["target"], 0)
    values["giving_receiving"] = _ratio(repeated["both"], np.sqrt(product))
    return variances, values


def covariances(
    stack: np.ndarray, several: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of one seed's gains, and of what repeats over seeds (the same, unless there are `several`): the
    variances of source, target and pair, the covariance of source and target (`both`) and that of the
    two directions of a pair (`opposite`), [B] each, of matrices [K, B, T, T]."""
    known = np.isfinite(stack)
    count = np.maximum(known.sum((2, 3), keepdims=True), 1)
    filled = np.where(known, stack, 0.0)
    # A constant changes nothing but, with missing cells, the precision.
    filled = np.where(known, filled - filled.sum((2, 3), keepdims=True) / count, 0.0)
    weight = known.astype(float)
    sums = np.sum([_products(y) for y in filled], axis=0)
    pairs = np.sum([_products(o) for o in weight], axis=0)
    within = _covariances(_mean(sums, pairs))
    if not several:
        return within, within
    between = _products(filled.sum(0)) - sums
    return within, _covariances(_mean(between, _products(weight.sum(0)) - pairs))


def _products(y: np.ndarray) -> np.ndarray:
    """Sums [6, B] of the products of any two cells of matrices y [B, T, T], by what they share."""
    rows, columns = y.sum(2), y.sum(1)
    same = (y * y).sum((1, 2))
    opposite = (y * y.transpose(0, 2, 1)).sum((1, 2))
    source = (rows * rows).sum(1) - same
    target = (columns * columns).sum(1) - same
    chain = 2 * ((rows * columns).sum(1) - opposite)
    rest = rows.sum(1) ** 2 - same - opposite - source - target - chain
    return np.stack([same, opposite, source, target, chain, rest])


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean products [6, B]; NaN where no two cells share just this."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0.5)


def _covariances(moments: np.ndarray) -> dict[str, np.ndarray]:
    """What `covariances` gives, [B] each, from mean products [6, B]."""
    above = moments - moments[_NOTHING]
    return {
        "source": above[_SOURCE],
        "target": above[_TARGET],
        "pair": above[_SAME] - above[_SOURCE] - above[_TARGET],
        "both": above[_CHAIN],
        "opposite": above[_OPPOSITE] - 2 * above[_CHAIN],
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 1e-300)


def _estimate(
    name: str,
    variance: np.ndarray | None,
    values: np.ndarray,
    variances: dict[str, np.ndarray],
    level: float,
) -> Estimate:
    """The estimate of a component from its values [1 + T], the first of all tasks."""
    size = np.nan if variance is None else float(variance[0])
    if name in CORRELATIONS:
        of = ("pair",) if name == "reciprocity" else ("source", "target")
        unsure = [
            part
            for part in of
            if not jackknife(variances[part][0], variances[part][1:], level)[0] > 0
        ]
        if unsure:
            why = f"the variance of {' and '.join(unsure)} is not told from 0"
            return _unknown(name, size, why)
    if not np.isfinite(values[0]):
        return _unknown(name, size, "gains do not vary, or too few are known")
    low, high = jackknife(values[0], values[1:], level)
    bound = 1.0 if name in CORRELATIONS else np.inf
    why = "" if np.isfinite(low) else "an interval takes 5 tasks whose gains vary"
    return Estimate(name, size, float(values[0]), max(low, -bound), min(high, bound), why)


def _unknown(name: str, variance: float, reason: str) -> Estimate:
    return Estimate(name, variance, np.nan, np.nan, np.nan, reason)
