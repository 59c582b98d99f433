"""Kendall's tau of two source x target matrices under permutation and resampling of tasks.

Tau counts pairs of cells: n^2 / 2 for all n cells of a matrix, so a permutation test of 10,000
permutations of 20 tasks compares 720 million pairs of cells. Shapes as in `analysis.correlate`.
"""

import numpy as np

from analysis.correlate import cell_index, cells, is_constant, orient, p_value
from analysis.tables import off_diagonal

# Permutations compared at once: enough to make numpy's cost per call small (380 cells: 0.8 MB).
BLOCK = 1024
FLUSH = 100  # int8 counters are emptied before they can overflow


def permuted_scores(x: np.ndarray, y: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Concordant minus discordant pairs of cells [P], x [T, T] permuted by `index` [P, n].

    Pairs tied or undefined on either side count 0. Cells are put in order of y once; then all
    permutations are compared at a distance of k cells, for each k. O(P n^2 / 2).
    """
    rows, columns = cells(x.shape[0])
    values = y[rows, columns]
    order = np.argsort(values, kind="stable")
    order = order[~np.isnan(values[order])]
    values = values[order]
    n = len(order)
    # Ranks as small integers compare fastest; only an undefined cell needs a float.
    coded, strict = codes(x)
    ordered_pairs = sum(int((values[k:] > values[:-k]).sum()) for k in range(1, n))
    total = np.zeros(len(index))
    for start in range(0, len(index), BLOCK):
        block = np.ascontiguousarray(coded.ravel()[index[start : start + BLOCK][:, order]].T)
        below = pair_count(block, values, np.greater)  # discordant: y rises, x falls
        if strict:
            total[start : start + BLOCK] = ordered_pairs - 2 * below
        else:
            total[start : start + BLOCK] = pair_count(block, values, np.less) - below
    return total


def pair_count(block: np.ndarray, values: np.ndarray, compare: np.ufunc) -> np.ndarray:
    """For each column of `block` [n, b], pairs i < j with values[i] < values[j] that `compare`."""
    n, width = block.shape
    counter = np.zeros((n, width), np.int8)
    total = np.zeros(width)
    hit = np.empty((n, width), bool)
    for k in range(1, n):
        rising = values[k:] > values[:-k]
        m = n - k
        if rising.all():
            compare(block[:m], block[k:], out=hit[:m])
            counter[:m] += hit[:m].view(np.int8)
        elif rising.any():
            first = np.flatnonzero(rising)
            counter[: len(first)] += compare(block[first], block[first + k]).view(np.int8)
        if k % FLUSH == 0 or k == n - 1:
            total += counter.sum(0, dtype=np.int32)
            counter[:] = 0
    return total


def codes(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """Order-preserving small codes of the off-diagonal values, and whether all of them differ."""
    values = off_diagonal(x)
    defined = ~np.isnan(values)
    distinct, rank = np.unique(values[defined], return_inverse=True)
    complete = int(defined.sum()) == len(x) * (len(x) - 1)
    small = complete and len(distinct) < np.iinfo(np.int16).max
    coded = np.full(x.shape, -1 if small else np.nan, np.int16 if small else np.float32)
    coded[defined] = rank
    return coded, small and len(distinct) == int(defined.sum())


def column_signs(matrix: np.ndarray, scope: str) -> np.ndarray:
    """Signs [T, T, T]: entry (i, j, t) is sign(m[i, t] - m[j, t]) / norm of column t / sqrt(T).

    Sums of products of two such arrays over pairs i < j are the mean over columns of tau-b.
    """
    values = orient(matrix, scope)
    signs = np.sign(values[:, None, :] - values[None, :, :])
    signs = np.nan_to_num(signs)
    untied = np.abs(signs).sum((0, 1)) / 2  # [T] pairs that differ
    used = max(int((untied > 0).sum()), 1)
    scale = np.where(untied > 0, 1 / np.sqrt(np.maximum(untied, 1) * used), 0)
    return (signs * scale).astype(np.float32)


def kendall_p(
    x: np.ndarray,
    y: np.ndarray,
    permuted: np.ndarray,
    index: np.ndarray,
    scope: str,
    wanted: np.ndarray | None = None,
) -> np.ndarray:
    """Permutation p-values [M, K] of tau-b between x [M, T, T] and y [K, T, T]; NaN if constant.

    `permuted` [P, T] are task permutations and `index` [P, n] their cells; only the `wanted`
    pairs [M, K] are tested. For `pooled` the statistic is concordant minus discordant pairs, for
    the others the mean of tau-b by column with missing pairs at 0.
    """
    if wanted is None:
        wanted = np.ones((len(x), len(y)), bool)
    if scope == "pooled":
        p = np.full(wanted.shape, np.nan)
        for m, k in np.argwhere(wanted):
            p[m, k] = pooled_p(x[m], y[k], index)
        return p
    n_tasks = x.shape[1]
    first, second, column = pairs_in_columns(n_tasks)
    signs = np.stack([column_signs(matrix, scope) for matrix in x], -1)  # [T, T, T, M]
    flat = signs.reshape(-1, len(x))
    b = np.stack([column_signs(matrix, scope)[first, second, column] for matrix in y])  # [K, Q]
    observed = b @ signs[first, second, column]  # [K, M]
    extreme = np.zeros(observed.shape)
    block = max(1, 4_000_000 // (len(first) * len(x)))
    for start in range(0, len(permuted), block):
        part = permuted[start : start + block]
        place = (part[:, first] * n_tasks + part[:, second]) * n_tasks + part[:, column]
        sums = b @ flat[place]  # [b, K, M]
        # float32 sums: rounding is larger than for the other statistics.
        extreme += (np.abs(sums) >= np.abs(observed) - 1e-5).sum(0)
    p = ((1 + extreme) / (len(permuted) + 1)).T
    defined = np.any(flat, axis=0)[:, None] & np.any(b, axis=1)
    return np.where(defined & wanted, p, np.nan)


def pairs_in_columns(n_tasks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows i < j and column t [Q] of all pairs of off-diagonal cells that share a column."""
    first, second = np.triu_indices(n_tasks, 1)
    column = np.repeat(np.arange(n_tasks), len(first))
    first, second = np.tile(first, n_tasks), np.tile(second, n_tasks)
    keep = (first != column) & (second != column)
    return first[keep], second[keep], column[keep]


def pooled_p(x: np.ndarray, y: np.ndarray, index: np.ndarray) -> float:
    """The pooled permutation p of one pair of matrices; NaN if either is constant."""
    if is_constant(off_diagonal(x)) or is_constant(off_diagonal(y)):
        return np.nan
    plain = cell_index(np.arange(len(x))[None])
    observed = permuted_scores(x, y, plain)
    return float(p_value(observed, permuted_scores(x, y, index)[:, None])[0])


def bootstrap_tau(x: np.ndarray, y: np.ndarray, counts: np.ndarray, scope: str) -> np.ndarray:
    """Tau-b [B] with tasks resampled `counts` [B, T] times, as `correlate.bootstrap_values`.

    Pairs of cells weigh the product of their weights: quadratic forms, O(B n^2) for `pooled`.
    """
    x, y = orient(x, scope), orient(y, scope)
    both = ~(np.isnan(x) | np.isnan(y))
    if scope == "pooled":
        rows, columns = np.nonzero(both)
        weight = (counts[:, rows] * counts[:, columns]).astype(np.float32)
        return weighted_tau(x[both], y[both], weight)
    total = np.zeros(len(counts))
    used = np.zeros(len(counts))
    for t in range(len(x)):
        rows = np.flatnonzero(both[:, t])
        tau = weighted_tau(x[rows, t], y[rows, t], counts[:, rows].astype(np.float32))
        defined = ~np.isnan(tau)
        total += np.where(defined, counts[:, t] * np.nan_to_num(tau), 0)
        used += np.where(defined, counts[:, t], 0)
    return np.divide(total, used, out=np.full(len(used), np.nan), where=used > 0)


def weighted_tau(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Tau-b [B] of vectors [n] under weights [B, n]; NaN where a side has no untied pair."""
    sx = np.sign(x[:, None] - x).astype(np.float32)
    sy = np.sign(y[:, None] - y).astype(np.float32)
    score, ux, uy = (
        ((weight @ form) * weight).sum(1, dtype=float) for form in (sx * sy, np.abs(sx), np.abs(sy))
    )
    scale = np.sqrt(ux * uy)
    return np.divide(score, scale, out=np.full(len(score), np.nan), where=scale > 0)
