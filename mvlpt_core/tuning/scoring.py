"""Scores of R prompts on a split, and their per-image outcomes in a compact form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core.backbone.ahead import on_device
from mvlpt_core.contract import metrics, outcomes
from mvlpt_core.prompts.modules import Vectors
from mvlpt_core.tuning.classifier import Classifier, Pool, losses

# Image tokens of one scoring pass, over all runs: enough to keep the processor busy, small enough to
# stay far from any memory limit.
_TOKENS_A_PASS = 1 << 16


@dataclass(frozen=True)
class Evaluation:
    """Scores of `runs` on one split of one task after `step` steps; lists have one entry a run."""

    step: int
    split: str
    target: str
    runs: list[int]
    scores: list[float]
    losses: list[float]
    outcomes: list[bytes | None]
    n: int


@torch.no_grad()
def pool_logits(classifier: Classifier, vectors: Vectors, pool: Pool) -> Tensor:
    """Logits [R, N, C] of a whole pool, its images encoded in passes of bounded size."""
    text = classifier.text(vectors)
    if pool.inputs.dtype != torch.uint8 or len(pool) == 0:
        return classifier.logits(text, classifier.image(vectors, pool.inputs))
    runs = 1 if vectors.visual is None else len(vectors.visual)
    tokens = runs * classifier.backbone.image.position.shape[0]
    images = max(1, _TOKENS_A_PASS // tokens)
    return torch.cat(
        [
            classifier.logits(text, classifier.image(vectors, part))
            for part in on_device(pool.inputs.split(images), classifier.backbone.device)
        ],
        1,
    )


def evaluation(
    logits: Tensor,
    pool: Pool,
    labels: NDArray[Any],
    metric: str,
    *,
    step: int,
    split: str,
    target: str,
    runs: list[int],
) -> Evaluation:
    """Score, loss and (on the test split) outcomes of the `runs` that `logits` [R, N, C] belong to.

    `labels` are the task's own, class numbers [N] or multi-hot [N, C]. A run with a logit that is
    not a number scores NaN.
    """
    values = logits.float().cpu().numpy()
    kept = [
        outcomes.encode(run, metric) if split == "test" and np.isfinite(run).all() else None
        for run in values
    ]
    return Evaluation(
        step,
        split,
        target,
        runs,
        np.atleast_1d(metrics.score(metric, values, labels)).tolist(),
        losses(logits, pool).double().cpu().tolist(),
        kept,
        len(pool),
    )
