"""What a mean gain hides: asymmetry, the "trained longer" control, givers and receivers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..read.pairs import common_tasks, off_diagonal, square
from ..stats import correlation, resample, structure
from ..stats.variance import mean_interval

ASYMMETRY_COLUMNS = (
    "method",
    "gain_kind",
    "n_pairs",
    "reciprocity",
    "skew_share",
    "mean_absolute_difference",
    "p_permutation",
    "reason",
)
DIAGONAL_COLUMNS = (
    "method",
    "gain_kind",
    "n_tasks",
    "diagonal_gain",
    "diagonal_gain_low",
    "diagonal_gain_high",
    "transfer_gain",
    "transfer_gain_low",
    "transfer_gain_high",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "share_improved_diagonal",
    "share_improved_transfer",
)
TASK_EFFECT_COLUMNS = ("method", "gain_kind", "task", "role", "mean_gain", "low", "high", "n")


def by_method(
    gains: pd.DataFrame, kind: str, tasks: Sequence[str] | None
) -> list[tuple[str, list[str], np.ndarray]]:
    """(method, tasks, matrix [T, T]) of each method's gains; the diagonal is kept."""
    if kind not in gains.columns:
        raise InputError(f"gains: column '{kind}' is missing: expected a kind of gain")
    names = list(tasks) if tasks is not None else common_tasks(gains)
    return [
        (str(method), names, square(frame, kind, names))
        for method, frame in gains.groupby("method", sort=False)
    ]


def asymmetry_table(
    gains: pd.DataFrame,
    gain_kind: str = "gain",
    permutations: int = 10_000,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Whether helping is mutual, one row a method (`ASYMMETRY_COLUMNS`).

    reciprocity: Pearson over pairs of gain[s, t] with gain[t, s], -1..1 (QAP p beside it).
    skew_share: sum of squares of (G - G') / 2 over that of G, both centred off the diagonal,
    0 (symmetric) .. 1 (what one gains the other loses); equals (1 - reciprocity) / 2.
    mean_absolute_difference: of gain[s, t] and gain[t, s], in score units.
    """
    rows = []
    for method, names, matrix in by_method(gains, gain_kind, tasks):
        g = off_diagonal(matrix)
        both = ~(np.isnan(g) | np.isnan(g.T))
        row = {"method": method, "gain_kind": gain_kind, "n_pairs": int(both.sum()) // 2}
        r = correlation.group_values(g, g.T, "pooled", "pearson")[0]
        if np.isnan(r):
            reason = "gain is constant" if both.sum() >= 3 else "fewer than 3 defined pairs"
            rows.append(row | {"reason": reason})
            continue
        permuted = resample.permutations(len(names), permutations, seed)
        p = correlation.p_values(g[None], g.T[None], permuted, "pooled", "pearson")[0, 0]
        centred = (g - g[both].mean())[both]
        skew = ((g - g.T) / 2)[both]
        rows.append(
            row
            | {"reciprocity": r, "skew_share": (skew @ skew) / (centred @ centred)}
            | {"mean_absolute_difference": np.abs(g - g.T)[both].mean(), "reason": ""}
            | {"p_permutation": p}
        )
    return pd.DataFrame(rows, columns=list(ASYMMETRY_COLUMNS))


def diagonal_control(
    gains: pd.DataFrame,
    gain_kind: str = "gain",
    level: float = 0.95,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Gain from a task's own prompt ("just trained longer") beside gain from others.

    One row a method (`DIAGONAL_COLUMNS`). Means over targets with t intervals, over tasks for the
    diagonal and else from a jackknife over tasks in both their roles; the difference is transfer minus
    diagonal, paired by target, p tests that it is 0. Transfer that gains no more than the diagonal
    shows no more than longer training.
    """
    rows = []
    for method, names, matrix in by_method(gains, gain_kind, tasks):
        own = np.diag(matrix)
        other = off_diagonal(matrix)
        mean, low, high, _ = mean_interval(own, level)
        row: dict = {"method": method, "gain_kind": gain_kind, "n_tasks": len(names)}
        row |= {"diagonal_gain": mean, "diagonal_gain_low": low, "diagonal_gain_high": high}
        for name, values in (("transfer_gain", other), ("difference", other - own)):
            mean, without = structure.mean_without(values)
            low, high = structure.jackknife(mean, without, level)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        row["p"] = structure.jackknife_p(row["difference"], without)
        row["share_improved_diagonal"] = _share_positive(own)
        row["share_improved_transfer"] = _share_positive(other)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(DIAGONAL_COLUMNS))


def task_effects(
    gains: pd.DataFrame,
    gain_kind: str = "gain",
    level: float = 0.95,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Mean gain that each task gives (role source) and receives (role target), off-diagonal.

    `TASK_EFFECT_COLUMNS`; t intervals over the tasks on the other side.
    """
    rows = []
    for method, names, matrix in by_method(gains, gain_kind, tasks):
        g = off_diagonal(matrix)
        for role, values in (("source", g), ("target", g.T)):
            for task, line in zip(names, values, strict=True):
                mean, low, high, _ = mean_interval(line, level)
                rows.append(
                    {"method": method, "gain_kind": gain_kind, "task": task, "role": role}
                    | {
                        "mean_gain": mean,
                        "low": low,
                        "high": high,
                        "n": int((~np.isnan(line)).sum()),
                    }
                )
    return pd.DataFrame(rows, columns=list(TASK_EFFECT_COLUMNS))


def _share_positive(values: np.ndarray) -> float:
    """Share of the defined values above 0; NaN if none is defined."""
    defined = values[~np.isnan(values)]
    return float((defined > 0).mean()) if len(defined) else np.nan
