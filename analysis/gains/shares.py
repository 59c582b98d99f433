"""How much of the variance of gains is the source's, the target's, the pair's and the seed's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..read.pairs import common_tasks, off_diagonal, square
from ..stats.social import variance_split
from .table import GAIN_KINDS, seed_gains

VARIANCE_COLUMNS = (
    *("method", "gain_kind", "component", "variance", "value", "low", "high"),
    *("n_seeds", "n_tasks", "n_pairs", "n_missing", "reason"),
)


def variance_table(
    transfer: pd.DataFrame,
    gain_kinds: Sequence[str] = GAIN_KINDS,
    level: float = 0.95,
    tasks: Sequence[str] | None = None,
    replicates: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The social relations model (`stats.social`) of each method and kind of gain
    (`VARIANCE_COLUMNS`), one row a component, over `tasks` (None: those that are source and target).

    n_pairs: pairs of two tasks with a gain; n_missing: runs of such pairs without one (diverged),
    which are left out as if missing at random. `replicates` (a transfer table) tell of seeds where there
    is one.
    """
    seeds = seed_gains(transfer)
    again = None if replicates is None else seed_gains(replicates)
    names = list(tasks) if tasks is not None else common_tasks(seeds)
    rows = []
    for method, runs in seeds.groupby("method", sort=False):
        own = [part for _, part in runs.groupby("seed")]
        within = runs["source"].isin(names) & runs["target"].isin(names)
        pairs = runs[within & (runs["source"] != runs["target"])]
        for kind in gain_kinds:
            cubes = np.array([off_diagonal(square(part, kind, names)) for part in own])
            known = np.isfinite(cubes)
            measured = known.any(axis=0)
            sizes = {
                "n_seeds": int(known.any(axis=(1, 2)).sum()),
                "n_tasks": int((measured.any(axis=0) | measured.any(axis=1)).sum()),
                "n_pairs": int(measured.sum()),
                "n_missing": int(pairs[kind].isna().sum()),
            }
            differences = None
            if again is not None and len(cubes) == 1:
                second = again[again["method"] == method]
                differences = off_diagonal(square(second, kind, names)) - cubes[0]
            for found in variance_split(cubes, level, differences):
                rows.append({"method": method, "gain_kind": kind} | vars(found) | sizes)
    return pd.DataFrame(rows, columns=list(VARIANCE_COLUMNS))
