"""The similarity measures themselves: their values, and how they go with one another."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..read.pairs import owner, task_order
from ..stats import correlation
from ..vocabulary import MEASURES
from .tables import MIN_TASKS, Places, find_places, similarity_matrices

MEASURE_COLUMNS = (
    *("measure", "kind", "symmetric", "n_pairs", "minimum", "median", "maximum"),
    *("asymmetry", "description"),
)
MEASURE_CORRELATION_COLUMNS = ("a", "b", "method", "spearman", "p_permutation", "n")


def measure_overview(similarity: pd.DataFrame) -> pd.DataFrame:
    """One row a measure, its range over pairs of different tasks (`MEASURE_COLUMNS`).

    asymmetry: greatest |value[s, t] - value[t, s]|. Measures that `MEASURES` does not know (of
    other people's tables) have kind "other" and are symmetric if their values are.
    """
    rows = []
    for name, frame in similarity.groupby("measure", sort=False):
        pairs = frame[frame["source"] != frame["target"]]
        pairs = pairs.assign(method=owner(pairs))
        mirror = pairs.rename(columns={"source": "target", "target": "source"})
        both = pairs.merge(mirror, on=["source", "target", "method"], suffixes=("", "_mirror"))
        gap = float((both["value"] - both["value_mirror"]).abs().max()) if len(both) else np.nan
        known = MEASURES.get(str(name))
        rows.append(
            {
                "measure": name,
                "kind": known.kind if known else "other",
                "symmetric": known.symmetric if known else bool(gap <= 1e-9),
                "n_pairs": int(pairs["value"].notna().sum()),
                "minimum": pairs["value"].min(),
                "median": pairs["value"].median(),
                "maximum": pairs["value"].max(),
                "asymmetry": gap,
                "description": known.description if known else "",
            }
        )
    return pd.DataFrame(rows, columns=list(MEASURE_COLUMNS))


def measure_correlations(
    similarity: pd.DataFrame, permutations: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Spearman over pairs of tasks between every two measures, with Mantel p
    (`MEASURE_CORRELATION_COLUMNS`).

    method: null unless one of the two is a prompt measure; NaN where a measure is constant. No rows
    with fewer than `MIN_TASKS` tasks.
    """
    places = find_places(similarity)
    if not places.targets:
        places = Places(task_order(similarity))
    stacked = similarity_matrices(similarity, places)
    if len(places.tasks) < MIN_TASKS:
        return pd.DataFrame(columns=list(MEASURE_CORRELATION_COLUMNS))
    keys, stack = list(stacked), np.stack(list(stacked.values()))
    permuted = places.permutations(permutations, seed)
    p = correlation.p_values(stack, stack, permuted, "pooled", "spearman")
    rows = []
    for i, (a, mine) in enumerate(keys):
        for j in range(i + 1, len(keys)):
            b, other = keys[j]
            if mine and other and mine != other:
                continue
            x, y = stack[i], stack[j]
            rows.append(
                {
                    "a": a,
                    "b": b,
                    "method": mine or other or None,
                    "spearman": correlation.group_values(x, y, "pooled", "spearman")[0],
                    "p_permutation": p[i, j],
                    "n": int((~(np.isnan(x) | np.isnan(y))).sum()),
                }
            )
    return pd.DataFrame(rows, columns=list(MEASURE_CORRELATION_COLUMNS))
