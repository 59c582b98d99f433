"""Gains of pairs that were not measured, from those that were: the completion of a designed part of the grid.

gain[s, t] = mean + source[s] + target[t] + sum_k beta[k] z[k, s, t] + error, with z the similarities scaled
over the grid; ridge penalties on source, target and beta are chosen by cross-validation over measured cells.
What the model leaves is completed by a matrix of low rank (soft-thresholded singular values: Mazumder,
Hastie and Tibshirani 2010, JMLR 11, algorithm 1), where that helps cells left out. The interval of a cell is
that of the errors on cells left out (split conformal over folds, Barber et al. 2021, Annals of Statistics
49), so that it covers without a model of the noise, where unmeasured cells are like measured ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mvlpt_core.contract.design import designed_pairs
from mvlpt_core.contract.seeds import generator

from ..vocabulary import SCREENS
from .gain_model import Grid
from .ranking import ndcg, of_measures, regret

ADDITIVE, ALIKE, LOW_RANK = "additive", "similarities", "low rank"
SCREENED = "similarities and screening"
MODELS = (ADDITIVE, ALIKE, LOW_RANK, SCREENED)
# What each is made of: whether it takes similarities, a matrix of low rank, and what screening promises.
_PARTS = {
    ADDITIVE: (False, False, False),
    ALIKE: (True, False, False),
    LOW_RANK: (True, True, False),
    SCREENED: (True, False, True),
}
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


Part = tuple[np.ndarray, np.ndarray]  # of a fold: the cells that are fitted to, and those left out


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
    return complete_by_each(grid, (model,), level, seed)[model]


def complete_by_each(
    grid: Grid, models: Sequence[str] = MODELS, level: float = 0.95, seed: int = 0
) -> dict[str, Completed]:
    """As `complete`, by several models, which share what they have in common; of `MODELS` all that the
    grid has measures for."""
    models = [model for model in models if model in models_of(grid)]
    known = np.isfinite(grid.gain)
    cells = np.flatnonzero(known)
    if len(cells) < MIN_CELLS:
        nothing = np.full(grid.gain.shape, np.nan)
        return dict.fromkeys(models, Completed(nothing, np.nan, nothing))
    fold = np.arange(len(cells)) % FOLDS
    generator("completion", seed).shuffle(fold)
    parts = [(cells[fold != k], cells[fold == k]) for k in range(FOLDS)]
    smooth = {
        of: _smooth(_taking(grid, *of), cells, parts)
        for of in dict.fromkeys((_PARTS[m][0], _PARTS[m][2]) for m in models)
    }
    found = {}
    for model in models:
        alike, low_rank, screened = _PARTS[model]
        estimate, by_fold = smooth[alike, screened]
        if low_rank:
            estimate, by_fold = _with_low_rank(grid.gain, estimate, by_fold, cells, parts)
        found[model] = _judged_by_folds(grid.gain, estimate, by_fold, parts, level)
    return found


def models_of(grid: Grid) -> list[str]:
    """Those of `MODELS` that the grid has measures for."""
    screened = any(name in SCREENS for name in grid.measures)
    return [model for model in MODELS if screened or not _PARTS[model][2]]


def shown_model(models: Collection[str]) -> str:
    """Of the models that a grid has measures for, the one whose estimates are shown."""
    # Screening, where it was done, tells more than a matrix of low rank.
    return SCREENED if SCREENED in models else LOW_RANK


def _taking(grid: Grid, alike: bool, screened: bool) -> Grid:
    """The grid with similarities and what screening promises, where a model takes them."""
    names = [m for m in grid.measures if (screened if m in SCREENS else alike)]
    return of_measures(grid, names)


def _smooth(
    grid: Grid, cells: np.ndarray, parts: Sequence[Part]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Estimates of all cells [S * T] by the ridge model with the penalties that tell cells left out best:
    fitted to all measured `cells`, and without each fold."""
    design, kinds = _design(grid)
    gain = grid.gain.ravel()
    betas = _BETAS if grid.measures else (1.0,)
    penalties = [(e, e2, b) for e in _EFFECTS for e2 in _EFFECTS for b in betas]
    by_fold = [_predict_ridge(design, kinds, gain, train, penalties) for train, _ in parts]
    error = sum(
        ((found[:, test] - gain[test]) ** 2).sum(1)
        for found, (_, test) in zip(by_fold, parts, strict=True)
    )
    best = int(np.argmin(error))
    estimate = _predict_ridge(design, kinds, gain, cells, [penalties[best]])[0]
    return estimate, [found[best] for found in by_fold]


def _with_low_rank(
    gain: np.ndarray,
    estimate: np.ndarray,
    by_fold: list[np.ndarray],
    cells: np.ndarray,
    parts: Sequence[Part],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The estimates with a matrix of low rank for what they leave, where that tells cells left out better."""

    def added(own: np.ndarray, train: np.ndarray, cut: float) -> np.ndarray:
        rest = np.full(gain.size, np.nan)
        rest[train] = gain.ravel()[train] - own[train]
        return own + _soft_impute(rest.reshape(gain.shape), cut).ravel()

    tried = {
        cut: [added(own, train, cut) for own, (train, _) in zip(by_fold, parts, strict=True)]
        for cut in _RANKS
    }
    errors = {
        cut: sum(
            ((own[test] - gain.ravel()[test]) ** 2).sum()
            for own, (_, test) in zip(found, parts, strict=True)
        )
        for cut, found in tried.items()
    }
    cut = min(errors, key=errors.__getitem__)
    return added(estimate, cells, cut), tried[cut]


def _judged_by_folds(
    gain: np.ndarray,
    estimate: np.ndarray,
    by_fold: list[np.ndarray],
    parts: Sequence[Part],
    level: float,
) -> Completed:
    left_out = np.full(gain.size, np.nan)
    for own, (_, test) in zip(by_fold, parts, strict=True):
        left_out[test] = own[test]
    misses = np.abs(left_out - gain.ravel())
    misses = np.sort(misses[np.isfinite(misses)])
    place = int(np.ceil((len(misses) + 1) * level))
    half = float(misses[place - 1]) if place <= len(misses) else np.inf
    return Completed(estimate.reshape(gain.shape), half, left_out.reshape(gain.shape))


def _design(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the model for all cells [S * T, P] without the mean, and the kind of each column: 0 source,
    1 target, 2 similarity."""
    S, T = grid.gain.shape
    source = np.repeat(np.eye(S), T, axis=0)
    target = np.tile(np.eye(T), (S, 1))
    columns, kinds = [source, target], [0] * S + [1] * T
    if grid.measures:
        z = grid.features.reshape(len(grid.measures), -1)
        # The diagonal, a task with itself, is no pair: it does not scale the others.
        some = np.where(grid.own.ravel() | ~np.isfinite(z), np.nan, z)
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
    gram = np.tile(x.T @ x, (len(ridge), 1, 1))
    own = np.arange(len(kinds))
    gram[:, own, own] += ridge
    coef = np.linalg.solve(gram, np.broadcast_to((x.T @ (y - level))[:, None], (*ridge.shape, 1)))
    found: np.ndarray = level + coef[..., 0] @ (design - centre).T
    return found


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
    """`COMPLETED_COLUMNS`: the pairs of two tasks that were not run, best first; none where all were."""
    wanted = grid.unmeasured
    if not wanted.any():
        return pd.DataFrame(columns=list(COMPLETED_COLUMNS))
    found = complete(grid, shown_model(models_of(grid)), level, seed)
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
    of fit and judgement alike: what is told of a task unlike all others. A pair whose runs diverged is no
    cell of either.
    """
    whole = not grid.unmeasured.any()
    grids = {"all": grid}
    if families:
        family = [np.array([families[n] for n in names]) for names in (grid.sources, grid.targets)]
        apart = np.where(family[0][:, None] == family[1][None, :], np.nan, grid.gain)
        grids["without"] = replace(grid, gain=apart)
    rows = []
    for mates, some in grids.items():
        if not whole:
            told = _judged_left_out(some, level, seed)
            rows += [(np.nan, model, mates, *told[model], 1) for model in told]
            continue
        for fraction in FRACTIONS:
            designs = [_judged_design(some, fraction, level, seed + d) for d in range(DRAWS)]
            for model in designs[0]:
                means = [_mean(values) for values in zip(*(d[model] for d in designs), strict=True)]
                rows.append((fraction, model, mates, *means, DRAWS))
    return pd.DataFrame(rows, columns=list(COMPLETION_COLUMNS))


def _judged_left_out(grid: Grid, level: float, seed: int) -> dict[str, tuple[float, ...]]:
    """Of each of `MODELS` the columns r2 to n_judged, of measured cells left out."""
    cells = np.isfinite(grid.gain)
    found: dict[str, tuple[float, ...]] = {}
    for model, own in complete_by_each(grid, level=level, seed=seed).items():
        # The interval is made from these very cells: that it covers them says nothing.
        r2, _ = _told(grid.gain[cells], own.left_out[cells], own.half)
        counts = float(cells.sum()), float(cells.sum())
        found[model] = (r2, np.nan, np.nan, np.nan, 2 * own.half, *counts)
    return found


def _judged_design(
    grid: Grid, fraction: float, level: float, seed: int
) -> dict[str, tuple[float, ...]]:
    """The same of the cells that a design of its `seed` leaves out."""
    known = np.isfinite(grid.gain)
    # Another design for each seed: the names decide it.
    as_named = {name: f"{seed} {name}" for name in {*grid.sources, *grid.targets}}
    kept = designed_pairs(
        [as_named[t] for t in grid.targets], [as_named[s] for s in grid.sources], fraction
    )
    measured = known & np.array(
        [[(as_named[t], as_named[s]) in kept for t in grid.targets] for s in grid.sources]
    )
    part = replace(grid, gain=np.where(measured, grid.gain, np.nan))
    judged = known & ~measured
    counts = float(measured.sum()), float(judged.sum())
    found: dict[str, tuple[float, ...]] = {}
    for model, own in complete_by_each(part, level=level, seed=seed).items():
        r2 = covered = width = np.nan
        if np.isfinite(own.half):
            r2, covered = _told(grid.gain[judged], own.estimate[judged], own.half)
            width = 2 * own.half
        ranked = _ranked(grid.gain, np.where(measured, grid.gain, own.estimate))
        found[model] = (r2, *ranked, covered, width, *counts)
    return found


def _ranked(gain: np.ndarray, guess: np.ndarray) -> tuple[float, float]:
    """NDCG and Regret@1 of ranking each target's sources by `guess`, means over targets."""
    found = []
    for true, guessed in zip(gain.T, guess.T, strict=True):
        known = np.isfinite(true)
        if known.sum() >= 2 and np.isfinite(guessed[known]).all():
            true, guessed = true[known], guessed[known]
            found.append((ndcg(true, guessed), regret(true, guessed, 1)))
    first, second = zip(*found, strict=True) if found else ((), ())
    return _mean(first), _mean(second)


def _mean(values: Sequence[float]) -> float:
    """The mean of defined values; NaN where there is none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _told(gain: np.ndarray, estimate: np.ndarray, half: float) -> tuple[float, float]:
    """R2 of estimates, and the share of gains within `half` of them."""
    if not len(gain) or not np.isfinite(estimate).all():
        return np.nan, np.nan
    total = ((gain - gain.mean()) ** 2).sum()
    rest = ((gain - estimate) ** 2).sum()
    return float(1 - rest / total) if total > 0 else np.nan, float(
        (np.abs(gain - estimate) <= half).mean()
    )
