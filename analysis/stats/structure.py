"""Tests and intervals where tasks come in families and act as senders and receivers.

A test that permutes tasks freely takes them for exchangeable. Where gains and similarities have blocks
of the same families it counts a few families as many tasks, and rejects too often; permutations that
keep families together, or stay within them, do not. Shapes: T tasks, P permutations; labels [T] name
each task's family, "" for a task that is a family of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from ..read.pairs import off_diagonal


def blocks(labels: Sequence[object]) -> np.ndarray:
    """Numbers [T] of families from their names; a task without a name is alone."""
    names = [str(label) or f"\0{place}" for place, label in enumerate(labels)]
    _, number = np.unique(names, return_inverse=True)
    return number


def family_permutations(family: np.ndarray, count: int, seed: int, whole: bool) -> np.ndarray:
    """Permutations [count, T] of tasks within the families of `family` [T], and with `whole` of the
    families themselves: one takes the place of another of its size."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(family == f) for f in np.unique(family)]
    result = np.empty((count, len(family)), np.int64)
    for size in {len(m) for m in members}:
        some = np.array([m for m in members if len(m) == size])  # [families of this size, size]
        order = np.tile(np.arange(len(some)), (count, 1))
        taken = some[rng.permuted(order, axis=1) if whole else order]  # [count, families, size]
        result[:, some] = rng.permuted(taken, axis=2)
    return result


def residual(matrix: np.ndarray, family: np.ndarray | None = None) -> np.ndarray:
    """The matrix [T, T] without the least-squares effects of its sources and its targets and, given
    `family` [T], of each block of source's and target's family; NaN where it is undefined.

    What is left is a matter of pairs (and of pairs within a block).
    """
    values = off_diagonal(matrix)
    known = ~np.isnan(values)
    rows, columns = np.nonzero(known)
    parts = [_indicators(rows), _indicators(columns)]
    if family is not None:
        parts.append(_indicators(family[rows] * (int(family.max()) + 1) + family[columns]))
    values[known] -= _fitted(np.hstack(parts), values[known])
    # What is rounding of zero is zero: else its ranks and its correlation would be of rounding.
    scale = np.nanmax(np.abs(matrix), initial=0.0)
    return np.where(np.abs(values) <= 1e-9 * scale, 0.0, values)


def within_share(matrix: np.ndarray, family: np.ndarray) -> float:
    """Share of the variance of the off-diagonal cells that lies within blocks of families."""
    values = off_diagonal(matrix)
    known = ~np.isnan(values)
    rows, columns = np.nonzero(known)
    block = _indicators(family[rows] * (int(family.max()) + 1) + family[columns])
    cells = values[known]
    total = ((cells - cells.mean()) ** 2).sum() if len(cells) else 0.0
    if not total > 0:
        return np.nan
    return float(((cells - _fitted(block, cells)) ** 2).sum() / total)


def _indicators(codes: np.ndarray) -> np.ndarray:
    """A column [n] of 0 and 1 for each distinct code."""
    return (codes[:, None] == np.unique(codes)).astype(float)


def _fitted(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The least-squares fit of values [n] on a design [n, q] of any rank."""
    return design @ np.linalg.lstsq(design, values, rcond=None)[0]


def left_out(units: np.ndarray) -> np.ndarray:
    """Weights [units, T] of tasks, each row without the tasks of one of the `units` [T]."""
    return (units != np.unique(units)[:, None]).astype(float)


def jackknife_error(without: np.ndarray) -> tuple[float, float]:
    """Standard error and degrees of freedom of a statistic from its values [units] without one unit each.

    se^2 = (n - 1) / n * the sum of squares about their mean (Efron and Stein 1981). Where a unit is a
    task in both roles it holds the effects of senders and receivers; where there are none it is up to
    sqrt(2) too wide, for a cell then counts with both its tasks. NaN with fewer than 2 values, or where
    more than one is undefined.
    """
    defined = without[~np.isnan(without)]
    n = len(defined)
    if n < max(2, len(without) - 1):
        return np.nan, np.nan
    return float(np.sqrt((n - 1) / n * ((defined - defined.mean()) ** 2).sum())), n - 1


def jackknife(value: float, without: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of a statistic from its values without one unit each (`jackknife_error`)."""
    se, df = jackknife_error(without)
    half = stats.t.ppf(0.5 + level / 2, df) * se
    return float(value - half), float(value + half)


def jackknife_p(value: float, without: np.ndarray) -> float:
    """Two-sided p of a statistic that is 0 where nothing is, by the same t; 1 for exactly 0."""
    se, df = jackknife_error(without)
    if np.isnan(se):
        return np.nan
    if se <= 1e-12 * abs(value) or value == 0:
        return 0.0 if value else 1.0
    return float(2 * stats.t.sf(abs(value) / se, df))


def mean_without(matrix: np.ndarray, chosen: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """Mean over targets of the mean of their off-diagonal cells, or of those that are `chosen` [T, T],
    and the same [T] without each task in both its roles."""
    values = off_diagonal(matrix)
    if chosen is not None:
        values = np.where(chosen, values, np.nan)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    keep = left_out(np.arange(len(values)))
    weight = np.vstack([np.ones(len(values)), keep])  # [1 + T, T]
    total, count = weight @ filled, weight @ known
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    used = weight * ~np.isnan(means)
    n = used.sum(1)
    result = np.divide(
        (used * np.nan_to_num(means)).sum(1), n, out=np.full(len(n), np.nan), where=n > 0
    )
    return float(result[0]), result[1:]
