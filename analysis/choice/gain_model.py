"""Ridge model of gains: standardised similarities and source effects, within targets.

gain[s, t] = level[t] + sum_k beta[k] z[k, s, t] + effect[s] + error, with z the similarity centred
within its target and scaled over the study. Centring gains within each target removes the target's
level, which no ranking depends on; two ridge penalties, one on beta and one on the source effects,
are chosen by leaving out one training target at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..read.pairs import pivot

# Prior rows that pull a standardised coefficient, and a source's effect, to zero.
PENALTIES = [(x, a) for x in (1.0, 10.0, 100.0, 1e4) for a in (1.0, 4.0, 16.0, 64.0, 1e6)]


@dataclass(frozen=True)
class Grid:
    """Gains [S, T] (NaN = self or unknown) and similarities [K, S, T] of one method; `lost` [S, T]: pairs
    that were run but have no gain, all their runs having diverged (None: there are none)."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    measures: tuple[str, ...]
    gain: np.ndarray
    features: np.ndarray
    lost: np.ndarray | None = None

    @property
    def unmeasured(self) -> np.ndarray:
        """[S, T]: pairs of two tasks that were not run."""
        absent: np.ndarray = ~(np.isfinite(self.gain) | self.own)
        return absent if self.lost is None else absent & ~self.lost

    @property
    def own(self) -> np.ndarray:
        """[S, T]: whether source and target are one task."""
        return _same(self.sources, self.targets)

    @staticmethod
    def from_frames(
        gains: pd.DataFrame,
        similarity: pd.DataFrame | None,
        measures: Sequence[str] | None = None,
        value: str = "gain",
    ) -> Grid:
        """See `ranking.rank_quality` for the frames. Raises InputError for a pair given twice, and
        for a measure that the similarity table does not have."""
        if gains.duplicated(["source", "target"]).any():
            pair = gains[gains.duplicated(["source", "target"])].iloc[0]
            raise InputError(
                f"gains: source '{pair['source']}', target '{pair['target']}' occurs twice: "
                "expected one row a pair of one method"
            )
        sources = tuple(gains["source"].unique())
        targets = tuple(gains["target"].unique())
        gain = _wide(gains, value, sources, targets)
        gain[_same(sources, targets)] = np.nan
        lost = _wide(gains.assign(run=1.0), "run", sources, targets) == 1
        lost &= ~np.isfinite(gain) & ~_same(sources, targets)
        known = [] if similarity is None else list(similarity["measure"].unique())
        chosen = tuple(known if measures is None else measures)
        layers = []
        for name in chosen:
            if similarity is None or name not in known:
                raise InputError(
                    f"similarity: measure '{name}' is missing: expected one of {', '.join(known)}"
                )
            rows = similarity[similarity["measure"] == name]
            layers.append(_wide(rows, "value", sources, targets))
        features = np.array(layers).reshape(len(chosen), len(sources), len(targets))
        return Grid(sources, targets, chosen, gain, features, lost)


def _same(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    same: np.ndarray = np.array(sources)[:, None] == np.array(targets)[None, :]
    return same


def _wide(
    frame: pd.DataFrame, value: str, sources: Sequence[str], targets: Sequence[str]
) -> np.ndarray:
    """A matrix [S, T], on a grid of 1e-12 of its largest value: means that are equal but for the order in
    which they were added up are ties, whatever is ranked by them."""
    values = pivot(frame, value).reindex(index=list(sources), columns=list(targets)).to_numpy(float)
    size = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    return np.round(values / size, 12) * size


@dataclass(frozen=True)
class GainModel:
    """A fitted model; `predict` takes a new target's similarities to the model's sources."""

    level: float
    scale: np.ndarray  # [K]
    beta: np.ndarray  # [K]
    effect: np.ndarray  # [S]
    penalty: tuple[float, float]

    def predict(self, features: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Expected gain [S] from `features` [K, S]; NaN for sources that are no `candidates` [S].

        A similarity that is missing counts as the target's mean."""
        if not candidates.any():
            return np.full(len(candidates), np.nan)
        z = _centred(features, candidates[None]) / self.scale[:, None]
        effect = self.effect - self.effect[candidates].mean()
        return np.where(candidates, self.level + self.beta @ z + effect, np.nan)


def _centred(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`features` [..., S] less their mean over known entries; unknown ones become 0."""
    known = known & np.isfinite(features)
    filled = np.where(known, features, 0.0)
    mean = filled.sum(-1, keepdims=True) / np.maximum(known.sum(-1, keepdims=True), 1)
    return np.where(known, features - mean, 0.0)


def fit(grid: Grid) -> GainModel:
    """Fit on all targets of `grid` that have two candidates or more.

    Cost: len(PENALTIES) * T linear systems of size K + S: a target is left out by subtracting its
    Gram matrix from the sum, which spares a refit for each target and penalty. Without any usable
    target the model predicts 0 throughout.
    """
    K, S = len(grid.measures), len(grid.sources)
    known = np.isfinite(grid.gain).T  # [T, S]
    usable = known.sum(1) >= 2
    known, gain = known[usable], grid.gain.T[usable]
    z = _centred(grid.features.transpose(0, 2, 1)[:, usable], known[None])  # [K, T, S]
    count = max(int(known.sum()), 1)
    scale = np.sqrt((z**2).sum((1, 2)) / count)
    # A constant measure carries nothing: its rounding noise must not be blown up to unit size.
    size = np.nanmax(np.abs(np.where(np.isfinite(grid.features), grid.features, 0)), (1, 2))
    scale = np.where(scale > 1e-9 * np.maximum(size, 1e-300), scale, np.inf)
    if not usable.any():
        return GainModel(0.0, scale, np.zeros(K), np.zeros(S), PENALTIES[-1])
    y = _centred(gain, known)  # [T, S]
    dummies = np.eye(S)[None] * known[:, :, None]
    dummies = (dummies - known[:, None, :] / known.sum(1)[:, None, None]) * known[:, :, None]
    design = np.concatenate([(z / scale[:, None, None]).transpose(1, 2, 0), dummies], axis=2)
    gram = np.einsum("tsp,tsq->tpq", design, design)  # [T, P, P]
    moment = np.einsum("tsp,ts->tp", design, y)
    penalty = np.array([[x] * K + [a] * S for x, a in PENALTIES])  # [G, P]
    ridge = penalty[:, None, :, None] * np.eye(K + S)
    best = len(PENALTIES) - 1
    if len(gram) >= 2:
        left = (gram.sum(0) - gram)[None] + ridge  # [G, T, P, P]: one target left out of each
        coef = np.linalg.solve(left, (moment.sum(0) - moment)[None, :, :, None])[..., 0]
        error = np.einsum("gtp,tpq,gtq->gt", coef, gram, coef) - 2 * (coef * moment).sum(-1)
        best = int(error.sum(1).argmin())
    coef = np.linalg.solve(gram.sum(0) + ridge[best, 0], moment.sum(0))
    level = float((np.where(known, gain, 0).sum(1) / known.sum(1)).mean())
    return GainModel(level, scale, coef[:K], coef[K:], PENALTIES[best])


def leave_family_out(grid: Grid, families: Mapping[str, str]) -> np.ndarray:
    """Gains predicted for each target, of sources of other `families` (task -> family; without one a task is
    its own), by a model that knows nothing of its family, as targets or as sources: [S, T], NaN elsewhere."""
    own, given = (
        np.array([families.get(task, task) for task in tasks])
        for tasks in (grid.targets, grid.sources)
    )
    predicted = np.full_like(grid.gain, np.nan)
    for family in np.unique(own):
        gain = grid.gain.copy()
        gain[:, own == family] = np.nan
        gain[given == family] = np.nan
        model = fit(replace(grid, gain=gain))
        for t in np.flatnonzero(own == family):
            candidates = np.isfinite(grid.gain[:, t]) & (given != family)
            predicted[:, t] = model.predict(grid.features[:, :, t], candidates)
    return predicted


def leave_one_out(grid: Grid, drop_source: bool) -> np.ndarray:
    """Gains predicted for each target by a model that never saw it: [S, T], NaN off candidates.

    With `drop_source` the task's rows as a *source* of other targets are left out as well: what
    can be said of a task that the study does not contain.
    """
    predicted = np.full_like(grid.gain, np.nan)
    for t, target in enumerate(grid.targets):
        candidates = np.isfinite(grid.gain[:, t])
        if not candidates.any():
            continue
        gain = grid.gain.copy()
        gain[:, t] = np.nan
        if drop_source and target in grid.sources:
            gain[grid.sources.index(target)] = np.nan
        model = fit(replace(grid, gain=gain))
        predicted[:, t] = model.predict(grid.features[:, :, t], candidates)
    return predicted
