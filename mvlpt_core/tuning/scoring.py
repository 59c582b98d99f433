"""Scores of R prompts on a split, and their per-image outcomes in a compact form."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core.contract import metrics
from mvlpt_core.prompts.modules import Vectors
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from mvlpt_core.tuning.loop import Evaluation

# Image tokens of one scoring pass, over all runs: enough to keep the processor busy, small enough to
# stay far from any memory limit.
_TOKENS_A_PASS = 1 << 16


def outcome_kind(metric: str) -> str:
    """How outcomes are stored: predicted classes suffice for accuracies, other metrics need logits."""
    return "prediction_u16" if metric in ("accuracy", "mean_per_class") else "logits_f16"


def outcomes(logits: NDArray[np.floating], metric: str) -> bytes:
    """One run's outcomes [N, C] as bytes: uint16 [N] predictions or float16 [N, C] logits."""
    if outcome_kind(metric) == "prediction_u16":
        return metrics.predictions(logits).astype("<u2").tobytes()
    return logits.astype("<f2").tobytes()


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
            for part in pool.inputs.split(images)
        ],
        1,
    )


def evaluate(
    classifier: Classifier,
    vectors: Vectors,
    pool: Pool,
    labels: NDArray[np.generic],
    metric: str,
    *,
    step: int,
    split: str,
) -> Evaluation:
    """Score, loss and (on the test split) outcomes of every run.

    `labels` are the task's own, class numbers [N] or multi-hot [N, C]. A run with a logit that is
    not a number scores NaN.
    """
    logits = pool_logits(classifier, vectors, pool)
    run_losses = losses(logits, pool).double().cpu().tolist()
    values = logits.float().cpu().numpy()
    kept: list[bytes | None] = [
        outcomes(run, metric) if split == "test" and np.isfinite(run).all() else None
        for run in values
    ]
    scores = np.atleast_1d(metrics.score(metric, values, labels)).tolist()
    return Evaluation(step, split, scores, run_losses, kept, len(pool))
