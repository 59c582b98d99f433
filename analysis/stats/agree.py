"""How far two source x target matrices agree: cell by cell, beyond sources and targets, and in what they
recommend.

Two matrices may agree because the same tasks are good sources, or hard targets, or because the same *pairs*
work. The additive part (a mean, a source's and a target's effect, by least squares over the cells known in
both) tells the two apart: what is left of each matrix has pairs alone. Intervals are for other tasks like
these: they leave out one task at a time in both roles (jackknife), since cells that share a task are not
independent. Where tasks have no effects they are too wide (they hold the truth in 99 % of simulated
studies of 8 tasks). p-values ask whether these tasks' pairs agree: they permute tasks, rows and columns
together (level 5 to 6 % at 5 % in the same studies). The diagonal is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..read.pairs import off_diagonal
from .correlation import coefficient, group_values, p_values
from .structure import jackknife, residual
from .variance import mean_interval

MIN_TASKS = 4
ORDER = "rank_per_target"
_BOUND = 1 - 1e-12  # of correlations, before their z


@dataclass(frozen=True)
class Agreement:
    """One measure of agreement: its value with a 95 % interval, and p where it is tested; `n`: what it is
    of (cells, targets or established pairs)."""

    measure: str
    value: float
    low: float
    high: float
    p: float
    n: int


def symmetric(x: np.ndarray, y: np.ndarray, permuted: np.ndarray) -> list[Agreement]:
    """Correlations of x and y [T, T]: `raw` and `rank` (Pearson, Spearman) of all cells, `residual` (Pearson)
    beyond sources and targets, `rank_per_target` (`ordered`); `permuted` [P, T] are orders of the tasks for
    the tests."""
    x, y = _common(x, y)

    def raw(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x, y

    def left(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return residual(x), residual(y)

    found = []
    for name, statistic, scope, part in (
        ("raw", "pearson", "pooled", raw),
        ("rank", "spearman", "pooled", raw),
        ("residual", "pearson", "pooled", left),
        (ORDER, "spearman", "per_target", raw),
    ):
        parts = [part(a, b) for a, b in _with_left_out(x, y)]
        values = [group_values(a, b, scope, statistic) for a, b in parts]
        means = np.array([_mean(some) for some in values])
        one, other = parts[0]
        p = float(p_values(one[None], other[None], permuted, scope, statistic)[0, 0])
        z = np.arctanh(np.clip(means, -_BOUND, _BOUND))
        low, high = np.tanh(jackknife(z[0], z[1:]))
        of = np.isfinite(x) if scope == "pooled" else np.isfinite(values[0])
        found.append(Agreement(name, means[0], float(low), float(high), p, int(of.sum())))
    return found


def ordered(x: np.ndarray, y: np.ndarray) -> Agreement:
    """`rank_per_target` of x and y [S, T]: mean over targets of the Spearman correlation of their sources.

    For sources and targets of two kinds, so that no cell is a task with itself: the interval is Student's t
    with targets as units, and there is no p."""
    columns = zip(x.T, y.T, strict=True)
    values = np.array([coefficient(a, b, "spearman") for a, b in columns])
    mean, low, high, _ = mean_interval(values)
    return Agreement(ORDER, mean, low, high, np.nan, int(np.isfinite(values).sum()))


def recommended(x: np.ndarray, y: np.ndarray) -> list[Agreement]:
    """What x recommends, judged by y [T, T], means over targets: `best_kept`, the share whose best source in
    x is the best in y, and `regret`, what the best in x falls short of the best in y, in units of y. Of
    sources that are equally good in x any may be taken: both are what is to be expected then."""
    x, y = _common(x, y)
    found = []
    for name, judged, most in (("best_kept", _kept, 1.0), ("regret", _regret, np.inf)):
        values = np.array([judged(a, b) for a, b in _with_left_out(x, y)])
        low, high = jackknife(values[0], values[1:])
        n = int((np.isfinite(x).sum(axis=0) > 1).sum())
        found.append(Agreement(name, float(values[0]), max(low, 0.0), min(high, most), np.nan, n))
    return found


def replicated(x: np.ndarray, y: np.ndarray) -> list[Agreement]:
    """Of the pairs that x establishes, the share that y establishes with the same sign (`replicated`) and
    with the opposite one (`opposite`); x and y [T, T] are signs, 0 where nothing is established."""
    x, y = _common(x, y)
    found = []
    for name, sign in (("replicated", 1.0), ("opposite", -1.0)):

        def share(a: np.ndarray, b: np.ndarray, sign: float = sign) -> float:
            said = np.isfinite(a) & (a != 0)
            return float((b[said] == sign * a[said]).mean()) if said.any() else np.nan

        values = np.array([share(a, b) for a, b in _with_left_out(x, y)])
        low, high = jackknife(values[0], values[1:])
        n = int((np.nan_to_num(x) != 0).sum())
        found.append(Agreement(name, float(values[0]), max(low, 0.0), min(high, 1.0), np.nan, n))
    return found


def _common(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both, undefined where either is and on the diagonal."""
    x, y = off_diagonal(x), off_diagonal(y)
    both = np.isfinite(x) & np.isfinite(y)
    return np.where(both, x, np.nan), np.where(both, y, np.nan)


def _with_left_out(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both matrices, and both without each task."""
    kept = [np.delete(np.arange(len(x)), task) for task in range(len(x))]
    return [(x, y), *((x[np.ix_(k, k)], y[np.ix_(k, k)]) for k in kept)]


def _kept(x: np.ndarray, y: np.ndarray) -> float:
    return _over_targets(x, y, lambda a, b: float(best(b)[best(a)].mean()))


def _regret(x: np.ndarray, y: np.ndarray) -> float:
    return _over_targets(x, y, lambda a, b: float(b.max() - b[best(a)].mean()))


def best(values: np.ndarray) -> np.ndarray:
    """Which of values [n] are the highest; means that differ by rounding alone are equal."""
    highest: np.ndarray = values >= values.max() - 1e-9 * np.abs(values).max()
    return highest


def _over_targets(
    x: np.ndarray, y: np.ndarray, judged: Callable[[np.ndarray, np.ndarray], float]
) -> float:
    """The mean of `judged` over targets with two sources or more."""
    columns = [(a[np.isfinite(a)], b[np.isfinite(a)]) for a, b in zip(x.T, y.T, strict=True)]
    return _mean(np.array([judged(a, b) for a, b in columns if len(a) > 1]))


def _mean(values: np.ndarray) -> float:
    """The mean of the defined values; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan
