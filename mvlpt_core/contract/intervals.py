"""How a score, and a difference of two on the same images, would vary with other images.

K runs, N images, B draws.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mvlpt_core.contract.metrics import weighted_scores

# Images times draws held at once, in float32: 128 MB.
_BLOCK = 32_000_000


class Interval(NamedTuple):
    """A number with the ends of its interval."""

    value: float
    low: float
    high: float


def score_interval(
    metric: str,
    outcomes: NDArray[Any],
    truth: NDArray[Any],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """A score with its interval over test images, of the outcomes of one run (as `metrics.weighted_scores`
    takes them, without the axis of runs).

    Accuracy has the exact binomial interval (Clopper and Pearson 1934, Biometrika 26), other metrics the
    image bootstrap.
    """
    if metric == "accuracy":
        right, n = int((outcomes == truth).sum()), len(truth)
        tail = (1 - level) / 2
        low = stats.beta.ppf(tail, right, n - right + 1) if right else 0.0
        high = stats.beta.ppf(1 - tail, right + 1, n - right) if right < n else 1.0
        return Interval(right / n, float(low), float(high))
    return _bootstrapped(metric, outcomes[None], truth, level, draws, seed, "")


def gain_interval(
    metric: str,
    before: NDArray[Any],
    after: NDArray[Any],
    truth: NDArray[Any],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    task: str = "",
) -> Interval:
    """What `after` adds to `before` on the same images, as a study's gains of one seed have it (`task` seeds
    the draws there)."""
    return _bootstrapped(metric, np.stack([after, before]), truth, level, draws, seed, task)


def _bootstrapped(
    metric: str,
    runs: NDArray[Any],
    truth: NDArray[Any],
    level: float,
    draws: int,
    seed: int,
    task: str,
) -> Interval:
    """The score of the first run, less that of the second where there is one."""
    rng = np.random.default_rng([seed, zlib.crc32(task.encode())])
    counts = image_counts(metric, truth, draws, rng)
    drawn = np.concatenate([weighted_scores(metric, runs, truth, block) for block in counts])
    exact = weighted_scores(metric, runs, truth, np.ones((1, len(truth)), np.float32))
    sign = np.array([1, -1])[: len(runs)]
    # Sums of products differ in the last digits even for equal predictions: a gain is 0 then.
    value, values = np.round(exact @ sign, 9), np.round(drawn @ sign, 9)
    low, high = np.quantile(values, expanded_tails(len(truth), level))
    return Interval(float(value[0]), float(low), float(high))


def expanded_tails(n: int, level: float) -> list[float]:
    """The shares of bootstrap draws below an interval's ends, of `n` resampled images.

    The percentile interval, widened by the t quantile and sqrt(n / (n - 1)) ("expanded percentile",
    Hesterberg 2015, The American Statistician 69, section 4.4): the plain one is too narrow.
    """
    # Tails of the normal distribution at which the t interval with exact variance would end.
    end = stats.t.ppf(0.5 + level / 2, n - 1) * np.sqrt(n / (n - 1)) if n > 1 else np.inf
    return [stats.norm.sf(end), stats.norm.cdf(end)]


def image_counts(
    metric: str, labels: NDArray[Any], draws: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Blocks of bootstrap counts float32 [b, N]; within classes where a class must not be lost."""
    n = len(labels)
    strata = labels if metric in ("mean_per_class", "roc_auc") else np.zeros(n, dtype=int)
    members = [np.flatnonzero(strata == value) for value in np.unique(strata)]
    block = max(1, _BLOCK // n)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        counts = np.zeros((size, n), np.float32)
        for index in members:
            k = len(index)
            drawn = rng.integers(0, k, (size, k)) + np.arange(size)[:, None] * k
            counts[:, index] = np.bincount(drawn.ravel(), minlength=size * k).reshape(size, k)
        yield counts
