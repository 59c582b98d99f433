"""A temperature for a tuned prompt's probabilities, fitted to its held-out images.

Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599), section 4.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

# Fewer images, or none that is wrong, say too little of how sure a classifier may be.
_LEAST = 20
_WIDEST = np.log(20.0)


def temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float | None:
    """The temperature that minimises the mean loss of logits [N, C] on class numbers [N]; None where it
    cannot be told: with fewer than 20 images, none of them wrong, or several classes an image."""
    if labels.ndim != 1 or len(labels) < _LEAST or (logits.argmax(1) == labels).all():
        return None

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logits.astype(float) / np.exp(log_temperature), axis=1)
        return float(-log_p[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded")
    return float(np.exp(found.x))
