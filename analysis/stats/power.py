"""The smallest gain that a design can tell from 0, before it runs.

Noise of a gain, in scores (0..1): S seeds, n test images, T tasks.

    one pair    se^2 = s^2 / S + (d - g^2) / n
    all pairs   se^2 = (a^2 + b^2 / S) / T

s is the standard deviation of a pair's gain over seeds (few-shot sample, start and data order), drawn
anew for every pair with `seed_df` prior degrees of freedom (Smyth 2004, as in `stats.variance`); d is
the share of test images on which run and scratch differ in being right, so that (d - g^2) / n is the
variance of a difference of paired proportions (Connor 1987, Biometrics 43, 207-211). It does not
shrink with seeds, which are scored on the same images. a is the standard deviation of tasks behind a
method's mean gain and b what seeds add to a task's: tasks are the units, each in both roles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from .multiplicity import ALPHA

POWER = 0.8
_POINTS = 400  # quantiles of the variances that pairs may have


@dataclass(frozen=True)
class Noise:
    """How gains of a method vary, as a pilot showed it (all but `seed_df` in scores or shares)."""

    seed_sd: float
    seed_df: float
    discordant: float
    task_sd: float
    task_seed_sd: float


def smallest_effect(se: float, df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The effect that a two-sided t test at `alpha` finds with probability `power`.

    Solves `t_power` = power for the noncentrality effect / se (Cohen 1988, Statistical Power Analysis,
    section 2.5). NaN without a standard error or degrees of freedom.
    """
    if not (np.isfinite(se) and df > 0):
        return float("nan")
    return se * _root(lambda shift: t_power(shift, df, alpha), power)


def t_power(shift: float, df: float, alpha: float = ALPHA) -> float:
    """Probability that a two-sided t test at `alpha` rejects where t's noncentrality is `shift`."""
    end = stats.t.ppf(1 - alpha / 2, df)
    # The other tail is below the normal probability of -shift; where that is nothing, scipy may say NaN.
    other = stats.nct.cdf(-end, df, shift) if shift < 8 else 0.0
    return float(stats.nct.sf(end, df, shift) + other)


def smallest_pair_gain(
    noise: Noise, seeds: int, images: int, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest gain of a pair that is told from 0, for claims about new seeds and images: the
    share `power` of pairs with this gain is found at `alpha`, two-sided."""
    return _root(lambda gain: pair_power(gain, noise, seeds, images, alpha), power)


def pair_power(gain: float, noise: Noise, seeds: int, images: int, alpha: float = ALPHA) -> float:
    """Probability that a pair's gain is told from 0 by a t test with moderated variance.

    The posterior variance of a pair is v = (d0 s^2 + (S - 1) w) / (d0 + S - 1) with w / s^2 from
    F(S - 1, d0); given v, the mean gain varies about the true one as sqrt(v / S) times Student's t with
    d0 + S - 1 degrees of freedom. The probability is the mean over v, taken at `_POINTS` quantiles of
    F. The images' part of the error is added to v / S and the degrees of freedom are left as they are:
    conservative where images are most of the error, and never better for fewer images.
    """
    within = max(0.0, noise.discordant - gain**2) / images
    if noise.seed_sd == 0:
        if within == 0:
            return 1.0 if gain else 0.0
        shift, end = gain / np.sqrt(within), stats.norm.ppf(1 - alpha / 2)
        return float(stats.norm.sf(end - shift) + stats.norm.cdf(-end - shift))
    own, prior = seeds - 1, noise.seed_df
    drawn = np.ones(1)
    if own:
        drawn = stats.f.ppf((np.arange(_POINTS) + 0.5) / _POINTS, own, prior)
    between = noise.seed_sd**2 * (prior + own * drawn) / (prior + own) / seeds
    total = between + within
    df = prior + own
    shift, end = gain / np.sqrt(total), stats.t.ppf(1 - alpha / 2, df)
    return float(np.mean(stats.t.sf(end - shift, df) + stats.t.cdf(-end - shift, df)))


def _root(probability: Callable[[float], float], power: float) -> float:
    """Where an increasing probability of a positive number is `power`."""
    top = 1e-3
    while probability(top) < power:
        top *= 2
    return float(brentq(lambda value: probability(value) - power, 0.0, top, xtol=1e-9))


def smallest_mean_gain(
    noise: Noise, seeds: int, tasks: int, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest mean gain over all pairs of a method that is told from 0, for new tasks; its t has
    T - 1 degrees of freedom."""
    se = np.sqrt((noise.task_sd**2 + noise.task_seed_sd**2 / seeds) / tasks)
    return smallest_effect(float(se), tasks - 1, alpha, power)
