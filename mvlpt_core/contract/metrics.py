"""Scores of a classifier: accuracy, mean-per-class accuracy, 11-point mAP and ROC AUC.

Shapes: N images, C classes, K runs, B sets of image weights (bootstrap draws), `...` any leading axes.
Every score exists once, for weighted images; the plain score is that of equal weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvlpt_core.contract.errors import InputError

METRICS = ("accuracy", "mean_per_class", "map_11point", "roc_auc")
FROM_PREDICTIONS = ("accuracy", "mean_per_class")  # metrics that predicted classes suffice for
RECALL_LEVELS = 11


def check_metric(metric: str, n_classes: int, multilabel: bool, where: str) -> None:
    """Raise `InputError`, naming `where`, if `metric` is unknown or does not fit such labels."""
    if metric not in METRICS:
        raise InputError(
            f"metric {metric!r} of {where} is unknown: expected one of {', '.join(METRICS)}"
        )
    if multilabel and metric != "map_11point":
        raise InputError(
            f"metric {metric!r} of {where} does not fit multi-label data: expected map_11point"
        )
    if metric == "map_11point" and not multilabel:
        raise InputError(
            f"metric 'map_11point' of {where} needs multi-label data, but each image has one class:"
            " expected accuracy, mean_per_class or roc_auc"
        )
    if metric == "roc_auc" and n_classes != 2:
        raise InputError(
            f"metric 'roc_auc' of {where} needs exactly 2 classes, but there are {n_classes}: "
            "expected accuracy or mean_per_class"
        )


def score(metric: str, logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Score `logits` [..., N, C] against `labels`; returns float64 [...] between 0 and 1.

    `labels` are class numbers [N], or for `map_11point` a multi-hot matrix [N, C]. The scale of
    the logits is free: only their order matters. A run with a NaN among its logits scores NaN.
    -inf is a legal logit (an excluded class). Raises `InputError` where metric and labels do not
    fit, and where the score is not defined (no images, no positives, `roc_auc` on one class).
    """
    z = np.asarray(logits)  # [..., N, C]
    y = np.asarray(labels)  # [N] or [N, C]
    if z.ndim < 2 or z.shape[-2] == 0:
        raise InputError(f"logits of shape {z.shape} hold no images: expected [..., N, C], N > 0")
    n, c = z.shape[-2:]
    check_metric(metric, c, y.ndim == 2, f"logits of shape {z.shape}")
    if y.shape != ((n, c) if y.ndim == 2 else (n,)):
        raise InputError(f"labels of shape {y.shape} do not fit logits of shape {z.shape}")
    runs = z.reshape(-1, n, c)
    outcomes = runs.argmax(-1) if metric in FROM_PREDICTIONS else runs
    result = weighted_scores(metric, outcomes, y, np.ones((1, n)))[0].reshape(z.shape[:-2])
    return np.where(np.isnan(z).any((-1, -2)), np.nan, result)


def predictions(logits: ArrayLike) -> NDArray[np.uint16]:
    """The predicted class of each image, uint16 [..., N], from `logits` [..., N, C].

    The first of equal logits wins, as in `score`. Raises `InputError` for more than 65,536 classes.
    """
    z = np.asarray(logits)
    if z.shape[-1] > 1 << 16:
        raise InputError(f"{z.shape[-1]} classes do not fit 16-bit predictions: at most 65536")
    return z.argmax(-1).astype(np.uint16)


def weighted_scores(
    metric: str, outcomes: NDArray[Any], truth: NDArray[Any], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """Scores float64 [B, K] of K runs with the images counted `weights` [B, N] times.

    `outcomes` are predicted classes [K, N] for `accuracy` and `mean_per_class`, else logits
    [K, N, C]; `truth` is class numbers [N], or multi-hot [N, C] for `map_11point`. Metrics as in
    ELEVATER: `accuracy` is the share of right images, `mean_per_class` the mean over the classes
    that occur of theirs, `roc_auc` and `map_11point` see below. O(B N K), for `map_11point`
    O(B N P K) with P positives a class.
    """
    if metric in FROM_PREDICTIONS:
        hit = outcomes == truth  # [K, N]
        if metric == "accuracy":
            # Counts of images are exact in float32, and its products are twice as fast.
            right = weights.astype(np.float32) @ hit.astype(np.float32).T
            return right.astype(np.float64) / len(truth)
        _, index, count = np.unique(truth, return_inverse=True, return_counts=True)
        return weights.astype(np.float64) @ (hit / (len(count) * count[index])).T
    if metric == "roc_auc":
        positive = truth == 1
        if positive.all() or not positive.any():
            raise InputError("roc_auc is not defined: all images are of one class, expected both")
        # The order of the two-class softmax is the order of this difference.
        margin = outcomes[..., 1].astype(np.float64) - outcomes[..., 0]
        return np.stack([_roc_auc(row, positive, weights) for row in margin], axis=1)
    if metric == "map_11point":
        if not (truth > 0).any():
            raise InputError("map_11point is not defined: no image has a positive label")
        return np.stack([_map_11point(run, truth > 0, weights) for run in outcomes], axis=1)
    raise InputError(f"metric {metric!r} is unknown: expected one of {', '.join(METRICS)}")


def _roc_auc(
    score: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """The share [B] of (positive, negative) pairs in the right order; equal scores count a half.

    The Mann-Whitney form of the area under the ROC curve (Hanley and McNeil 1982) of `score` [N].
    """
    order = np.argsort(score, kind="stable")
    first = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)  # of each group of ties
    w = weights[:, order].astype(np.float64)
    up = np.add.reduceat(w * positive[order], first, axis=1)  # [B, groups]
    down = np.add.reduceat(w * ~positive[order], first, axis=1)
    below = down.cumsum(1) - down
    return (up * (below + down / 2)).sum(1) / (up.sum(1) * down.sum(1))


def _map_11point(
    logits: NDArray[Any], positive: NDArray[np.bool_], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """Mean [B] over classes with positives of the 11-point interpolated average precision.

    AP = 1/11 sum over r in {0, 0.1, ..., 1} of the best precision at a recall of at least r
    (Everingham et al. 2010, The PASCAL VOC Challenge, eq. 1). Images of equal score enter
    together, so that the order of the images does not matter. Only precisions at positives can be
    the best at a recall; they and the recalls come from one product with the indicator "scored at
    least as high". Classes without a drawn positive are left out.
    """
    weights = weights.astype(np.float32)  # counts, exact
    total = np.zeros(len(weights))
    used = np.zeros(len(weights))
    for c in np.flatnonzero(positive.any(0)):
        own = positive[:, c]
        levels = np.unique(logits[own, c])[::-1]  # [P]
        above = (logits[:, c, None] >= levels).astype(np.float32)  # [N, P]
        count = (weights @ above).astype(np.float64)  # [B, P] images at least so high
        found = (weights[:, own] @ above[own]).astype(np.float64)  # [B, P] of these positives
        everything = found[:, -1:]
        precision = np.divide(found, count, out=np.zeros_like(found), where=count > 0)
        # Whole numbers: a recall of at least level / 10 without rounding.
        best = [
            np.where(found * (RECALL_LEVELS - 1) >= level * everything, precision, 0).max(1)
            for level in range(RECALL_LEVELS)
        ]
        drawn = everything[:, 0] > 0
        total += np.where(drawn, np.mean(best, axis=0), 0)
        used += drawn
    return total / np.maximum(used, 1)
