"""How far the gains of two methods, studies or tables by others agree, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from ..read import pairs
from ..stats import agree
from ..stats.resample import permutations

AGREEMENT_COLUMNS = ("a", "b", "measure", "value", "low", "high", "p", "n", "n_tasks")


@dataclass(frozen=True)
class Matrix:
    """Gains of one method in one study or table: `name` in full, `study` and `method` apart; gains (a
    frame with source, target, gain, and `significant` where pairs were tested); `unit` of gains, `scale` of
    them in one unit of the frame; `score_name`: what they are."""

    name: str
    study: str
    method: str
    gains: pd.DataFrame
    scale: float = 100.0
    unit: str = "points"
    score_name: str = "transfer gain"

    def square(self, tasks: Sequence[str]) -> np.ndarray:
        return pairs.square(self.gains, "gain", tasks)

    def signs(self, tasks: Sequence[str]) -> np.ndarray | None:
        """1, -1 and 0 [T, T] for established gains, losses and neither; None where nothing was tested."""
        if "significant" not in self.gains or not self.gains["significant"].any():
            return None
        found = np.sign(self.gains["gain"]).where(self.gains["significant"], 0.0)
        return pairs.square(self.gains.assign(sign=found), "sign", tasks)


def shared_tasks(a: Matrix, b: Matrix) -> list[str]:
    """Tasks that are source and target in both, in the order of the first."""
    other = set(pairs.common_tasks(b.gains))
    return [task for task in pairs.common_tasks(a.gains) if task in other]


def agreement_table(a: Matrix, b: Matrix, permuted: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """`AGREEMENT_COLUMNS`: correlations of the two, then what a recommends judged by b, and b by a, and which
    of the pairs that one establishes the other does too (where both tested pairs).

    With fewer than `agree.MIN_TASKS` `shared_tasks`, as where sources are models and targets data sets, only
    how far they agree on the order of sources within targets.
    """
    tasks = shared_tasks(a, b)
    if len(tasks) < agree.MIN_TASKS:
        rows = [(a.name, b.name, agree.ordered(*_cells(a, b)))]
    else:
        x, y = a.square(tasks), b.square(tasks)
        draws = permutations(len(tasks), permuted, seed)
        rows = [(a.name, b.name, found) for found in agree.symmetric(x, y, draws)]
        for one, other in ((a, b), (b, a)):
            judged = agree.recommended(one.square(tasks), other.square(tasks))
            mine, theirs = one.signs(tasks), other.signs(tasks)
            if mine is not None and theirs is not None:
                judged += agree.replicated(mine, theirs)
            rows += [(one.name, other.name, found) for found in judged]
    table = pd.DataFrame([{"a": one, "b": other} | vars(found) for one, other, found in rows])
    return table.assign(n_tasks=len(tasks))[list(AGREEMENT_COLUMNS)]


def _cells(a: Matrix, b: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Gains [S, T] of the pairs of two tasks that both have."""
    keys = ["source", "target"]
    both = a.gains.merge(b.gains, on=keys)
    both = both[both["source"] != both["target"]]
    wide = (pairs.pivot(both, column).to_numpy(float) for column in ("gain_x", "gain_y"))
    x, y = wide
    return x, y


def agreements(gains: pd.DataFrame, permuted: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """`agreement_table` of every two methods of a table of gains."""
    matrices = [
        Matrix(str(method), "", str(method), part)
        for method, part in gains.groupby("method", sort=False)
    ]
    tables = [agreement_table(a, b, permuted, seed) for a, b in combinations(matrices, 2)]
    return pd.concat([pd.DataFrame(columns=list(AGREEMENT_COLUMNS)), *tables], ignore_index=True)
