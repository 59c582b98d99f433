"""Gains by relation: from a task's own prompt, from tasks that share a factor, from the rest.

A suite may group its tasks by factors (the testbed plants `family` and `style`). `factors` is a frame
with a column task and one a factor; "" means that the task has no value of it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..read.pairs import off_diagonal
from ..stats import qap, resample, structure
from ..stats.multiplicity import benjamini_hochberg
from .controls import by_method

SELF, NEITHER = "self", "neither"
RELATION_COLUMNS = (
    "method",
    "gain_kind",
    "relation",
    "gain",
    "low",
    "high",
    "n_pairs",
    "n_targets",
)
EFFECT_COLUMNS = (
    "method",
    "gain_kind",
    "effect",
    "value",
    "low",
    "high",
    "p",
    "p_within",
    "p_permutation",
    "p_above",
    "p_below",
    "q",
    "n_units",
    "n_targets",
    "permutations",
    "reason",
)


def relation_names(factors: pd.DataFrame) -> list[str]:
    """The relations that a pair may have: `self`, each factor, `neither`."""
    return [SELF, *(str(c) for c in factors.columns if c != "task"), NEITHER]


def relation_matrix(factors: pd.DataFrame, tasks: Sequence[str]) -> np.ndarray:
    """The relation of each pair of tasks, [T, T] of `relation_names`.

    A pair that shares several factors has the first of them. Raises InputError for a frame without
    the column task, or without one of the tasks.
    """
    if "task" not in factors.columns:
        raise InputError(
            "factors: column 'task' is missing: expected it beside one column a factor"
        )
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
    level: float = 0.95,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Mean gain of each relation and method (`RELATION_COLUMNS`).

    The mean over targets of each target's mean. Intervals are t intervals from a jackknife whose units
    are independent: the values of the factor that is shared, tasks in both roles for `neither`, tasks
    for `self`.
    """
    rows = []
    for method, names, matrix in by_method(gains, gain_kind, tasks):
        relation = relation_matrix(factors, names)
        units = _units(factors, names)
        for name in relation_names(factors):
            means, n = target_means(matrix, relation == name)
            without = _mean_without(means, units.get(name, np.arange(len(names))))
            if name == NEITHER:
                without = structure.mean_without(matrix, relation == name)[1]
            defined = means[~np.isnan(means)]
            gain = float(defined.mean()) if len(defined) else np.nan
            low, high = structure.jackknife(gain, without, level)
            rows.append(
                {"method": method, "gain_kind": gain_kind, "relation": name}
                | {"gain": gain, "low": low, "high": high}
                | {"n_pairs": n, "n_targets": len(defined)}
            )
    return pd.DataFrame(rows, columns=list(RELATION_COLUMNS))


def effect_table(
    gains: pd.DataFrame,
    factors: pd.DataFrame,
    gain_kind: str = "gain",
    permutations: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What sharing a factor adds to gain, tested with the factor's values as units.

    value: mean over targets of (mean gain from sources with the same value - mean gain from
    `neither`), in score units. low, high, p: Student's t over the factor's `n_units` values (families),
    which are the independent units; the only test here of an effect that is 0 on average.
    p_permutation: two-sided share of permutations of the tasks (rows and columns of the gains together,
    the factors stay) with a value at least as large in size; p_above and p_below: one-sided, for a gain
    and for a loss. They test that *no* factor matters. p_within: as p_permutation, with tasks that
    change places within the groups of all other factors, so that these may matter; NaN without any.
    q: Benjamini-Hochberg of p over methods and effects. O(P n); `EFFECT_COLUMNS`.
    """
    rows = []
    for method, names, matrix in by_method(gains, gain_kind, tasks):
        relation = relation_matrix(factors, names)
        n_tasks = len(names)
        units = _units(factors, names)
        permuted = resample.permutations(n_tasks, permutations, seed)
        for effect in relation_names(factors)[1:-1]:
            same, neither = relation == effect, relation == NEITHER
            row: dict = {"method": method, "gain_kind": gain_kind, "effect": effect}
            differences = target_means(matrix, same)[0] - target_means(matrix, neither)[0]
            defined = differences[~np.isnan(differences)]
            row |= {"n_targets": len(defined), "permutations": permutations, "reason": ""}
            if not len(defined):
                none = np.isnan(off_diagonal(matrix)).all()
                reason = (
                    "no pair has a gain" if none else f"no target has sources of the same {effect}"
                )
                rows.append(row | {"reason": reason})
                continue
            value = float(defined.mean())
            drawn = permuted_effects(matrix, same, neither, permuted)
            without = _mean_without(differences, units[effect])
            low, high = structure.jackknife(value, without, level)
            within = _within(units, effect, permutations, seed)
            p_within = np.nan
            if within is not None:
                moved = permuted_effects(matrix, same, neither, within)
                p_within = float(qap.p_value(np.array(value), moved))
            tie = qap.TIE
            rows.append(
                row
                | {"value": value, "low": low, "high": high}
                | {"p": structure.jackknife_p(value, without), "n_units": len(without)}
                | {"p_within": p_within}
                | {"p_permutation": float(qap.p_value(np.array(value), drawn))}
                | {"p_above": (1 + int((drawn >= value - tie).sum())) / (permutations + 1)}
                | {"p_below": (1 + int((drawn <= value + tie).sum())) / (permutations + 1)}
            )
    table = pd.DataFrame(rows, columns=list(EFFECT_COLUMNS))
    table["q"] = benjamini_hochberg(table["p"].to_numpy(dtype=float))
    return table


def _units(factors: pd.DataFrame, tasks: Sequence[str]) -> dict[str, np.ndarray]:
    """The number of each task's value [T], factor by factor."""
    table = factors.drop_duplicates("task").set_index("task").loc[list(tasks)].fillna("")
    return {str(name): structure.blocks(table[name].tolist()) for name in table.columns}


def _mean_without(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Mean of the defined values [T] without those of each unit, for the units that have some."""
    some = ~np.isnan(values)
    return resample.resampled_mean(values[some], structure.left_out(units[some]))


def _within(
    units: dict[str, np.ndarray], effect: str, permutations: int, seed: int
) -> np.ndarray | None:
    """Permutations [P, T] of tasks that share the values of all other factors; None where there is no
    other factor, or no two such tasks."""
    others = [number for name, number in units.items() if name != effect]
    if not others:
        return None
    crossed = np.unique(np.array(others), axis=1, return_inverse=True)[1].ravel()
    if len(np.unique(crossed)) == len(crossed):
        return None
    return structure.family_permutations(crossed, permutations, seed, whole=False)


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
