"""The door to correlations of source x target matrices: Pearson, Spearman and Kendall (tau-b).

Values, and p-values with their intervals under permutation of tasks, whichever fast path lies behind.
Shapes and scopes as in `qap`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mvlpt_core.contract.errors import InputError

from . import kendall, qap
from .qap import MIN_CELLS, is_constant, orient
from .qap import SCOPES as SCOPES
from .variance import mean_interval


@dataclass(frozen=True)
class _Statistic:
    """What a statistic is made of; arguments as those of the functions below."""

    of_vectors: Callable[[np.ndarray, np.ndarray], float]
    permuted: Callable[
        [np.ndarray, np.ndarray, np.ndarray, str, np.ndarray], tuple[np.ndarray, np.ndarray]
    ]
    naive: Callable[[np.ndarray, np.ndarray, float], float]


def _moment(name: str, of_vectors: Callable[[np.ndarray, np.ndarray], float]) -> _Statistic:
    def permuted(
        x: np.ndarray, y: np.ndarray, draws: np.ndarray, scope: str, _: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if len(y) < len(x):
            # To permute one side is to permute the other the inverse way, and the fewer cost less.
            p, far = qap.moment_test(y, x, np.argsort(draws, axis=1), scope, name)
            return p.T, far.T
        return qap.moment_test(x, y, draws, scope, name)

    return _Statistic(of_vectors, permuted, lambda x, y, r: correlation_p(r, len(x)))


_STATISTICS = {
    "pearson": _moment("pearson", qap.pearson),
    "spearman": _moment("spearman", qap.spearman),
    "kendall": _Statistic(
        kendall.tau,
        kendall.kendall_test,
        lambda x, y, tau: float(stats.kendalltau(x, y).pvalue),
    ),
}
STATISTICS = tuple(_STATISTICS)


def _known(statistic: str) -> _Statistic:
    if statistic not in _STATISTICS:
        raise InputError(
            f"statistic '{statistic}' is unknown: expected one of {', '.join(_STATISTICS)}"
        )
    return _STATISTICS[statistic]


def coefficient(x: np.ndarray, y: np.ndarray, statistic: str) -> float:
    """The coefficient of two vectors; NaN pairs are left out. NaN with fewer than 3 pairs, or where
    either side is constant."""
    kind = _known(statistic)
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < MIN_CELLS or is_constant(x) or is_constant(y):
        return np.nan
    return kind.of_vectors(x, y)


def group_values(x: np.ndarray, y: np.ndarray, scope: str, statistic: str) -> np.ndarray:
    """The coefficient of each group: one for `pooled`, else one a target or source [T].

    Only cells defined in both matrices count, and ranks are ranks among these. A group with fewer
    than 3 such cells, or in which either side is constant, is NaN.
    """
    x, y = orient(x, scope), orient(y, scope)
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    if scope == "pooled":
        x, y = x[both][:, None], y[both][:, None]
    return np.array([coefficient(a, b, statistic) for a, b in zip(x.T, y.T, strict=True)])


def permutation_test(
    x: np.ndarray,
    y: np.ndarray,
    permuted: np.ndarray,
    scope: str,
    statistic: str,
    wanted: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p and `qap.reach` [M, K] of x [M, T, T] with y [K, T, T] under `permuted` tasks [P, T].

    The Mantel (QAP) test: rows and columns of x are permuted together. NaN where either side is
    constant, and for pairs that are not `wanted` [M, K].
    """
    kind = _known(statistic)
    wanted = np.ones((len(x), len(y)), bool) if wanted is None else wanted
    p, far = kind.permuted(x, y, permuted, scope, wanted)
    return np.where(wanted, p, np.nan), np.where(wanted, far, np.nan)


def p_values(
    x: np.ndarray, y: np.ndarray, permuted: np.ndarray, scope: str, statistic: str
) -> np.ndarray:
    """The p of `permutation_test`."""
    return permutation_test(x, y, permuted, scope, statistic)[0]


def interval(r: float, reach: float) -> tuple[float, float]:
    """The 95 % interval of a coefficient from the `reach` of its test.

    It holds 0 if and only if p > 0.05: on Fisher's scale, which lets the spread of a correlation
    depend little on its value, it is as wide as what the permutations leave to chance.
    """
    if np.isnan(r) or np.isnan(reach):
        return np.nan, np.nan
    end = 1 - 1e-12
    z = np.arctanh(np.clip(r, -end, end))
    half = np.arctanh(min(reach * abs(r), end)) if np.isfinite(reach) else np.inf
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def naive_p(x: np.ndarray, y: np.ndarray, groups: np.ndarray, scope: str, statistic: str) -> float:
    """The p-value of a test that takes cells (pooled) or groups' coefficients as independent."""
    if scope != "pooled":
        return mean_interval(groups)[3]
    return _known(statistic).naive(x, y, float(groups[0]))


def correlation_p(r: float, n: int) -> float:
    """Two-sided p of a correlation of n independent pairs: t = r sqrt((n - 2) / (1 - r^2))."""
    if n < MIN_CELLS:
        return np.nan
    t = abs(r) * np.sqrt((n - 2) / max(1 - r * r, 1e-15))
    return float(2 * stats.t.sf(t, n - 2))
