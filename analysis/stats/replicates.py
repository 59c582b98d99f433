"""The noise of seeds in a study of one seed, from some pairs that were run with a second one.

Half the squared difference of a pair's two gains is an unbiased estimate of the variance of one seed's
gain; nothing has to be known of the pair. Differences of a target share its run from random and its
few-shot sample, those of a source its prompt, so that they tell less than as many independent ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Seed noise differs between pairs, and that of a pair without a replicate is not known. Its variances are
# taken as those with so many prior degrees of freedom (Smyth 2004, as in `stats.variance`): their standard
# deviation is then their mean. What a few pairs show of it is too uncertain to go by; docs/plan.md tells how
# well this number does. A gain's error is t with these; its mean square is that of the replicates.
UNEVEN = 6.0
FEWEST = 4  # differences: fewer tell next to nothing of a variance


def scale_and_df(df: float) -> tuple[float, float]:
    """What the mean variance of gains is multiplied by for the squared scale of t, and t's degrees of
    freedom, where `df` of the variance's estimate are known and variances are `UNEVEN`."""
    return (UNEVEN - 2) / UNEVEN, 1 / (1 / df + 1 / UNEVEN)


@dataclass(frozen=True)
class SeedNoise:
    """The mean variance of one seed's gain about its mean over seeds, the part of it that is common to a
    target's pairs, and the degrees of freedom of this estimate."""

    variance: float
    shared: float
    df: float


def seed_noise(differences: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> SeedNoise:
    """From differences [n] of two seeds' gains, n at least 1, and their sources and targets [n].

    Variance: the mean of squares, halved; no mean is taken off, for two seeds are alike. Shared: the
    mean of products of two pairs of a target, halved, at least 0 and at most the variance; 0 where no
    target has two. Degrees of freedom (Satterthwaite 1946, Biometrics Bulletin 2, 110-114) are
    2 v^2 / var(v), with the larger of two estimates of var(v): that of normal differences with these
    correlations, and the spread of the squares between targets, which is larger where seed noise differs
    between pairs.
    """
    d = np.asarray(differences, dtype=float) / np.sqrt(2)
    count, products, other = len(d), np.outer(d, d), ~np.eye(len(d), dtype=bool)
    variance = float(np.mean(d**2))
    if not variance > 0:
        return SeedNoise(0.0, 0.0, float(count))
    together = float(count)
    shared = 0.0
    for place, names in enumerate((targets, sources)):
        same = (np.asarray(names)[:, None] == np.asarray(names)) & other
        if same.any():
            part = float(np.clip(products[same].mean(), 0.0, variance))
            together += same.sum() * (part / variance) ** 2
            shared = shared if place else part
    _, number = np.unique(targets, return_inverse=True)
    spread = float((np.bincount(number, d**2 - variance) ** 2).sum()) / count**2
    normal = 2 * variance**2 * together / count**2
    return SeedNoise(variance, shared, max(1.0, 2 * variance**2 / max(normal, spread)))
