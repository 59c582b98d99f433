"""Distances between two data sets: maximum mean discrepancy and optimal transport with labels.

Shapes: N and M images, D feature size, C classes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


@dataclass(frozen=True)
class Labelled:
    """Images of a task with one class each: features [N, D], labels [N], and class moments.

    means, deviations [C, D]: mean and standard deviation of the features of each class.
    """

    features: np.ndarray
    labels: np.ndarray
    means: np.ndarray
    deviations: np.ndarray


def label_moments(features: np.ndarray, labels: np.ndarray) -> Labelled:
    """Class moments of features [N, D] with class numbers [N]; classes are numbered from 0."""
    _, index = np.unique(labels, return_inverse=True)
    member = np.eye(int(index.max()) + 1)[index]  # [N, C]
    count = member.sum(0)[:, None]
    means = member.T @ features / count
    variance = member.T @ features**2 / count - means**2
    return Labelled(features, index, means, np.sqrt(np.maximum(variance, 0)))


def median_bandwidth(features: np.ndarray) -> float:
    """The median distance between different rows of features [N, D]; 1.0 if that is 0.

    Source: the median heuristic of Gretton et al. 2012, section 8. O(N^2 D).
    """
    distance = cdist(features, features)
    median = (
        float(np.median(distance[np.triu_indices(len(features), 1)])) if len(features) > 1 else 0
    )
    return median if median > 0 else 1.0


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i - y_j|^2 [N, M] of the rows of x [N, D] and y [M, D], by one matrix product: much
    faster than cdist, and exact to the rounding of |x|^2."""
    sums = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * (x @ y.T)
    return np.maximum(sums, 0)


def squared_mmd(x: np.ndarray, y: np.ndarray, bandwidth: float) -> float:
    """Squared maximum mean discrepancy of x [N, D] and y [M, D], kernel exp(-d^2 / (2 b^2)).

    Source: Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13: eq. 3 (unbiased, so that
    it may fall below 0 for alike samples). Range about 0..2, symmetric, O((N + M)^2 D). NaN for a
    sample of one.
    """
    if min(len(x), len(y)) < 2:
        return np.nan
    within = 0.0
    for a in (x, y):
        k = np.exp(-_squared_distances(a, a) / (2 * bandwidth**2))
        n = len(a)
        within += (k.sum() - np.trace(k)) / (n * (n - 1))
    across = np.exp(-_squared_distances(x, y) / (2 * bandwidth**2)).mean()
    return float(within - 2 * across)


def otdd(x: Labelled, y: Labelled) -> float:
    """Optimal transport data set distance between two samples of the same size N.

    The cost of moving an image is |f - f'|^2 plus the squared Wasserstein distance of the normal
    distributions of the two classes, with diagonal covariances (a class has too few images here
    for a full one): |mean - mean'|^2 + |deviation - deviation'|^2. Returned is the root of the
    mean cost of the best assignment, which for equal sizes is the exact optimal transport.
    Source: Alvarez-Melis and Fusi 2020, Geometric Dataset Distances via Optimal Transport, eq. 5
    and 6, p = 2. Range 0..inf, 0 for the same sample; symmetric; O(N^2 D + N^3).
    """
    if len(x.features) != len(y.features):
        raise ValueError(
            f"samples of {len(x.features)} and {len(y.features)} images: expected equal sizes"
        )
    between = _squared_distances(x.means, y.means) + _squared_distances(x.deviations, y.deviations)
    cost = _squared_distances(x.features, y.features) + between[x.labels[:, None], y.labels]
    rows, columns = linear_sum_assignment(cost)
    return float(np.sqrt(max(cost[rows, columns].mean(), 0)))


def fixed_size(x: Labelled, size: int, seed: int) -> Labelled:
    """`size` images: a random choice, each image as often as any other or once more.

    Class moments stay those of all images. Equal sizes make transport an assignment problem.
    """
    rng = np.random.default_rng(seed)
    n = len(x.features)
    rounds = -(-size // n)
    chosen = np.concatenate([rng.permutation(n) for _ in range(rounds)])[:size]
    return Labelled(x.features[chosen], x.labels[chosen], x.means, x.deviations)
