"""Gains of pairs that were not measured, from those that were: the completion of a designed part of the grid.

gain[s, t] = mean + source[s] + target[t] + sum_k beta[k] z[k, s, t] + error, with z the similarities scaled
over the grid; ridge penalties on source, target and beta are chosen by cross-validation over measured cells.
What the model leaves is completed by a matrix of low rank (soft-thresholded singular values: Mazumder,
Hastie and Tibshirani 2010, JMLR 11, algorithm 1), where that helps cells left out. The interval of a cell is
that of the errors on cells left out (split conformal over folds, Barber et al. 2021, Annals of Statistics
49), so that it covers without a model of the noise, where unmeasured cells are like measured ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mvlpt_core.contract.design import designed_pairs
from mvlpt_core.contract.seeds import generator

from .gain_model import Grid
from .ranking import ndcg, regret

ADDITIVE, ALIKE, LOW_RANK = "additive", "similarities", "low rank"
MODELS = (ADDITIVE, ALIKE, LOW_RANK)
# What each is made of: whether it takes similarities, and a matrix of low rank.
_PARTS = {ADDITIVE: (False, False), ALIKE: (True, False), LOW_RANK: (True, True)}
FOLDS, DRAWS = 10, 5
FRACTIONS = (0.1, 0.25, 0.5)
MIN_CELLS = 20  # measured cells below which nothing is completed
_EFFECTS, _BETAS = (1.0, 4.0, 16.0, 1e6), (1.0, 10.0, 100.0, 1e4)
_RANKS = (np.inf, 2.0, 1.0)  # thresholds, in units of the residuals' largest singular value / 3
_STEPS = 12
COMPLETION_COLUMNS = (
    *("fraction", "model", "mates", "r2", "ndcg", "regret1", "covered", "width"),
    *("n_measured", "n_judged", "designs"),
)
COMPLETED_COLUMNS = ("source", "target", "estimate", "low", "high")


@dataclass(frozen=True)
class Completed:
    """`estimate` [S, T] of every cell, and `half` the width of its interval; `left_out` [S, T]: the estimate
    of measured cells by a model that did not see them, NaN elsewhere."""

    estimate: np.ndarray
    half: float
    left_out: np.ndarray


def complete(grid: Grid, model: str = LOW_RANK, level: float = 0.95, seed: int = 0) -> Completed:
    """Complete the gains of `grid` (NaN: not measured) by one of `MODELS`.

    Cells in which a similarity is missing have its mean. NaN throughout below `MIN_CELLS` cells.
    """
    known = np.isfinite(grid.gain)
    if known.sum() < MIN_CELLS:
        nothing = np.full(grid.gain.shape, np.nan)
        return Completed(nothing, np.nan, nothing)
    alike, low_rank = _PARTS[model]
    design, kinds = _design(grid, alike)
    cells = np.flatnonzero(known)
    fold = np.arange(len(cells)) % FOLDS
    generator("completion", seed).shuffle(fold)
    parts = [(cells[fold != k], cells[fold == k]) for k in range(FOLDS)]
    gain = grid.gain.ravel()
    penalties = [
        (e, e2, b) for e in _EFFECTS for e2 in _EFFECTS for b in (_BETAS if alike else (1.0,))
    ]
    by_fold = [_predict_ridge(design, kinds, gain, train, penalties) for train, _ in parts]
    error = sum(
        ((found[:, test] - gain[test]) ** 2).sum(1)
        for found, (_, test) in zip(by_fold, parts, strict=True)
    )
    best = int(np.argmin(error))
    smooth = [found[best] for found in by_fold]
    threshold = np.inf
    if low_rank:
        residuals = [
            _rest(gain, own, train, grid.gain.shape)
            for own, (train, _) in zip(smooth, parts, strict=True)
        ]
        errors = []
        for cut in _RANKS:
            found = [_soft_impute(rest, cut).ravel() for rest in residuals]
            errors.append(
                sum(
                    ((own[test] + more[test] - gain[test]) ** 2).sum()
                    for own, more, (_, test) in zip(smooth, found, parts, strict=True)
                )
            )
        threshold = _RANKS[int(np.argmin(errors))]
        smooth = [
            own + _soft_impute(rest, threshold).ravel()
            for own, rest in zip(smooth, residuals, strict=True)
        ]
    left_out = np.full(gain.shape, np.nan)
    for own, (_, test) in zip(smooth, parts, strict=True):
        left_out[test] = own[test]
    estimate = _predict_ridge(design, kinds, gain, cells, [penalties[best]])[0]
    if np.isfinite(threshold):
        estimate = (
            estimate
            + _soft_impute(_rest(gain, estimate, cells, grid.gain.shape), threshold).ravel()
        )
    misses = np.sort(np.abs(left_out[cells] - gain[cells]))
    place = int(np.ceil((len(misses) + 1) * level))
    half = float(misses[place - 1]) if place <= len(misses) else np.inf
    return Completed(estimate.reshape(known.shape), half, left_out.reshape(known.shape))


def _design(grid: Grid, alike: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the model for all cells [S * T, P] without the mean, and the kind of each column: 0 source,
    1 target, 2 similarity."""
    S, T = grid.gain.shape
    source = np.repeat(np.eye(S), T, axis=0)
    target = np.tile(np.eye(T), (S, 1))
    columns, kinds = [source, target], [0] * S + [1] * T
    if alike and len(grid.measures):
        z = grid.features.reshape(len(grid.measures), -1)
        # The diagonal, a task with itself, is no pair: it does not scale the others.
        own = (np.array(grid.sources)[:, None] == np.array(grid.targets)[None, :]).ravel()
        some = np.where(own | ~np.isfinite(z), np.nan, z)
        with np.errstate(all="ignore"):
            mean = np.array([np.nanmean(row) if np.isfinite(row).any() else 0.0 for row in some])
            spread = np.array([np.nanstd(row) if np.isfinite(row).any() else 0.0 for row in some])
        use = spread > 1e-9 * np.maximum(np.abs(mean), 1e-300)
        scaled = (some[use] - mean[use, None]) / spread[use, None]
        columns.append(np.where(np.isfinite(scaled), scaled, 0.0).T)
        kinds += [2] * int(use.sum())
    return np.concatenate(columns, axis=1), np.array(kinds)


def _predict_ridge(
    design: np.ndarray,
    kinds: np.ndarray,
    gain: np.ndarray,
    train: np.ndarray,
    penalties: Sequence[tuple[float, float, float]],
) -> np.ndarray:
    """Gains of all cells [G, S * T] by the ridge model of each penalty, fitted to the cells `train`."""
    x, y = design[train], gain[train]
    centre, level = x.mean(0), y.mean()
    x = x - centre
    ridge = np.array(penalties)[:, kinds]  # [G, P]
    gram = (x.T @ x)[None] + ridge[:, :, None] * np.eye(len(kinds))
    coef = np.linalg.solve(gram, np.broadcast_to((x.T @ (y - level))[:, None], (*ridge.shape, 1)))
    found: np.ndarray = level + coef[..., 0] @ (design - centre).T
    return found


def _rest(
    gain: np.ndarray, own: np.ndarray, train: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """What a model leaves of the cells `train`, as a matrix; NaN elsewhere."""
    rest = np.full(gain.shape, np.nan)
    rest[train] = gain[train] - own[train]
    return rest.reshape(shape)


def _soft_impute(rest: np.ndarray, cut: float) -> np.ndarray:
    """`rest` [S, T] completed by a matrix of low rank; 0 for an infinite `cut`."""
    found = np.zeros(rest.shape)
    if not np.isfinite(cut):
        return found
    known = np.isfinite(rest)
    filled = np.where(known, rest, 0.0)
    threshold = cut * np.linalg.norm(filled, 2) / 3
    for _ in range(_STEPS):
        u, s, v = np.linalg.svd(np.where(known, filled, found), full_matrices=False)
        found = (u * np.maximum(s - threshold, 0)) @ v
    return found


def completed_table(grid: Grid, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """`COMPLETED_COLUMNS`: the pairs of two tasks that were not measured, best first; none where all were."""
    own = np.array(grid.sources)[:, None] == np.array(grid.targets)[None, :]
    wanted = ~np.isfinite(grid.gain) & ~own
    if not wanted.any():
        return pd.DataFrame(columns=list(COMPLETED_COLUMNS))
    found = complete(grid, level=level, seed=seed)
    s, t = np.nonzero(wanted)
    values = found.estimate[s, t]
    table = pd.DataFrame(
        {
            "source": np.array(grid.sources)[s],
            "target": np.array(grid.targets)[t],
            "estimate": values,
            "low": values - found.half,
            "high": values + found.half,
        }
    )
    return table.sort_values("estimate", ascending=False, kind="stable", ignore_index=True)


def completion_table(
    grid: Grid, families: Mapping[str, str] | None = None, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """`COMPLETION_COLUMNS`: how well each of `MODELS` tells gains that it did not see.

    On a whole grid designed parts of it (`FRACTIONS`, means over `DRAWS` designs) are completed and judged on
    the other cells; on a part, its own cells are, left out in `FOLDS` folds. `r2`: share of the variance of
    the judged cells; `ndcg` and `regret1`: of ranking each target's sources, measured gains where there are
    any, by estimate, against all gains (whole grids); `covered`: share of judged cells in their interval, of
    mean `width`. `mates` is `without` where pairs within a family (`families`, task -> family) are left out
    of fit and judgement alike: what is told of a task unlike all others.
    """
    own = np.array(grid.sources)[:, None] == np.array(grid.targets)[None, :]
    whole = bool((np.isfinite(grid.gain) | own).all())
    grids = {"all": grid}
    if families:
        family = [np.array([families[n] for n in names]) for names in (grid.sources, grid.targets)]
        apart = np.where(family[0][:, None] == family[1][None, :], np.nan, grid.gain)
        grids["without"] = replace(grid, gain=apart)
    rows = []
    for mates, some in grids.items():
        if not whole:
            rows += [(np.nan, m, mates, *_judged_left_out(some, m, level, seed), 1) for m in MODELS]
            continue
        for fraction in FRACTIONS:
            for model in MODELS:
                found = [
                    _judged_design(some, fraction, model, level, seed + d) for d in range(DRAWS)
                ]
                with np.errstate(all="ignore"):
                    means = [
                        np.nanmean(v) if np.isfinite(v).any() else np.nan for v in np.array(found).T
                    ]
                rows.append((fraction, model, mates, *means, DRAWS))
    return pd.DataFrame(rows, columns=list(COMPLETION_COLUMNS))


def _judged_left_out(grid: Grid, model: str, level: float, seed: int) -> tuple[float, ...]:
    found = complete(grid, model, level, seed)
    cells = np.isfinite(grid.gain)
    # The interval is made from these very cells: that it covers them says nothing.
    r2, _ = _told(grid.gain[cells], found.left_out[cells], found.half)
    return r2, np.nan, np.nan, np.nan, 2 * found.half, float(cells.sum()), float(cells.sum())


def _judged_design(
    grid: Grid, fraction: float, model: str, level: float, seed: int
) -> tuple[float, ...]:
    known = np.isfinite(grid.gain)
    # Another design for each seed: the names decide it.
    as_named = {name: f"{seed} {name}" for name in {*grid.sources, *grid.targets}}
    kept = designed_pairs(
        [as_named[t] for t in grid.targets], [as_named[s] for s in grid.sources], fraction
    )
    measured = known & np.array(
        [[(as_named[t], as_named[s]) in kept for t in grid.targets] for s in grid.sources]
    )
    found = complete(replace(grid, gain=np.where(measured, grid.gain, np.nan)), model, level, seed)
    judged = known & ~measured
    if not np.isfinite(found.half):
        width, covered, r2 = np.nan, np.nan, np.nan
    else:
        r2, covered = _told(grid.gain[judged], found.estimate[judged], found.half)
        width = 2 * found.half
    mixed = np.where(measured, grid.gain, found.estimate)
    ranked, lost = [], []
    for t in range(len(grid.targets)):
        some = known[:, t]
        if some.sum() >= 2 and np.isfinite(mixed[some, t]).all():
            ranked.append(ndcg(grid.gain[some, t], mixed[some, t]))
            lost.append(regret(grid.gain[some, t], mixed[some, t], 1))
    quality = [float(np.nanmean(v)) if np.isfinite(v).any() else np.nan for v in (ranked, lost)]
    return r2, *quality, covered, width, float(measured.sum()), float(judged.sum())


def _told(gain: np.ndarray, estimate: np.ndarray, half: float) -> tuple[float, float]:
    """R2 of estimates, and the share of gains within `half` of them."""
    if not len(gain) or not np.isfinite(estimate).all():
        return np.nan, np.nan
    total = ((gain - gain.mean()) ** 2).sum()
    rest = ((gain - estimate) ** 2).sum()
    return float(1 - rest / total) if total > 0 else np.nan, float(
        (np.abs(gain - estimate) <= half).mean()
    )
