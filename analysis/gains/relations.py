"""Gains by relation: from a task's own prompt, from tasks that share a factor, from the rest.

A suite may group its tasks by factors (the testbed plants `family` and `style`). `factors` is a frame
with a column task and one a factor; "" means that the task has no value of it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..stats import qap, resample
from ..stats.multiplicity import benjamini_hochberg
from .controls import by_method

SELF, NEITHER = "self", "neither"
RELATION_COLUMNS = [
    "method",
    "gain_kind",
    "relation",
    "gain",
    "low",
    "high",
    "n_pairs",
    "n_targets",
]
EFFECT_COLUMNS = [
    "method",
    "gain_kind",
    "effect",
    "value",
    "low",
    "high",
    "p_permutation",
    "p_above",
    "p_below",
    "q",
    "n_targets",
    "permutations",
    "reason",
]


def relation_names(factors: pd.DataFrame) -> list[str]:
    """The relations that a pair may have: `self`, each factor, `neither`."""
    return [SELF, *(str(c) for c in factors.columns if c != "task"), NEITHER]


def relation_matrix(factors: pd.DataFrame, tasks: Sequence[str]) -> np.ndarray:
    """The relation of each pair of tasks, [T, T] of `relation_names`.

    A pair that shares several factors has the first of them. Raises InputError for a task that the
    frame does not have.
    """
    table = factors.drop_duplicates("task").set_index("task")
    for task in tasks:
        if task not in table.index:
            raise InputError(f"factors: task '{task}' is missing: expected a row of each task")
    relation = np.full((len(tasks), len(tasks)), NEITHER, dtype=object)
    for factor in reversed(relation_names(factors)[1:-1]):
        value = table.loc[list(tasks), factor].fillna("").to_numpy(dtype=str)
        relation[(value[:, None] == value) & (value != "")] = factor
    np.fill_diagonal(relation, SELF)
    return relation.astype(str)


def relation_table(
    gains: pd.DataFrame,
    factors: pd.DataFrame,
    gain_kind: str = "gain",
    bootstrap: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Mean gain of each relation and method (`RELATION_COLUMNS`).

    The mean over targets of each target's mean; percentile interval over resampled targets.
    """
    rows = []
    for method, names, matrix in by_method(gains, gain_kind, tasks):
        relation = relation_matrix(factors, names)
        counts = resample.task_counts(len(names), bootstrap, seed)
        for name in relation_names(factors):
            means, n = target_means(matrix, relation == name)
            low, high = resample.percentile_interval(resample.resampled_mean(means, counts), level)
            defined = means[~np.isnan(means)]
            rows.append(
                {"method": method, "gain_kind": gain_kind, "relation": name}
                | {"gain": defined.mean() if len(defined) else np.nan, "low": low, "high": high}
                | {"n_pairs": n, "n_targets": len(defined)}
            )
    return pd.DataFrame(rows, columns=RELATION_COLUMNS)


def effect_table(
    gains: pd.DataFrame,
    factors: pd.DataFrame,
    gain_kind: str = "gain",
    permutations: int = 10_000,
    bootstrap: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What sharing a factor adds to gain, with a permutation of tasks.

    value: mean over targets of (mean gain from sources with the same value - mean gain from
    `neither`), in score units; interval over resampled targets. p_permutation: two-sided share of
    permutations of the tasks (rows and columns of the gains together, the factors stay) with a
    value at least as large in size; p_above and p_below: one-sided, for a gain and for a loss.
    q: Benjamini-Hochberg over methods and effects. O(P n); `EFFECT_COLUMNS`.
    """
    rows = []
    for method, names, matrix in by_method(gains, gain_kind, tasks):
        relation = relation_matrix(factors, names)
        n_tasks = len(names)
        counts = resample.task_counts(n_tasks, bootstrap, seed)
        permuted = resample.permutations(n_tasks, permutations, seed)
        for effect in relation_names(factors)[1:-1]:
            same, neither = relation == effect, relation == NEITHER
            row: dict = {"method": method, "gain_kind": gain_kind, "effect": effect}
            differences = target_means(matrix, same)[0] - target_means(matrix, neither)[0]
            defined = differences[~np.isnan(differences)]
            row |= {"n_targets": len(defined), "permutations": permutations, "reason": ""}
            if not len(defined):
                rows.append(row | {"reason": f"no target has sources of the same {effect}"})
                continue
            value = float(defined.mean())
            drawn = permuted_effects(matrix, same, neither, permuted)
            low, high = resample.percentile_interval(
                resample.resampled_mean(differences, counts), level
            )
            tie = qap.TIE
            rows.append(
                row
                | {"value": value, "low": low, "high": high}
                | {"p_permutation": float(qap.p_value(np.array(value), drawn))}
                | {"p_above": (1 + int((drawn >= value - tie).sum())) / (permutations + 1)}
                | {"p_below": (1 + int((drawn <= value + tie).sum())) / (permutations + 1)}
            )
    table = pd.DataFrame(rows, columns=EFFECT_COLUMNS)
    table["q"] = benjamini_hochberg(table["p_permutation"].to_numpy(dtype=float))
    return table


def target_means(matrix: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, int]:
    """Mean [T] of each column over its chosen defined cells (NaN if none), and their number."""
    used = chosen & ~np.isnan(matrix)
    count = used.sum(0)
    total = np.where(used, matrix, 0).sum(0)
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return mean, int(count.sum())


def permuted_effects(
    matrix: np.ndarray, same: np.ndarray, neither: np.ndarray, permuted: np.ndarray
) -> np.ndarray:
    """The effect [P] with rows and columns of `matrix` [T, T] permuted by `permuted` [P, T]."""
    result = np.empty(len(permuted))
    for start in range(0, len(permuted), qap.BATCH):
        p = permuted[start : start + qap.BATCH]
        drawn = matrix[p[:, :, None], p[:, None, :]]  # [b, T, T]
        defined = ~np.isnan(drawn)
        drawn = np.where(defined, drawn, 0)
        means = []
        for chosen in (same, neither):
            count = np.einsum("bst,st->bt", defined, chosen, dtype=float)
            total = np.einsum("bst,st->bt", drawn, chosen.astype(float))
            means.append(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))
        difference = means[0] - means[1]
        kept = ~np.isnan(difference)
        n = kept.sum(1)
        result[start : start + len(p)] = np.where(kept, difference, 0).sum(1) / np.maximum(n, 1)
    return result
