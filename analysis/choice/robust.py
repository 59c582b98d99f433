"""Whether what a ranking of sources shows holds for new families of tasks, and for fewer sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..vocabulary import BEST_AVERAGE, CHOSEN, MODEL_TASK, RANDOM
from .gain_model import Grid, leave_family_out
from .ranking import (
    RANKING_COLUMNS,
    judged,
    of_measures,
    regret,
    summarise_quality,
    units_of,
    with_chosen,
)

HALVES = 200


def new_family(
    grid: Grid, families: Mapping[str, str] | None, model_measures: Sequence[str] | None = None
) -> pd.DataFrame:
    """Quality of rankers for targets of a family (task -> family) that the study lacks: `RANKING_COLUMNS`.

    Each target's candidates are sources of other families; the model and the best average source know
    nothing of its family. Without rows where there are fewer than two families.
    """
    if not families or len({families.get(t, t) for t in grid.targets}) < 2:
        return pd.DataFrame(columns=list(RANKING_COLUMNS))
    own, given = (
        np.array([families.get(task, task) for task in tasks])
        for tasks in (grid.targets, grid.sources)
    )
    outside = replace(grid, gain=np.where(given[:, None] == own, np.nan, grid.gain))
    rankers = {name: grid.features[k] for k, name in enumerate(grid.measures)}
    part = of_measures(grid, model_measures)
    if part.measures:
        rankers[MODEL_TASK] = leave_family_out(part, families)
    average = np.zeros_like(grid.gain)
    for t, family in enumerate(own):
        others = grid.gain[:, own != family]
        known = np.isfinite(others)
        # A source without a gain there has the mean of all.
        centre = others[known].mean() if known.any() else 0.0
        total = np.where(known, others, 0).sum(1)
        average[:, t] = np.where(known.any(1), total / np.maximum(known.sum(1), 1), centre)
    rankers |= {BEST_AVERAGE: average, RANDOM: np.zeros_like(grid.gain)}
    return summarise_quality(with_chosen(judged(outside, rankers), families), families)


def thinned(
    grid: Grid,
    rankers: Mapping[str, np.ndarray],
    by_target: pd.DataFrame,
    families: Mapping[str, str] | None = None,
    halves: int = HALVES,
    seed: int = 0,
) -> dict[str, float]:
    """Of random halves of the sources, the share in which a ranker's regret@1 less that of the best average
    source has the sign that it has with all of them; 0 counts as a sign. By ranker, NaN where a ranker
    gives no number for some candidates.

    Rankers' numbers [S, T] stay those of the whole study: it is the choice that is among fewer.
    `by_target` (`ranking.rank_quality`) says which rule was chosen for which target.
    """
    every = dict(rankers)
    rules = by_target[by_target["ranker"] == CHOSEN].set_index("target")["rule"]
    if len(rules):
        blank = np.full(len(grid.sources), np.nan)
        columns = [
            every[rules[t]][:, i] if t in rules else blank for i, t in enumerate(grid.targets)
        ]
        every[CHOSEN] = np.stack(columns, axis=1)
    units = units_of(grid.targets, families)
    names = list(every)
    rng, size = np.random.default_rng(seed), len(grid.sources)
    kept = [np.ones(size, bool)]
    for _ in range(halves):
        kept.append(np.isin(np.arange(size), rng.permutation(size)[: (size + 1) // 2]))
    signs = np.array([_signs(grid, list(every.values()), names, units, some) for some in kept])
    held = np.where(np.isnan(signs[1:]), np.nan, signs[1:] == signs[0])
    out = {}
    for k, name in enumerate(names):
        known = held[:, k][~np.isnan(held[:, k])]
        fair = len(known) and np.isfinite(signs[0, k]) and name != BEST_AVERAGE
        out[name] = float(known.mean()) if fair else np.nan
    return out


def _signs(
    grid: Grid,
    predicted: Sequence[np.ndarray],
    names: Sequence[str],
    units: np.ndarray,
    kept: np.ndarray,
) -> np.ndarray:
    """The sign of each ranker's mean difference [R] with the sources `kept` [S]."""
    lost = np.full((len(names), len(grid.targets)), np.nan)
    for t in range(len(grid.targets)):
        known = np.isfinite(grid.gain[:, t]) & kept
        gains = grid.gain[known, t]
        for k, numbers in enumerate(predicted):
            own = numbers[known, t]
            if len(gains) >= 2 and np.isfinite(own).all():
                lost[k, t] = regret(gains, own, 1)
    difference = lost - lost[names.index(BEST_AVERAGE)]
    out = np.full(len(names), np.nan)
    for k, values in enumerate(difference):
        some = np.isfinite(values)
        if some.any():
            counts = np.bincount(units[some])
            sums = np.bincount(units[some], weights=values[some])
            mean = float((sums[counts > 0] / counts[counts > 0]).mean())
            out[k] = 0.0 if abs(mean) < 1e-12 else np.sign(mean)
    return out
