"""Best linear predictions of a source x target matrix's cells under the social relations model.

A measured cell is what repeats (mean, source, target and pair) and what does not. Its best linear
unbiased prediction (Henderson 1975, Biometrics 31, 423-447) pulls it towards what its source, its target
and the opposite direction tell, the more so the more of its variance does not repeat. Variances are
taken as known and as equal in all cells: they are the moments of `stats.social`, cut at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .social import MIN_TASKS, covariances


@dataclass(frozen=True)
class Relations:
    """Variances of source, target and pair, the covariance of what a task gives and takes (`both`) and
    that of the two directions of a pair (`opposite`), in squared units of the gains."""

    source: float = 0.0
    target: float = 0.0
    pair: float = 0.0
    both: float = 0.0
    opposite: float = 0.0

    @staticmethod
    def possible(
        source: float, target: float, pair: float, both: float, opposite: float
    ) -> Relations:
        """Estimates made into variances of at least 0 and correlations from -1 to 1; unknown is 0."""
        source, target, pair = (float(np.nan_to_num(max(v, 0.0))) for v in (source, target, pair))
        most = float(np.sqrt(source * target))
        return Relations(
            *(source, target, pair),
            float(np.clip(np.nan_to_num(both), -most, most)),
            float(np.clip(np.nan_to_num(opposite), -pair, pair)),
        )

    def between(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The covariances [n, n] of cells (sources[i], targets[i])."""
        source = sources[:, None] == sources
        target = targets[:, None] == targets
        crossed = sources[:, None] == targets
        return (
            self.source * source
            + self.target * target
            + self.pair * (source & target)
            + self.both * (crossed.astype(float) + crossed.T)
            + self.opposite * (crossed & crossed.T)
        )


def shrunk(gains: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
    """Predictions [T, T] of what repeats in `gains` [K, T, T], K seeds, rows sources; NaN on the diagonal and
    where no seed has a gain.

    With several seeds what does not repeat is estimated from them. With one, pair and seed cannot be
    told apart: `noise` [T, T] holds the variances of errors that are known (of test images), the rest counts
    as repeating, and too little is shrunk. All NaN for one seed without `noise`, and for fewer than
    `MIN_TASKS` tasks. O(cells^3).
    """
    gains = np.array(gains, dtype=float)
    tasks = np.arange(gains.shape[1])
    gains[:, tasks, tasks] = np.nan
    known = np.isfinite(gains)
    several = bool((known.sum(0) > 1).any())
    out = np.full(gains.shape[1:], np.nan)
    used = known.any((0, 1)) | known.any((0, 2))
    if used.sum() < MIN_TASKS or not (several or noise is not None):
        return out
    sources, targets = np.nonzero(known.any(0))
    counts = known.sum(0)[sources, targets]
    means = np.where(known, gains, 0).sum(0)[sources, targets] / counts
    within, repeated = (
        {name: float(value[0]) for name, value in found.items()}
        for found in covariances(gains[:, None], several)
    )
    if several:
        seed = Relations.possible(**{name: within[name] - repeated[name] for name in within})
        there = known[:, sources, targets].astype(float)
        errors = seed.between(sources, targets) * (there.T @ there) / np.outer(counts, counts)
    else:
        variances = np.nan_to_num(np.asarray(noise, dtype=float)[sources, targets])
        repeated["pair"] -= float(variances.mean())
        errors = np.diag(variances)
    signal = Relations.possible(**repeated).between(sources, targets)
    out[sources, targets] = predicted(means, signal, errors)
    return out


def predicted(means: np.ndarray, signal: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Predictions [n] of cells with measured `means` [n], from the covariances [n, n] of what repeats and of
    the errors; the common mean is that of generalised least squares."""
    whole = signal + errors
    size = float(np.trace(whole)) / len(means)
    if not size > 0:
        return means
    # Where components are 0 the matrix is singular, in directions that the gains do not have.
    whole = whole + 1e-10 * size * np.eye(len(means))
    ones = np.linalg.solve(whole, np.ones(len(means)))
    centre = float(ones @ means / ones.sum())
    return centre + signal @ np.linalg.solve(whole, means - centre)
