"""What a run says about each test image, and the truth, as compact bytes.

Outcomes of N images and C classes: predicted classes suffice for accuracies, other metrics need
logits. Logits are kept in float32, the precision they are scored in: half precision makes ties.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.metrics import predictions

PREDICTION, LOGITS = "prediction_u16", "logits_f32"


def kind(metric: str) -> str:
    """How the outcomes of a task with this metric are stored."""
    return PREDICTION if metric in ("accuracy", "mean_per_class") else LOGITS


def encode(logits: NDArray[np.floating], metric: str) -> bytes:
    """One run's logits [N, C] as outcomes: uint16 [N] predictions or float32 [N, C] logits."""
    if kind(metric) == PREDICTION:
        return predictions(logits).astype("<u2").tobytes()
    return logits.astype("<f4").tobytes()


def decode(raw: bytes, stored: str, n: int, where: str) -> NDArray[np.generic]:
    """Outcomes of `n` images: predictions uint16 [n] or logits float32 [n, C].

    Raises `InputError`, naming `where`, for an unknown kind or bytes that do not fit `n` images.
    """
    if stored not in (PREDICTION, LOGITS):
        raise InputError(f"{where}: outcome_kind is '{stored}': expected {PREDICTION} or {LOGITS}")
    size = 2 if stored == PREDICTION else 4
    count = len(raw) // size
    if len(raw) % size or count == 0 or (count != n if stored == PREDICTION else count % n):
        raise InputError(f"{where}: {count} stored outcomes do not fit {n} test images")
    if stored == PREDICTION:
        return np.frombuffer(raw, "<u2")
    return np.frombuffer(raw, "<f4").reshape(n, -1)


def encode_truth(labels: ArrayLike) -> bytes:
    """Test labels as bytes: uint16 [N] class numbers, or uint8 [N, C] multi-hot."""
    y = np.asarray(labels)
    return y.astype("<u2" if y.ndim == 1 else "u1").tobytes()


def decode_truth(raw: bytes, n: int, metric: str) -> NDArray[np.integer]:
    """The labels [n] or multi-hot [n, C] (for `map_11point`) that `encode_truth` stored."""
    if metric == "map_11point":
        return np.frombuffer(raw, "u1").reshape(n, -1)
    return np.frombuffer(raw, "<u2").astype(np.int64)
