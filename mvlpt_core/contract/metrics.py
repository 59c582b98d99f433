"""Scores of a classifier: accuracy, mean-per-class accuracy, 11-point mAP and ROC AUC.

Shapes: N images, C classes, `...` any leading axes (for example the runs of a pack).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvlpt_core.contract.errors import InputError

METRICS = ("accuracy", "mean_per_class", "map_11point", "roc_auc")
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
    if metric == "map_11point":
        result = _map_11point(z, y > 0)
    elif metric == "roc_auc":
        # The order of the two-class softmax is the order of this difference.
        result = _roc_auc(z[..., 1].astype(np.float64) - z[..., 0], y == 1)
    else:
        result = score_predictions(metric, z.argmax(-1), y)
    return np.where(np.isnan(z).any((-1, -2)), np.nan, result)


def predictions(logits: ArrayLike) -> NDArray[np.uint16]:
    """The predicted class of each image, uint16 [..., N], from `logits` [..., N, C].

    The first of equal logits wins, as in `score`. Raises `InputError` for more than 65,536 classes.
    """
    z = np.asarray(logits)
    if z.shape[-1] > 1 << 16:
        raise InputError(f"{z.shape[-1]} classes do not fit 16-bit predictions: at most 65536")
    return z.argmax(-1).astype(np.uint16)


def score_predictions(metric: str, predicted: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Score predicted classes [..., N] against class numbers [N]; returns float64 [...].

    `accuracy` is the share of right images, `mean_per_class` the mean over the classes that occur
    in `labels` of their share of right images (balanced accuracy). Other metrics need logits:
    `InputError`.
    """
    y = np.asarray(labels)
    hit = np.asarray(predicted) == y  # [..., N]
    if metric == "accuracy":
        return hit.mean(-1, dtype=np.float64)
    if metric == "mean_per_class":
        present, index = np.unique(y, return_inverse=True)
        member = np.eye(len(present))[index]  # [N, K]: K classes that occur
        return (hit @ member / member.sum(0)).mean(-1)
    raise InputError(
        f"metric {metric!r} cannot be computed from predicted classes: "
        "expected accuracy or mean_per_class"
    )


def _map_11point(z: NDArray, positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over classes with positives of the 11-point interpolated average precision.

    AP = 1/11 sum over r in {0, 0.1, ..., 1} of the best precision at a recall of at least r
    (Everingham et al. 2010, The PASCAL VOC Challenge, eq. 1). Images of equal score enter
    together, so that the order of the images does not matter.
    """
    used = positive.any(0)
    if not used.any():
        raise InputError("map_11point is not defined: no image has a positive label")
    s = np.moveaxis(z[..., used], -1, -2).astype(np.float64)  # [..., K, N]
    order = np.argsort(-s, axis=-1, kind="stable")
    ranked = np.take_along_axis(s, order, -1)
    truth = np.take_along_axis(np.broadcast_to(positive[:, used].T, s.shape), order, -1)
    found = truth.cumsum(-1)  # [..., K, N]: positives among the first n images
    precision = found / np.arange(1, s.shape[-1] + 1)
    last_of_tie = np.ones(s.shape, bool)
    last_of_tie[..., :-1] = ranked[..., :-1] != ranked[..., 1:]
    precision[~last_of_tie] = 0.0
    total = found[..., -1:]
    ap = np.zeros(s.shape[:-1])
    for level in range(RECALL_LEVELS):  # whole numbers: recall >= level / 10 without rounding
        reached = found * (RECALL_LEVELS - 1) >= level * total
        ap += np.where(reached, precision, 0.0).max(-1)
    return (ap / RECALL_LEVELS).mean(-1)


def _roc_auc(s: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of (positive, negative) pairs in the right order; equal scores count a half.

    The Mann-Whitney form of the area under the ROC curve (Hanley and McNeil 1982). `s` [..., N].
    """
    if positive.all() or not positive.any():
        raise InputError("roc_auc is not defined: all images are of one class, expected both")
    flat = s.reshape(-1, s.shape[-1])
    auc = np.empty(len(flat))
    for i, row in enumerate(flat):
        negatives = np.sort(row[~positive])
        below = np.searchsorted(negatives, row[positive], "left")
        not_above = np.searchsorted(negatives, row[positive], "right")
        auc[i] = (below + not_above).mean() / (2 * len(negatives))
    return auc.reshape(s.shape[:-1])
