"""How far the gains of two methods, studies or tables agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..read import pairs
from ..stats import agree
from ..stats.resample import permutations

COMPARE_COLUMNS = ("a", "b", "measure", "value", "low", "high", "p", "n", "n_tasks")


@dataclass(frozen=True)
class Matrix:
    """Gains of one method in one study or table: `name` in full, `study` and `method` apart; gains (a
    frame with source, target, gain, and `significant` where pairs were tested)."""

    name: str
    study: str
    method: str
    gains: pd.DataFrame

    def square(self, tasks: Sequence[str]) -> np.ndarray:
        return pairs.square(self.gains, "gain", tasks)

    def signs(self, tasks: Sequence[str]) -> np.ndarray | None:
        """1, -1 and 0 [T, T] for established gains, losses and neither; None where nothing was tested."""
        if "significant" not in self.gains or not self.gains["significant"].any():
            return None
        found = np.sign(self.gains["gain"]).where(self.gains["significant"], 0.0)
        return pairs.square(self.gains.assign(sign=found), "sign", tasks)


def agreement_table(
    a: Matrix, b: Matrix, tasks: Sequence[str], permuted: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """`COMPARE_COLUMNS`: correlations of the two, then what a recommends judged by b, and b by a, and which
    of the pairs that one establishes the other does too (where both tested pairs)."""
    x, y = a.square(tasks), b.square(tasks)
    rows = [
        (a.name, b.name, found)
        for found in agree.symmetric(x, y, permutations(len(x), permuted, seed))
    ]
    for one, other in ((a, b), (b, a)):
        judged = agree.recommended(one.square(tasks), other.square(tasks))
        mine, theirs = one.signs(tasks), other.signs(tasks)
        if mine is not None and theirs is not None:
            judged += agree.replicated(mine, theirs)
        rows += [(one.name, other.name, found) for found in judged]
    table = pd.DataFrame([{"a": one, "b": other} | vars(found) for one, other, found in rows])
    return table.assign(n_tasks=len(tasks))[list(COMPARE_COLUMNS)]


def common(a: Matrix, b: Matrix) -> list[str]:
    """Tasks that are source and target in both, in the order of the first."""
    tasks = _shared(a, b)
    if len(tasks) < agree.MIN_TASKS:
        raise InputError(
            f"{a.name} and {b.name} have {len(tasks)} tasks in common that are source and target in both: "
            f"expected {agree.MIN_TASKS} or more, named alike"
        )
    return tasks


def method_agreement(gains: pd.DataFrame, permuted: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """`agreement_table` of every two methods of a gains table; without rows for one method, and where two
    have fewer than `agree.MIN_TASKS` tasks in common."""
    known = gains[gains["gain"].notna()]
    own = [Matrix(str(m), "", str(m), part) for m, part in known.groupby("method", sort=False)]
    tables = []
    for a, b in combinations(own, 2):
        tasks = _shared(a, b)
        if len(tasks) >= agree.MIN_TASKS:
            tables.append(agreement_table(a, b, tasks, permuted, seed))
    return pd.concat(tables) if tables else pd.DataFrame(columns=list(COMPARE_COLUMNS))


def _shared(a: Matrix, b: Matrix) -> list[str]:
    both = set(pairs.common_tasks(b.gains))
    return [task for task in pairs.common_tasks(a.gains) if task in both]
