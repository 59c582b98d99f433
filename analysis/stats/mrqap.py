"""Regression and partial correlation on cells that share tasks, with permutation of tasks.

MRQAP by double semi-partialling (Dekker, Krackhardt and Snijders 2007, Psychometrika 72): x is
replaced by its residual on the other regressors, the residual's tasks are permuted (rows and
columns together), and the statistic of its coefficient is computed again. This keeps the level of
the test where the regressors are correlated, where permuting y or x itself does not.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..read.pairs import off_diagonal
from .qap import BATCH, TIE, cells, is_constant, ranks


@dataclass(frozen=True)
class Dyadic:
    """One regressor's part in a regression on cells.

    beta: standardised coefficient; partial: partial correlation given the others, -1..1;
    t: its statistic; p: of the permutation test; p_naive: of the t distribution, as if cells
    were independent; n: cells; reason: why it is undefined, or "".
    """

    beta: float
    partial: float
    t: float
    p: float
    p_naive: float
    n: int
    reason: str = ""


def double_semipartial(
    y: np.ndarray, x: np.ndarray, given: np.ndarray, index: np.ndarray
) -> Dyadic:
    """The part of x [T, T] in the regression of y [T, T] on x and `given` [q, T, T].

    `index` [P, n] are the cells of permuted tasks (`qap.cell_index`). NaN cells of any
    matrix are left out; those of y stay out under permutation. O(P n q).
    """
    y, x = off_diagonal(y), off_diagonal(x)
    given = np.array([off_diagonal(matrix) for matrix in given]).reshape(-1, *y.shape)
    explained = ~(np.isnan(x) | np.isnan(given).any(0))
    mask = explained & ~np.isnan(y)
    n, q = int(mask.sum()), len(given)
    if n < q + 4:
        return _undefined(n, "too few defined pairs")
    for values, what in ((x, "similarity"), (y, "gain")):
        if is_constant(values[mask]):
            return _undefined(n, f"{what} is constant")

    # The residual of x on the others, over all cells where they are defined.
    basis = _orthonormal(given[:, explained])
    residual = np.zeros(x.shape)
    residual[explained] = _project_out(x[explained], basis)
    scale = np.abs(x[explained] - x[explained].mean()).max()
    if np.abs(residual).max() <= 1e-8 * scale:
        return _undefined(n, "similarity is a linear function of the others")

    basis = _orthonormal(given[:, mask])  # [n, q + 1]
    response = _project_out(y[mask], basis)
    own = _project_out(x[mask], basis)
    sy, sx = np.sqrt(response @ response), np.sqrt(own @ own)
    if sy <= 1e-10 * np.abs(y[mask]).max() or sx <= 1e-8 * scale:
        return _undefined(n, "the others leave nothing to explain")
    partial = float(np.clip(own @ response / (sx * sy), -1, 1))
    beta = float((own @ response) / (own @ own) * x[mask].std() / y[mask].std())
    df = n - q - 2
    t = partial * np.sqrt(df / max(1 - partial**2, 1e-15))

    rows, columns = cells(len(y))
    kept = mask[rows, columns]
    index = index if kept.all() else index[:, kept]
    observed = _partial_of(residual[rows, columns][None, kept], response, basis)[0]
    extreme = 0
    for start in range(0, len(index), BATCH):
        drawn = residual.take(index[start : start + BATCH])
        extreme += int((np.abs(_partial_of(drawn, response, basis)) >= abs(observed) - TIE).sum())
    return Dyadic(
        beta,
        partial,
        float(t),
        (1 + extreme) / (len(index) + 1),
        float(2 * stats.t.sf(abs(t), df)),
        n,
    )


def _partial_of(drawn: np.ndarray, response: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Correlation [P] of the residual on `basis` [n, q] of each row of `drawn` with `response`."""
    norm = np.einsum("pn,pn->p", drawn, drawn) - ((drawn @ basis) ** 2).sum(1)
    scale = np.sqrt(np.maximum(norm, 0) * (response @ response))
    return np.divide(drawn @ response, scale, out=np.zeros(len(drawn)), where=scale > 0)


def _orthonormal(given: np.ndarray) -> np.ndarray:
    """An orthonormal basis [n, r] of the constant and the rows of `given` [q, n]."""
    columns = np.vstack([np.ones(given.shape[1]), *given]).T
    norms = np.linalg.norm(columns, axis=0)
    u, s, _ = np.linalg.svd(columns / np.where(norms > 0, norms, 1), full_matrices=False)
    return u[:, s > 1e-10 * s[0]]


def _project_out(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The residual of `values` [n] on an orthonormal `basis` [n, r]."""
    return values - basis @ (basis.T @ values)


def ranked(matrices: np.ndarray) -> np.ndarray:
    """Ranks [M, T, T] over the cells that are defined in all of the matrices."""
    matrices = np.array([off_diagonal(matrix) for matrix in matrices])
    lost = np.isnan(matrices).any(0)
    return np.array([ranks(np.where(lost, np.nan, matrix), pooled=True) for matrix in matrices])


def r_squared(y: np.ndarray, x: np.ndarray) -> tuple[float, int]:
    """Share of the variance of y [T, T] that x [q, T, T] explain linearly, and the cells used."""
    y = off_diagonal(y)
    x = np.array([off_diagonal(matrix) for matrix in x])
    mask = ~(np.isnan(y) | np.isnan(x).any(0))
    values = y[mask]
    if len(values) < len(x) + 2 or is_constant(values):
        return np.nan, len(values)
    rest = _project_out(values, _orthonormal(x[:, mask]))
    total = values - values.mean()
    return float(1 - (rest @ rest) / (total @ total)), len(values)


def _undefined(n: int, reason: str) -> Dyadic:
    """A result that does not exist, and why."""
    return Dyadic(np.nan, np.nan, np.nan, np.nan, np.nan, n, reason)
