"""Similarities of two tasks from class names, mean features, centroids and prompts.

Every function is pure and returns a float; higher means more alike. Shapes: N images, D feature
size, C classes, L prompt layers, V context vectors a layer, W their width.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """x'y / (|x| |y|), -1..1, symmetric, O(D); NaN if a vector is 0 or not finite."""
    x, y = np.ravel(x).astype(float), np.ravel(y).astype(float)
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    if not np.isfinite(scale) or scale == 0:
        return np.nan
    return float(np.clip(x @ y / scale, -1, 1))


def mean_cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Cosine of the mean rows of x [N, D] and y [M, D].

    The task similarity of Vu et al. 2022 (SPoT, section 3.2) on features instead of prompts.
    -1..1, symmetric, 1 for a task with itself, O((N + M) D).
    """
    return cosine(x.mean(0), y.mean(0))


def class_centroids(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean feature of each class that occurs [C', D]; labels [N] or multi-hot [N, C]. O(N C D)."""
    member = np.asarray(labels, dtype=float)
    if member.ndim == 1:
        member = (member[:, None] == np.unique(member)).astype(float)
    member = member[:, member.any(0)]
    return member.T @ features / member.sum(0)[:, None]


def best_match(x: np.ndarray, y: np.ndarray) -> float:
    """Mean cosine of rows of x [C, D] and y [C', D] under the best one-to-one assignment.

    Kuhn 1955; every row of the smaller side is matched, so a task whose classes are contained in
    another's scores 1. -1..1, symmetric, O(C C' D + C^3).
    """
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    y = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12)
    products = x @ y.T
    rows, columns = linear_sum_assignment(products, maximize=True)
    return float(np.clip(products[rows, columns].mean(), -1, 1))


def shared_names(x: Sequence[str], y: Sequence[str]) -> float:
    """Jaccard index of two sets of class names, without case and outer blanks.

    Jaccard 1912. 0..1, symmetric, 1 for the same names, O(C + C').
    """
    a, b = ({name.strip().casefold() for name in names} for names in (x, y))
    return len(a & b) / len(a | b) if a | b else np.nan


def prompt_concat(x: Sequence[np.ndarray], y: Sequence[np.ndarray]) -> float:
    """Cosine of two prompts, the tensors of each ([..., V, W]) flattened and in a row.

    Su et al. 2022, On Transferability of Prompt Tuning, section 6 (cosine, concatenated).
    -1..1, symmetric, 1 with itself, O(L V W).
    """
    return cosine(np.concatenate([t.ravel() for t in x]), np.concatenate([t.ravel() for t in y]))


def prompt_tokens(x: Sequence[np.ndarray], y: Sequence[np.ndarray]) -> float:
    """Mean cosine of all pairs of context vectors of the same layer; mean over layers, tensors.

    Su et al. 2022, section 6 (cosine, average). Blind to the order of vectors. -1..1, symmetric,
    with itself 1 only if all its vectors point one way. O(L V W).
    """
    values = []
    for a, b in zip(x, y, strict=True):
        for p, q in zip(_layers(a), _layers(b), strict=True):
            # The mean over pairs of unit vectors is the product of their means.
            values.append(_unit(p).mean(0) @ _unit(q).mean(0))
    return float(np.clip(np.mean(values), -1, 1)) if values else np.nan


def prompt_match(x: Sequence[np.ndarray], y: Sequence[np.ndarray]) -> float:
    """Mean, over the context vectors of two prompts, of the greatest cosine with a vector of the other in the
    same layer; mean over both directions, layers, tensors.

    The matching of BERTScore (Zhang et al. 2020, section 3, without its weights) on context vectors.
    Blind to the order of vectors. -1..1, symmetric, 1 with itself, O(L V^2 W).
    """
    values = []
    for a, b in zip(x, y, strict=True):
        for p, q in zip(_layers(a), _layers(b), strict=True):
            cosines = _unit(p) @ _unit(q).T  # [V, V]
            values.append((cosines.max(0).mean() + cosines.max(1).mean()) / 2)
    return float(np.clip(np.mean(values), -1, 1)) if values else np.nan


def _layers(tensor: np.ndarray) -> np.ndarray:
    """A prompt tensor as [L, V, W]."""
    return tensor.reshape(-1, *tensor.shape[-2:]).astype(float)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of length 0 stay 0."""
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1)
