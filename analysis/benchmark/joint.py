"""Joint pairs: two tasks tuned together with one prompt, beside one tuned from the other's prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mvlpt_core.contract.layout import RANDOM

from ..read.pairs import square
from ..stats import correlation
from ..stats.resample import permutations
from ..stats.variance import mean_interval
from .table import check_scores, methods_of

JOINT, SEQUENTIAL = "joint", "sequential"
JOINT_COLUMNS = (
    *("method", "shots", "source", "target", "group", "scratch", "n_seeds"),
    *(JOINT, f"{JOINT}_gain", SEQUENTIAL, f"{SEQUENTIAL}_gain"),
)
MODE_COLUMNS = (
    *("method", "shots", "n_pairs", f"{JOINT}_gain", f"{JOINT}_low", f"{JOINT}_high"),
    *(f"{SEQUENTIAL}_gain", f"{SEQUENTIAL}_low", f"{SEQUENTIAL}_high"),
    *("difference", "difference_low", "difference_high", "difference_p", "r", "p", "permutations"),
)


def joint_pairs(scores: pd.DataFrame, pairs: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """`JOINT_COLUMNS`: what tuning a target together with a source adds to the target tuned alone, and what
    starting from the source's prompt adds, by method and shots; a mode's mean is over the seeds that
    finished.

    `pairs` are the joint groups with their two members. Gains are over scratch of the same seed; a
    mode without a run, or all of whose runs diverged, is NaN. `n_seeds` counts those of the joint mode.
    """
    scores = check_scores(scores)
    keys = ["method", "shots", "seed", "target"]
    joint = scores[scores["group"].isin(list(pairs)) & (scores["start"] == RANDOM)]
    mate = {
        (group, task): other for group, (a, b) in pairs.items() for task, other in ((a, b), (b, a))
    }
    place = zip(joint["group"], joint["target"], strict=True)
    joint = joint.assign(source=[mate[key] for key in place]).rename(columns={"score": JOINT})
    alone = scores[scores["group"] == scores["target"]]
    sequential = alone.rename(columns={"start": "source", "score": SEQUENTIAL})
    both = joint.merge(sequential[[*keys, "source", SEQUENTIAL]], on=[*keys, "source"], how="left")
    for mode in (JOINT, SEQUENTIAL):
        both[f"{mode}_gain"] = both[mode] - both["scratch"]
    known = both[f"{JOINT}_gain"].notna()
    both["n_seeds"] = both["seed"].where(known)
    values = ["scratch", JOINT, f"{JOINT}_gain", SEQUENTIAL, f"{SEQUENTIAL}_gain"]
    cells = both.groupby(["method", "shots", "source", "target", "group"], sort=False)
    found = cells[values].mean().join(cells["n_seeds"].nunique()).reset_index()
    return found[list(JOINT_COLUMNS)]


def compare_modes(
    table: pd.DataFrame, tasks: Sequence[str], count: int, seed: int, level: float = 0.95
) -> pd.DataFrame:
    """`MODE_COLUMNS`: mean gain of each mode and their difference over the pairs that have both, by method
    and shots, intervals with targets as units; Pearson correlation r of the two modes' gains, p by
    `count` permutations of tasks (Mantel)."""
    drawn = permutations(len(tasks), count, seed)
    rows = []
    for method in methods_of(table):
        for shots, part in table[table["method"] == method].groupby("shots"):
            gains = [f"{mode}_gain" for mode in (JOINT, SEQUENTIAL)]
            both = part[part[gains].notna().all(axis=1)]
            by_target = both.groupby("target")[gains].mean()
            means = [mean_interval(by_target[gain].to_numpy(float), level)[:3] for gain in gains]
            difference = (by_target[gains[0]] - by_target[gains[1]]).to_numpy(float)
            x, y = (square(both, gain, tasks) for gain in gains)
            r = correlation.coefficient(x.ravel(), y.ravel(), "pearson")
            p = correlation.p_values(x[None], y[None], drawn, "pooled", "pearson")[0, 0]
            p = p if np.isfinite(r) else np.nan
            rows.append(
                (
                    *(method, shots, len(both), *means[0], *means[1]),
                    *(*mean_interval(difference, level), r, p, count),
                )
            )
    return pd.DataFrame(rows, columns=list(MODE_COLUMNS))
