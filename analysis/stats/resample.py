"""Random draws of tasks, and intervals from them: the only place where they are made.

Shapes: T tasks, P permutations, B bootstrap draws.
"""

from __future__ import annotations

import numpy as np


def permutations(n_tasks: int, count: int, seed: int) -> np.ndarray:
    """Random permutations of the tasks, int64 [count, T]."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(n_tasks), (count, 1)), axis=1)


def task_counts(n_tasks: int, count: int, seed: int) -> np.ndarray:
    """How often each task is drawn in each bootstrap of tasks, float [count, T]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=count).astype(float)


def percentile_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of the defined replicates; NaN if fewer than half are defined."""
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values) or len(defined) == 0:
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean [B] of the defined values [T] counted `counts` [B, T] times; NaN where none is drawn."""
    defined = ~np.isnan(values)
    weight = counts[:, defined].sum(1)
    total = counts[:, defined] @ values[defined]
    return np.divide(total, weight, out=np.full(len(weight), np.nan), where=weight > 0)


def mean_interval(
    values: np.ndarray, counts: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
    """Mean of the defined values [T] with its percentile interval over resampled units; the interval
    is NaN below three of them."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return np.nan, np.nan, np.nan
    mean = float(defined.mean())
    if len(defined) < 3:
        return mean, np.nan, np.nan
    return mean, *percentile_interval(resampled_mean(values, counts), level)
