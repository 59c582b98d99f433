"""How well can the sources of a target be ranked before any transfer run is made?

A ranker gives every candidate source of a target a number; its quality is read off the gains that
were measured. Rankers: each similarity measure, a model fitted on the other targets
(`choice.gain_model`), the source that is best on average over the other targets, and chance.
Ties in a ranking are never broken at random: every quality is its expectation over the orders that
the ties allow, so that a constant score *is* the random baseline, in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import weightedtau

from mvlpt_core.contract.errors import InputError

from ..stats.resample import mean_interval, task_counts
from ..vocabulary import BEST_AVERAGE, MODEL_TARGET, MODEL_TASK, RANDOM
from .gain_model import Grid, leave_one_out

Array = NDArray[np.float64]
# metric -> (label, whether higher is better)
QUALITY = {
    "ndcg": ("NDCG", True),
    "regret1": ("Regret@1", False),
    "regret3": ("Regret@3", False),
    "regret5": ("Regret@5", False),
    "hit1": ("Hit rate@1", True),
    "hit3": ("Hit rate@3", True),
    "tau": ("Weighted Kendall tau", True),
    "gain1": ("Gain of the first choice", True),
}


def _tied_groups(predicted: Array) -> list[NDArray[np.intp]]:
    """Indices of `predicted` [n] in falling order, one array for each distinct value."""
    return [np.flatnonzero(predicted == value) for value in np.unique(predicted)[::-1]]


def ndcg(gains: Array, predicted: Array) -> float:
    """Normalised discounted cumulative gain of the order that `predicted` [n] gives to `gains` [n].

    Relevance is the gain scaled to 0..1 within the target (gains can be negative), the discount
    1 / log2(rank + 1) (Jarvelin & Kekalainen 2002, eq. 2), ties averaged (McSherry & Najork 2008).
    Range 0..1, 1 for a perfect order; NaN when there is nothing to rank (all gains equal).
    """
    from sklearn.metrics import ndcg_score  # slow to import, and only rankings need it

    spread = gains.max() - gains.min()
    if not spread > 0:
        return float("nan")
    return float(ndcg_score([(gains - gains.min()) / spread], [predicted]))


def _top(predicted: Array, k: int) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Candidates surely among the first k, the tied ones that compete, and the places for these."""
    sure: list[NDArray[np.intp]] = []
    place = 0
    for group in _tied_groups(predicted):
        if place + len(group) > k:
            return np.concatenate([*sure, group[:0]]), group, k - place
        sure.append(group)
        place += len(group)
    return np.concatenate(sure), np.array([], dtype=np.intp), 0


def regret(gains: Array, predicted: Array, k: int) -> float:
    """What is lost by trying only the first k sources: best gain less the best of the k (>= 0).

    In the units of `gains` [n]. Among m places for g tied candidates the best is the j-th lowest
    with probability C(j-1, m-1) / C(g, m).
    """
    sure, tied, places = _top(predicted, min(k, len(gains)))
    best = gains[sure].max() if len(sure) else -np.inf
    if places:
        values = np.sort(gains[tied])
        chance = [comb(j, places - 1) / comb(len(values), places) for j in range(len(values))]
        best = float(np.dot(chance, np.maximum(values, best)))
    return float(gains.max() - best)


def hit(gains: Array, predicted: Array, k: int) -> float:
    """Probability that the best source (any of several equally good) is among the first k."""
    best = gains == gains.max()
    sure, tied, places = _top(predicted, min(k, len(gains)))
    if best[sure].any():
        return 1.0
    losers = len(tied) - int(best[tied].sum())
    return 1.0 - comb(losers, places) / comb(len(tied), places) if places else 0.0


def weighted_tau(gains: Array, predicted: Array) -> float:
    """Kendall's tau with hyperbolic weights on the top ranks (Vigna 2015), -1..1; a constant
    ranking has 0, its expectation over orders; NaN when all gains are equal."""
    if not gains.max() > gains.min():
        return float("nan")
    if not predicted.max() > predicted.min():
        return 0.0
    return float(weightedtau(gains, predicted).statistic)


def quality(gains: Array, predicted: Array) -> dict[str, float]:
    """All of `QUALITY` for one target: `gains` [n] and `predicted` [n] of its candidate sources."""
    lost = {k: regret(gains, predicted, k) for k in (1, 3, 5)}
    return {
        "ndcg": ndcg(gains, predicted),
        **{f"regret{k}": value for k, value in lost.items()},
        **{f"hit{k}": hit(gains, predicted, k) for k in (1, 3)},
        "tau": weighted_tau(gains, predicted),
        "gain1": float(gains.max()) - lost[1],
    }


def best_average(grid: Grid) -> Array:
    """Mean gain of each source over the targets other than the one ranked for: [S, T]."""
    known = np.isfinite(grid.gain)
    filled = np.where(known, grid.gain, 0.0)
    others = known.sum(1, keepdims=True) - known
    total = filled.sum(1, keepdims=True) - filled
    return np.where(others > 0, total / np.maximum(others, 1), filled.sum() / max(known.sum(), 1))


def rank_quality(
    gains: pd.DataFrame,
    similarity: pd.DataFrame | None,
    measures: Sequence[str] | None = None,
    value: str = "gain",
    model_measures: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Quality of every ranker for every target of one method.

    `gains`: source, target, `value`, one row a pair; `similarity`: source, target, measure, value,
    higher = more alike, or None. The diagonal and cells without a gain (diverged) are no
    candidates. The models use `model_measures` (None: all). Returns ranker, target, n_sources and
    one column for each of `QUALITY`, NaN where a target has fewer than two candidates or a ranker
    gives no value for one of them.
    """
    grid = Grid.from_frames(gains, similarity, measures, value)
    rankers: dict[str, Array] = {name: grid.features[k] for k, name in enumerate(grid.measures)}
    used = [
        k
        for k, name in enumerate(grid.measures)
        if model_measures is None or name in model_measures
    ]
    if used:
        part = replace(
            grid, measures=tuple(grid.measures[k] for k in used), features=grid.features[used]
        )
        rankers[MODEL_TARGET] = leave_one_out(part, drop_source=False)
        rankers[MODEL_TASK] = leave_one_out(part, drop_source=True)
    rankers[BEST_AVERAGE] = best_average(grid)
    rankers[RANDOM] = np.zeros_like(grid.gain)
    rows = []
    for ranker, predicted in rankers.items():
        for t, target in enumerate(grid.targets):
            known = np.isfinite(grid.gain[:, t])
            usable = known.sum() >= 2 and np.isfinite(predicted[known, t]).all()
            scores = (
                quality(grid.gain[known, t], predicted[known, t])
                if usable
                else dict.fromkeys(QUALITY, np.nan)
            )
            rows.append({"ranker": ranker, "target": target, "n_sources": known.sum(), **scores})
    columns = ["ranker", "target", "n_sources", *QUALITY]
    return pd.DataFrame(rows, columns=columns)


def summarise_quality(
    per_target: pd.DataFrame, bootstrap: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Mean of each quality over targets, with a bootstrap interval that draws targets.

    Returns ranker, metric, mean, low, high, n_targets and the same for the paired difference to
    the random source: difference, difference_low, difference_high (positive = better than
    random for NDCG, hits and tau; negative = better for regret). Intervals are NaN below
    three targets. Errors: a table without the random ranker.
    """
    if RANDOM not in set(per_target["ranker"]):
        raise InputError(f"the ranking table has no rows of the ranker {RANDOM!r}")
    targets = list(per_target["target"].unique())
    counts = task_counts(len(targets), bootstrap, seed)
    rows = []
    for metric in QUALITY:
        wide = per_target.pivot_table(index="target", columns="ranker", values=metric, dropna=False)
        wide = wide.reindex(targets)
        chance = wide[RANDOM].to_numpy(float)
        for ranker in per_target["ranker"].unique():
            values = wide[ranker].to_numpy(float)
            mean, low, high = mean_interval(values, counts, level)
            difference = mean_interval(values - chance, counts, level)
            rows.append(
                (ranker, metric, mean, low, high, int(np.isfinite(values).sum()), *difference)
            )
    names = "ranker metric mean low high n_targets difference difference_low difference_high"
    return pd.DataFrame(rows, columns=names.split())


RANKING_COLUMNS = (
    *("ranker", "metric", "mean", "low", "high", "n_targets"),
    *("difference", "difference_low", "difference_high"),
)
RANKING_BY_TARGET_COLUMNS = ("ranker", "target", "n_sources", *QUALITY)
