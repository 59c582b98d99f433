"""Pearson and Spearman correlation of source x target matrices under permutation and resampling of tasks.

Cells of a matrix share tasks, so they are not independent: intervals resample tasks and p-values
permute tasks, rows and columns together. Everything is expressed in matrix products over all
replicates at once. No function looks at the diagonal. `correlation` is the door to what is here.

Shapes: T tasks, P permutations, B bootstrap replicates, K matrices, n off-diagonal cells
T * (T - 1) in row order. NaN cells are undefined. Rows are sources, columns are targets.
Scopes: `pooled` over all cells; `per_target` the mean over columns of the correlation within a
column; `per_source` the same over rows.
"""

import numpy as np
from scipy import stats

from mvlpt_core.contract.errors import InputError

from ..read.pairs import off_diagonal

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
    return (permuted[:, rows] * n_tasks + permuted[:, columns]).astype(np.int32)


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


def _standardise(matrix: np.ndarray, scope: str, statistic: str) -> np.ndarray:
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
    flat = x.ravel()
    return np.concatenate(
        [flat[index[i : i + BATCH]] @ weights for i in range(0, len(index), BATCH)]
    )


def p_value(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Two-sided p [K] = (1 + number of |permuted| >= |observed|) / (P + 1).

    Counting the data as one of the permutations makes the test exact (Phipson and Smyth 2010).
    """
    extreme = (np.abs(permuted) >= np.abs(observed) - TIE).sum(axis=0)
    return (1 + extreme) / (len(permuted) + 1)


def moment_p(
    x: np.ndarray, y: np.ndarray, permuted: np.ndarray, scope: str, statistic: str
) -> np.ndarray:
    """Mantel (QAP) p-values [M, K] of x [M, T, T] with y [K, T, T], Pearson or Spearman.

    Rows and columns of x are `permuted` [P, T] together (Mantel 1967; Hubert 1987, Assignment Methods in
    Combinatorial Data Analysis). NaN where either side is constant.
    """
    a = np.stack([_standardise(matrix, scope, statistic) for matrix in x])
    b = np.stack([_standardise(matrix, scope, statistic) for matrix in y])
    rows, columns = cells(x.shape[1])
    used = np.ones(len(rows), bool)
    filled = ~np.isnan(y).all(axis=0)
    # Sources and targets of different kinds fill one block of the matrix: the rest adds nothing.
    if 2 * filled[rows, columns].sum() < len(rows):
        filled = filled.T if scope == "per_source" else filled
        used = filled[rows, columns]
        rows, columns = rows[used], columns[used]
    index = cell_index(permuted, used)
    p = np.full((len(x), len(y)), np.nan)
    for m, matrix in enumerate(a):
        if matrix.any():
            weights = b[:, rows, columns]  # [K, n]
            p[m] = p_value(
                weights @ matrix[rows, columns], _permuted_sums(matrix, weights.T, index)
            )
    p[:, ~b.any(axis=(1, 2))] = np.nan
    return p


def moment_bootstrap(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, scope: str, statistic: str
) -> np.ndarray:
    """Pearson or Spearman [B] with tasks resampled: cell (s, t) weighs count[s] * count[t].

    The vertex bootstrap of Snijders and Borgatti 1999, Connections 22, without the cells that
    pair a task with its copy. Ranks are those of the data, not of each replicate. O(B n).
    """
    x, y = orient(x, scope), orient(y, scope)
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    pooled = scope == "pooled"
    if statistic == "spearman":
        x, y = ranks(x, pooled), ranks(y, pooled)
    # Centring first keeps the differences of sums exact; it changes no coefficient.
    x = np.where(both, x - np.nanmean(x), 0.0) if both.any() else np.zeros_like(x)
    y = np.where(both, y - np.nanmean(y), 0.0) if both.any() else np.zeros_like(y)
    moments = np.stack([both.astype(float), x, y, x * x, y * y, x * y])  # [6, T, T]
    if pooled:
        sums = np.einsum("bt,mbt->mb", counts, counts @ moments)  # [6, B]
        return _weighted_r(sums)
    by_column = _weighted_r(counts @ moments)  # [B, T]
    weight = np.where(np.isnan(by_column), 0.0, counts)
    total = weight.sum(1)
    mean = (weight * np.nan_to_num(by_column)).sum(1)
    return np.divide(mean, total, out=np.full(len(total), np.nan), where=total > 0)


def _weighted_r(sums: np.ndarray) -> np.ndarray:
    """Pearson from weighted sums [6, ...] of 1, x, y, xx, yy, xy; NaN where a side is constant."""
    n, sx, sy, sxx, syy, sxy = sums
    n = np.where(n > 0, n, np.nan)
    vx, vy = sxx / n - (sx / n) ** 2, syy / n - (sy / n) ** 2
    floor_x, floor_y = 1e-12 * np.nanmax(sxx / n, initial=0), 1e-12 * np.nanmax(syy / n, initial=0)
    defined = (vx > floor_x) & (vy > floor_y)
    scale = np.sqrt(np.where(defined, vx * vy, np.nan))
    return np.clip((sxy / n - sx * sy / n**2) / scale, -1, 1)
