"""Pearson and Spearman correlation of source x target matrices under permutation of tasks.

Cells of a matrix share tasks, so they are not independent: tests permute tasks, rows and columns
together, and an interval holds what its test does not reject. Everything is expressed in matrix
products over all permutations at once. No function looks at the diagonal. `correlation` is the door to
what is here.

Shapes: T tasks, P permutations, K matrices, n off-diagonal cells
T * (T - 1) in row order. NaN cells are undefined. Rows are sources, columns are targets.
Scopes: `pooled` over all cells; `per_target` the mean over columns of the correlation within a
column; `per_source` the same over rows.
"""

import numpy as np
from scipy import stats

from mvlpt_core.contract.errors import InputError

from ..read.pairs import off_diagonal
from .multiplicity import ALPHA

SCOPES = ("pooled", "per_target", "per_source")
MIN_CELLS = 3
# Replicates held at once: the permuted cells of 20 tasks are then 6 MB.
BATCH = 2000
# Two statistics closer than this are equal: the rest is rounding of the sums.
TIE = 1e-9


def cells(n_tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column numbers [n] of the off-diagonal cells, in row order."""
    rows, columns = np.nonzero(~np.eye(n_tasks, dtype=bool))
    return rows, columns


def cell_index(permuted: np.ndarray, used: np.ndarray | None = None) -> np.ndarray:
    """Flat index [P, n] into a [T, T] matrix: cell (s, t) of permutation p is (p[s], p[t]).

    Of the off-diagonal cells, or of those of them that are `used` [n].
    """
    n_tasks = permuted.shape[1]
    rows, columns = cells(n_tasks)
    if used is not None:
        rows, columns = rows[used], columns[used]
    small = permuted.astype(np.int32)
    return small.take(rows, axis=1) * np.int32(n_tasks) + small.take(columns, axis=1)


def orient(matrix: np.ndarray, scope: str) -> np.ndarray:
    """A copy with NaN diagonal, transposed for `per_source`, so that groups are columns."""
    if scope not in SCOPES:
        raise InputError(f"scope '{scope}' is unknown: expected one of {', '.join(SCOPES)}")
    return off_diagonal(matrix.T if scope == "per_source" else matrix)


def ranks(matrix: np.ndarray, pooled: bool) -> np.ndarray:
    """Ranks from 1, ties at their mean, over the whole matrix or within each column; NaN stays NaN."""
    return stats.rankdata(matrix, nan_policy="omit", axis=None if pooled else 0).reshape(
        matrix.shape
    )


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of two vectors that vary."""
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation of two vectors that vary."""
    return pearson(stats.rankdata(x), stats.rankdata(y))


def is_constant(values: np.ndarray) -> bool:
    """Whether defined values vary by no more than rounding."""
    values = values[~np.isnan(values)]
    return len(values) == 0 or bool(np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max()))


def standardise(matrix: np.ndarray, scope: str, statistic: str) -> np.ndarray:
    """Values [T, T] whose sum of products over cells orders permutations as the coefficient does.

    Ranked for `spearman`; centred and scaled to norm 1, over all cells or in each column, then
    1 / sqrt(number of columns) so that the sum is the mean over columns. Undefined cells and
    constant columns are 0, the mean. With no cell missing the sum is the coefficient itself.
    """
    values = orient(matrix, scope)
    if statistic == "spearman":
        values = ranks(values, scope == "pooled")
    shape = values.shape
    columns = values.reshape(-1, 1) if scope == "pooled" else values
    result = np.zeros(columns.shape)
    used = 0
    for j, column in enumerate(columns.T):
        if is_constant(column):
            continue
        defined = ~np.isnan(column)
        centred = column[defined] - column[defined].mean()
        result[defined, j] = centred / np.sqrt(centred @ centred)
        used += 1
    return (result / np.sqrt(max(used, 1))).reshape(shape)


def _permuted_sums(x: np.ndarray, weights: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sums of products [P, K] of x [T, T], its tasks permuted by `index` [P, n], with weights [n, K].

    O(P n K); memory is that of one batch of permutations.
    """
    return np.concatenate(
        [x.take(index[i : i + BATCH]) @ weights for i in range(0, len(index), BATCH)]
    )


def p_value(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Two-sided p [K] = (1 + number of |permuted| >= |observed|) / (P + 1).

    Counting the data as one of the permutations makes the test exact (Phipson and Smyth 2010).
    """
    extreme = (np.abs(permuted) >= np.abs(observed) - TIE).sum(axis=0)
    return (1 + extreme) / (len(permuted) + 1)


def reach(observed: np.ndarray, permuted: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """What |observed| [K] must exceed for p <= alpha, in units of itself: below 1 where it does.

    The m-th largest |permuted| [P, K] with m = alpha (P + 1); infinite where so few permutations allow
    no such p, and where `observed` is 0.
    """
    place = int(alpha * (len(permuted) + 1) + TIE)
    if place < 1:
        return np.full(observed.shape, np.inf)
    critical = np.partition(np.abs(permuted), len(permuted) - place, axis=0)[-place]
    size = np.abs(observed)
    return np.divide(critical, size, out=np.full(size.shape, np.inf), where=size > 0)


def moment_test(
    x: np.ndarray, y: np.ndarray, permuted: np.ndarray, scope: str, statistic: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mantel (QAP) p-values and `reach` [M, K] of x [M, T, T] with y [K, T, T], Pearson or Spearman.

    Rows and columns of x are `permuted` [P, T] together (Mantel 1967; Hubert 1987, Assignment Methods in
    Combinatorial Data Analysis). NaN where either side is constant.
    """
    a = np.stack([standardise(matrix, scope, statistic) for matrix in x])
    b = np.stack([standardise(matrix, scope, statistic) for matrix in y])
    filled = ~np.isnan(y).all(axis=0)
    return product_test(a, b, permuted, filled.T if scope == "per_source" else filled)


def product_test(
    a: np.ndarray, b: np.ndarray, permuted: np.ndarray, filled: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """p-values and `reach` [M, K] of the sum of products over cells of a [M, T, T], its tasks `permuted`
    [P, T], with b [K, T, T]; both are 0 where undefined, and a matrix of nothing else has NaN.

    filled [T, T]: where b may differ from 0.
    """
    rows, columns = cells(a.shape[1])
    used = np.ones(len(rows), bool)
    # Sources and targets of different kinds fill one block of the matrix: the rest adds nothing.
    if filled is not None and 2 * filled[rows, columns].sum() < len(rows):
        used = filled[rows, columns]
        rows, columns = rows[used], columns[used]
    index = cell_index(permuted, used)
    p, far = np.full((2, len(a), len(b)), np.nan)
    weights = b[:, rows, columns]  # [K, n]
    for m, matrix in enumerate(a):
        if matrix.any():
            observed = weights @ matrix[rows, columns]
            sums = _permuted_sums(matrix, weights.T, index)
            p[m], far[m] = p_value(observed, sums), reach(observed, sums)
    p[:, ~b.any(axis=(1, 2))] = np.nan
    return p, far
