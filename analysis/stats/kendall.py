"""Kendall's tau of two source x target matrices under permutation of tasks.

Tau counts pairs of cells: n^2 / 2 for all n cells of a matrix, or 720 million for 10,000
permutations of 20 tasks. `_permuted_scores` needs about a tenth of that. Shapes as in
`stats.qap`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from ..read.pairs import off_diagonal
from .qap import cell_index, cells, is_constant, orient, p_value, reach

# Permutations handled at once, fewer where what is known of their cells' bins would take more bytes than
# this; pairs of cells compared at once: signs that int8 can add up.
BLOCK = 1024
STEPS = 1 << 23
CHUNK = 127
ROUNDING = 1e-5


@dataclass(frozen=True)
class _Side:
    """One matrix of a pooled test, prepared once for all its partners.

    rank, bins [n]: of its cells in row order, undefined NaN; low, high [Q]: all pairs of cells in
    one bin with rank[low] < rank[high]; moved_rank, moved_bins [n, P]: those of its cells that
    permuted tasks put in place of each cell.
    """

    rank: np.ndarray
    bins: np.ndarray
    low: np.ndarray
    high: np.ndarray
    moved_rank: np.ndarray
    moved_bins: np.ndarray

    @property
    def n_bins(self) -> int:
        return int(np.nanmax(self.bins)) + 1


def tau(x: np.ndarray, y: np.ndarray) -> float:
    """Tau-b of two vectors that vary."""
    if len(x) > 500:
        return float(kendalltau(x, y).statistic)
    # All differences at once: for few values much faster than scipy.
    x, y = (np.sign(v[:, None] - v).ravel() for v in (x, y))
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def _prepare(matrix: np.ndarray, index: np.ndarray) -> _Side:
    """The side [T, T] of a test whose permuted cells are `index` [P, n]."""
    rows, columns = cells(len(matrix))
    rank, bins = _binned(matrix[rows, columns])
    low, high = np.nonzero((bins[:, None] == bins) & (rank[:, None] < rank))
    places = np.ascontiguousarray(index.T)
    moved = []
    for values in (rank, bins):
        full = np.zeros(matrix.shape, values.dtype)
        full[rows, columns] = values
        moved.append(full.ravel()[places])
    return _Side(rank, bins, low, high, moved[0], moved[1])


def _permuted_scores(x: _Side, others: Sequence[_Side]) -> np.ndarray:
    """Concordant minus discordant pairs of cells [K, P]: x with its tasks permuted, against each of `others`.

    x is prepared with the cells of the permutations, the others with those of their inverses. Pairs tied
    or undefined on either side count 0. Cells are grouped into about sqrt(n) bins of neighbouring
    values of x and of y. Pairs in different bins on both sides are counted bin by bin; only pairs that
    share a bin are compared one by one. O(K P n^1.5).
    """
    groups = [[np.flatnonzero(y.bins == g) for g in range(y.n_bins)] for y in others]
    steps = np.arange(x.n_bins)[:, None]
    block = min(BLOCK, max(1, STEPS // (len(x.bins) * x.n_bins)))
    total = np.empty((len(others), x.moved_rank.shape[1]))
    for start in range(0, total.shape[1], block):
        part = slice(start, start + block)
        ranks = np.ascontiguousarray(x.moved_rank[:, part])
        reached = x.moved_bins[:, None, part] >= steps.astype(x.moved_bins.dtype)
        for k, y in enumerate(others):
            score = _compared(ranks, y.low, y.high)
            score += _compared(np.ascontiguousarray(y.moved_bins[:, part]), x.low, x.high)
            total[k, part] = score + _across_bins(reached.view(np.int8), groups[k])
    return total


def _across_bins(reached: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """The part of the scores [b] that pairs in different bins of both sides have.

    reached [n, bins of x, b]: 1 where a cell's bin of x is at least this one; groups: the cells of each bin
    of y, from the lowest. Where own[c] cells of a bin and below[c] of all lower bins have reached c, the sum
    over c of (below[c - 1] - below[c]) own[c] counts the concordant pairs, that of (own[c - 1] - own[c])
    below[c] the discordant ones; what both have in common is left out.
    """
    below = np.zeros(reached.shape[1:], np.float32)
    score = np.zeros(reached.shape[2])
    for group in groups:
        own = reached[group].sum(0, dtype=np.min_scalar_type(-1 - len(group))).astype(np.float32)
        score += np.einsum("cb,cb->b", below[:-1], own[1:])
        score -= np.einsum("cb,cb->b", own[:-1], below[1:])
        below += own
    return score


def _constant(matrix: np.ndarray) -> bool:
    """Whether the off-diagonal cells do not vary."""
    return is_constant(off_diagonal(matrix))


def _both_ways(permuted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells [1 + P, n] of the identity and permutations [P, T], and of their inverses."""
    permuted = np.vstack([np.arange(permuted.shape[1]), permuted])
    return cell_index(permuted), cell_index(np.argsort(permuted, axis=1))


def _binned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dense ranks and bins of values [n], small numbers; ties share a bin, undefined stays NaN."""
    defined = ~np.isnan(values)
    _, inverse, count = np.unique(values[defined], return_inverse=True, return_counts=True)
    first = np.cumsum(count) - count
    size = max(1, int(np.sqrt(defined.sum())))
    _, bins = np.unique(first // size, return_inverse=True)
    result = []
    for code in (inverse, bins[inverse] if len(bins) else inverse):
        # Small integers compare fastest; only an undefined cell needs a float.
        dtype = np.min_scalar_type(-1 - int(code.max(initial=0))) if defined.all() else np.float32
        filled = np.full(values.shape, 0 if defined.all() else np.nan, dtype)
        filled[defined] = code
        result.append(filled)
    return result[0], result[1]


def _compared(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Sum over pairs of sign(values[high] - values[low]), for each column of `values` [n, b]."""
    total = np.zeros(values.shape[1], np.int32)
    for start in range(0, len(low), CHUNK):
        a, z = values[low[start : start + CHUNK]], values[high[start : start + CHUNK]]
        signs = (z > a).view(np.int8) - (z < a).view(np.int8)
        total += signs.sum(0, dtype=np.int8)
    return total.astype(float)


def _column_signs(matrix: np.ndarray, scope: str) -> np.ndarray:
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


def kendall_test(
    x: np.ndarray,
    y: np.ndarray,
    permuted: np.ndarray,
    scope: str,
    wanted: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Permutation p-values and `qap.reach` [M, K] of tau-b of x [M, T, T] with y [K, T, T]; NaN if constant.

    `permuted` [P, T] are permutations of the tasks; only the `wanted` pairs [M, K] are tested.
    For `pooled` the statistic is concordant minus discordant pairs, for the others the mean of
    tau-b by column with missing pairs at 0.
    """
    if scope == "pooled":
        p, far = np.full((2, *wanted.shape), np.nan)
        forward, backward = _both_ways(permuted)
        # The identity comes first: its score is the observed one.
        others = {k: _prepare(v, backward) for k, v in enumerate(y) if not _constant(v)}
        for m, matrix in enumerate(x):
            if _constant(matrix):
                continue
            tested = [k for k, other in others.items() if wanted[m, k]]
            if tested:
                scores = _permuted_scores(_prepare(matrix, forward), [others[k] for k in tested]).T
                p[m, tested] = p_value(scores[0], scores[1:])
                far[m, tested] = reach(scores[0], scores[1:])
        return p, far
    n_tasks = x.shape[1]
    first, second, column = _pairs_in_columns(n_tasks)
    signs = np.stack([_column_signs(matrix, scope) for matrix in x], -1)  # [T, T, T, M]
    flat = signs.reshape(-1, len(x))
    b = np.stack([_column_signs(matrix, scope)[first, second, column] for matrix in y])  # [K, Q]
    observed = b @ signs[first, second, column]  # [K, M]
    sums = np.empty((len(permuted), *observed.shape), np.float32)
    block = max(1, 4_000_000 // (len(first) * len(x)))
    for start in range(0, len(permuted), block):
        part = permuted[start : start + block]
        place = (part[:, first] * n_tasks + part[:, second]) * n_tasks + part[:, column]
        sums[start : start + len(part)] = b @ flat[place]  # [b, K, M]
    # float32 sums: rounding is larger than for the other statistics.
    p = p_value(np.maximum(np.abs(observed) - ROUNDING, 0), sums).T
    defined = (np.any(flat, axis=0)[:, None] & np.any(b, axis=1)) & wanted
    return np.where(defined, p, np.nan), np.where(defined, reach(observed, sums).T, np.nan)


def _pairs_in_columns(n_tasks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows i < j and column t [Q] of all pairs of off-diagonal cells that share a column."""
    first, second = np.triu_indices(n_tasks, 1)
    column = np.repeat(np.arange(n_tasks), len(first))
    first, second = np.tile(first, n_tasks), np.tile(second, n_tasks)
    keep = (first != column) & (second != column)
    return first[keep], second[keep], column[keep]
