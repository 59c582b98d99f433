"""How well can the sources of a target be ranked before any transfer run is made?

A ranker gives every candidate source of a target a number; its quality is read off the gains that
were measured. Rankers: each similarity measure, a model fitted on the other targets
(`choice.gain_model`), the source that is best on average over the other targets, and chance. The
bar is the best average source, which takes no similarity: every ranker's difference from it is tested.
The ranker with the least regret is named by what was chosen on other targets alone: the best of
many on the same targets is flattered by the choice.
Ties in a ranking are never broken at random: every quality is its expectation over the orders that
the ties allow, so that a constant score *is* the random baseline, in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb

import numpy as np
import pandas as pd
from scipy.stats import rankdata, weightedtau

from mvlpt_core.contract.errors import InputError

from ..stats.multiplicity import benjamini_hochberg
from ..stats.resample import MIN_UNITS
from ..stats.variance import mean_interval
from ..vocabulary import BEST_AVERAGE, CHOSEN, CLOSED, MODEL_TARGET, MODEL_TASK, RANDOM
from .gain_model import Grid, leave_one_out


@dataclass(frozen=True)
class Quality:
    """What a quality is called, whether higher is better, and the bounds of its values."""

    label: str
    higher: bool
    low: float = -np.inf
    high: float = np.inf


QUALITY = {
    "ndcg": Quality("NDCG", True, 0, 1),
    "ndcg_above_random": Quality("NDCG above random", True, high=1),
    "ndcg_of_ranks": Quality("NDCG of ranks", True, 0, 1),
    "regret1": Quality("Regret@1", False, 0),
    "regret3": Quality("Regret@3", False, 0),
    "regret5": Quality("Regret@5", False, 0),
    "hit1": Quality("Hit rate@1", True, 0, 1),
    "hit3": Quality("Hit rate@3", True, 0, 1),
    "tau": Quality("Weighted Kendall tau", True, -1, 1),
    "gain1": Quality("Gain of the first choice", True),
    "slope": Quality("Gain per standard deviation of the score", True),
}
RANKING_COLUMNS = (
    *("ranker", "metric", "mean", "low", "high", "n_targets", "unit", "n_units"),
    *("difference", "difference_low", "difference_high", "p", "q", "thinned"),
)
RANKING_BY_TARGET_COLUMNS = ("ranker", "target", "rule", "n_sources", *QUALITY)


def _tied_groups(predicted: np.ndarray) -> list[np.ndarray]:
    """Indices of `predicted` [n] in falling order, one array for each distinct value."""
    return [np.flatnonzero(predicted == value) for value in np.unique(predicted)[::-1]]


def ndcg(gains: np.ndarray, predicted: np.ndarray) -> float:
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


def ndcg_of_ranks(gains: np.ndarray, predicted: np.ndarray) -> float:
    """As `ndcg`, with the exponential relevance 2^r - 1 of Burges et al. (2005), where r is how
    many sources have a lower gain (equal gains: their mean). It sees the order of gains alone, and of
    it mostly which source is the best; NaN when all gains are equal.
    """
    if not gains.max() > gains.min():
        return float("nan")
    from sklearn.metrics import ndcg_score

    below = rankdata(gains) - 1
    top = below.max()  # all in units of the best source's 2^r, which overflows at 1,024 sources
    return float(ndcg_score([np.exp2(below - top) - np.exp2(-top)], [predicted]))


def _random_ndcg(gains: np.ndarray) -> float:
    """`ndcg` of a constant ranking, in closed form: every place has the mean relevance."""
    relevance = np.sort(gains - gains.min())[::-1]
    discount = 1 / np.log2(np.arange(2, len(gains) + 2))
    ideal = relevance @ discount
    return float(relevance.mean() * discount.sum() / ideal) if ideal > 0 else float("nan")


def _top(predicted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Candidates surely among the first k, the tied ones that compete, and the places for these."""
    sure: list[np.ndarray] = []
    place = 0
    for group in _tied_groups(predicted):
        if place + len(group) > k:
            return np.concatenate([*sure, group[:0]]), group, k - place
        sure.append(group)
        place += len(group)
    return np.concatenate(sure), np.array([], dtype=np.intp), 0


def regret(gains: np.ndarray, predicted: np.ndarray, k: int) -> float:
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


def hit(gains: np.ndarray, predicted: np.ndarray, k: int) -> float:
    """Probability that the best source (any of several equally good) is among the first k."""
    best = gains == gains.max()
    sure, tied, places = _top(predicted, min(k, len(gains)))
    if best[sure].any():
        return 1.0
    losers = len(tied) - int(best[tied].sum())
    return 1.0 - comb(losers, places) / comb(len(tied), places) if places else 0.0


def weighted_tau(gains: np.ndarray, predicted: np.ndarray) -> float:
    """Kendall's tau with hyperbolic weights on the top ranks (Vigna 2015), -1..1; a constant
    ranking has 0, its expectation over orders; NaN when all gains are equal."""
    if not gains.max() > gains.min():
        return float("nan")
    if not predicted.max() > predicted.min():
        return 0.0
    return float(weightedtau(gains, predicted).statistic)


def slope(gains: np.ndarray, predicted: np.ndarray) -> float:
    """What `gains` [n] differ by where `predicted` [n] differ by one standard deviation, by least squares
    over the target's sources: how much the scores matter, which ranks do not tell. 0 for a constant score.
    """
    spread = float(predicted.std())
    if not spread > 1e-12 * max(float(np.abs(predicted).max()), 1e-300):
        return 0.0
    return float(np.mean((gains - gains.mean()) * (predicted - predicted.mean())) / spread)


def quality(gains: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """All of `QUALITY` for one target: `gains` [n] and `predicted` [n] of its candidate sources."""
    lost = {k: regret(gains, predicted, k) for k in (1, 3, 5)}
    found, chance = ndcg(gains, predicted), _random_ndcg(gains)
    return {
        "ndcg": found,
        "ndcg_above_random": (found - chance) / (1 - chance),
        "ndcg_of_ranks": ndcg_of_ranks(gains, predicted),
        **{f"regret{k}": value for k, value in lost.items()},
        **{f"hit{k}": hit(gains, predicted, k) for k in (1, 3)},
        "tau": weighted_tau(gains, predicted),
        "gain1": float(gains.max()) - lost[1],
        "slope": slope(gains, predicted),
    }


def _best_average(grid: Grid) -> np.ndarray:
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
    families: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Quality of every ranker for every target of one method.

    `gains`: source, target, `value`, one row a pair; `similarity`: source, target, measure, value,
    higher = more alike, or None. The diagonal and cells without a gain (diverged) are no
    candidates. The models use `model_measures` (None: all). Returns `RANKING_BY_TARGET_COLUMNS`:
    one column for each of `QUALITY`, NaN where a target has fewer than two candidates or a ranker
    gives no value for one of them. The ranker `CHOSEN` is for each target the `rule`, of those that a
    new task has, with the least mean Regret@1 on the other half of the `families` (task -> family;
    without: of the targets).
    """
    grid, rankers = scores(gains, similarity, measures, value, model_measures)
    return with_chosen(judged(grid, rankers), families)


def scores(
    gains: pd.DataFrame,
    similarity: pd.DataFrame | None,
    measures: Sequence[str] | None = None,
    value: str = "gain",
    model_measures: Sequence[str] | None = None,
) -> tuple[Grid, dict[str, np.ndarray]]:
    """The gains, and the numbers [S, T] that every ranker gives; see `rank_quality`."""
    grid = Grid.from_frames(gains, similarity, measures, value)
    rankers = {name: grid.features[k] for k, name in enumerate(grid.measures)}
    part = of_measures(grid, model_measures)
    if part.measures:
        rankers[MODEL_TARGET] = leave_one_out(part, drop_source=False)
        rankers[MODEL_TASK] = leave_one_out(part, drop_source=True)
    rankers[BEST_AVERAGE] = _best_average(grid)
    rankers[RANDOM] = np.zeros_like(grid.gain)
    return grid, rankers


def of_measures(grid: Grid, names: Sequence[str] | None) -> Grid:
    """The grid with the measures among `names` (None: all)."""
    used = [k for k, name in enumerate(grid.measures) if names is None or name in names]
    known = tuple(grid.measures[k] for k in used)
    return replace(grid, measures=known, features=grid.features[used])


def judged(grid: Grid, rankers: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The quality of each ranker's numbers [S, T] for each target: `RANKING_BY_TARGET_COLUMNS`."""
    rows = []
    for ranker, predicted in rankers.items():
        for t, target in enumerate(grid.targets):
            known = np.isfinite(grid.gain[:, t])
            usable = known.sum() >= 2 and np.isfinite(predicted[known, t]).all()
            found = (
                quality(grid.gain[known, t], predicted[known, t])
                if usable
                else dict.fromkeys(QUALITY, np.nan)
            )
            names = {"ranker": ranker, "target": target, "rule": ""}
            rows.append({**names, "n_sources": known.sum(), **found})
    return pd.DataFrame(rows, columns=list(RANKING_BY_TARGET_COLUMNS))


def units_of(targets: Sequence[str], families: Mapping[str, str] | None) -> np.ndarray:
    """The number of each target's unit of evidence, its family or itself, in order of appearance."""
    return pd.factorize(np.array([(families or {}).get(t, t) for t in targets], dtype=object))[0]


def _by_ranker(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One quality as a table of targets (rows) and rankers."""
    return table.pivot_table(index="target", columns="ranker", values=metric, dropna=False)


def with_chosen(table: pd.DataFrame, families: Mapping[str, str] | None) -> pd.DataFrame:
    """The table with rows of the ranker `CHOSEN`, if there are rules to choose from and other targets."""
    targets = list(table["target"].unique())
    rules = [name for name in table["ranker"].unique() if name not in CLOSED]
    lost = _by_ranker(table, "regret1").reindex(index=targets, columns=rules).to_numpy(float)
    # Two halves: choices that leave out one target at a time are nearly one choice, made on all.
    half = units_of(targets, families) % 2
    chosen: dict[str, str] = {}
    for own in (0, 1):
        others = lost[half != own]
        counts = np.isfinite(others).sum(0)
        means = np.where(counts > 0, np.nansum(others, 0) / np.maximum(counts, 1), np.inf)
        if np.isfinite(means).sum() > 1:
            mine = [target for target, number in zip(targets, half, strict=True) if number == own]
            chosen |= dict.fromkeys(mine, rules[int(means.argmin())])
    if not chosen:
        return table
    rows = table[table["ranker"] == table["target"].map(chosen)]
    rows = rows.assign(rule=rows["ranker"], ranker=CHOSEN)
    return pd.concat([table, rows], ignore_index=True)


def summarise_quality(
    per_target: pd.DataFrame,
    families: Mapping[str, str] | None = None,
    level: float = 0.95,
    thinned: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Mean of each quality (`RANKING_COLUMNS`), and its difference from the best average source.

    Units of evidence are `families` (task -> family), where given, else targets: means are over the
    means of units, intervals and p are Student's t over units, NaN below `MIN_UNITS`. A difference is
    paired by target; negative is better for regrets, positive for all else. With targets as units its
    standard error is widened for what their training sets share (Nadeau and Bengio 2003, Machine
    Learning 52), without which up to four times too many rules beat the bar (`speed.calibration`). q:
    Benjamini-Hochberg over the rankers of a metric, chance left out. `thinned`: `robust.thinned`, the share
    of halves of the sources in which the sign of regret1's difference holds. Raises InputError for a table
    without the best average source.
    """
    if per_target.empty:
        return pd.DataFrame(columns=list(RANKING_COLUMNS))
    if BEST_AVERAGE not in set(per_target["ranker"]):
        raise InputError(f"ranking: no rows of the ranker '{BEST_AVERAGE}': expected it as the bar")
    targets = list(per_target["target"].unique())
    rankers = list(per_target["ranker"].unique())
    units = units_of(targets, families)
    # The bar's picks for two targets were learnt on nearly the same targets, as in cross-validation.
    widened = 1.0 if families else float(np.sqrt(1 + len(targets) / max(len(targets) - 1, 1)))
    unit = "families" if families else "targets"
    rows = []
    for metric, known in QUALITY.items():
        wide = (
            _by_ranker(per_target, metric).reindex(index=targets, columns=rankers).to_numpy(float)
        )
        bar = wide[:, rankers.index(BEST_AVERAGE)]
        for ranker, values in zip(rankers, wide.T, strict=True):
            mean, low, high, _, n = _over_units(values, units, level)
            low, high = max(low, known.low), min(high, known.high)
            row = (ranker, metric, mean, low, high, int(np.isfinite(values).sum()), unit, n)
            difference = np.array([np.nan] * 4)
            if ranker != BEST_AVERAGE:
                difference = np.array(_over_units(values - bar, units, level, widened)[:4])
            rows.append((*row, *difference, np.nan, np.nan))
    table = pd.DataFrame(rows, columns=list(RANKING_COLUMNS))
    tested = table["p"].where(table["ranker"] != RANDOM)
    table["q"] = tested.groupby(table["metric"]).transform(benjamini_hochberg)
    held = table["ranker"].map(thinned or {}).astype(float)
    table["thinned"] = held.where(table["metric"] == "regret1")
    return table


def _over_units(
    values: np.ndarray, units: np.ndarray, level: float, widened: float = 1.0
) -> tuple[float, float, float, float, int]:
    """Mean, low, high, p (mean 0) and number of the means of defined values [T] by units 0, 1, ... [T];
    the interval is `widened` about the mean."""
    defined = np.isfinite(values)
    counts = np.bincount(units[defined])
    sums = np.bincount(units[defined], weights=values[defined])
    means = sums[counts > 0] / counts[counts > 0]
    mean, low, high, p = mean_interval(means, level, widened)
    if len(means) < MIN_UNITS:
        return mean, np.nan, np.nan, np.nan, len(means)
    return mean, low, high, p, len(means)
