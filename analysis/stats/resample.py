"""Random draws of tasks, and intervals from them: the only place where they are made.

Shapes: T tasks, N units (tasks, targets), P permutations, B bootstrap draws. A seed may be a generator,
which then goes on from where it is.
"""

from __future__ import annotations

import numpy as np

MIN_UNITS = 3  # resamples of fewer units say nothing of how a mean varies


def permutations(n_tasks: int, count: int, seed: int) -> np.ndarray:
    """Random permutations of the tasks, int64 [count, T]."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(n_tasks), (count, 1)), axis=1)


def task_counts(n_tasks: int, count: int, seed: int) -> np.ndarray:
    """How often each task is drawn in each bootstrap of tasks, float [count, T]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=count).astype(float)


def unit_counts(n: int, count: int, seed: int | np.random.Generator) -> np.ndarray:
    """How often each of `n` units is drawn, float [count, N]: as `task_counts`, but drawn one by one,
    so that tables keep the numbers that they have always had."""
    drawn = np.random.default_rng(seed).integers(max(n, 1), size=(count, n))
    place = drawn + n * np.arange(count)[:, None]
    return np.bincount(place.ravel(), minlength=count * n).reshape(count, n).astype(float)


def percentile_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of the defined replicates [B]; NaN if fewer than half are defined."""
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values) or len(defined) == 0:
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean [B] of the defined values [N] counted `counts` [B, N] times; NaN where none is drawn."""
    defined = ~np.isnan(values)
    weight = counts[:, defined].sum(1)
    total = counts[:, defined] @ values[defined]
    return np.divide(total, weight, out=np.full(len(weight), np.nan), where=weight > 0)


def bootstrap_mean(
    values: np.ndarray, counts: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
    """Mean, low and high of the defined values [N]: the percentile interval of means over units drawn
    `counts` [B, N] times, NaN below `MIN_UNITS` defined values."""
    defined = values[~np.isnan(values)]
    mean = float(defined.mean()) if len(defined) else np.nan
    if len(defined) < MIN_UNITS:
        return mean, np.nan, np.nan
    return mean, *percentile_interval(resampled_mean(values, counts), level)
