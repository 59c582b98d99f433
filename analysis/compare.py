"""Studies, or tables by others, side by side: would another seed, backbone or method say the same?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from .catalogue import distinct
from .figures.agreement import plot_pair
from .figures.style import save, style
from .foreign import read_given
from .opened import open_study
from .read import pairs
from .report.words_of_agreement import sentences
from .stats import agree
from .stats.resample import permutations

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


def compare(
    sources: Sequence[Path],
    out: Path,
    permuted: int = 10_000,
    seed: int = 0,
    shots: int | None = None,
) -> list[str]:
    """Compare the gains of studies (folders results/<study>) or of tables by others (files), two by two.

    Of several, the same methods are compared (all with all where their names differ); of one study, its
    methods. Writes agreement.csv (`COMPARE_COLUMNS`) and a figure a comparison into `out`, and returns what
    they say. `permuted`: draws of each test; `shots`: of studies with several. Raises `InputError` for
    what is no study or table, for one matrix alone, and for fewer than `agree.MIN_TASKS` tasks in common.
    """
    matrices = read_matrices(sources, shots)
    both = _to_compare(matrices, len(sources))
    rows, said = [], []
    names: list[str] = []
    with style(matrix.name for matrix in matrices):
        for a, b in both:
            tasks = _common(a, b)
            table = agreement_table(a, b, tasks, permuted, seed)
            rows.append(table)
            said += sentences(table)
            names.append(distinct(f"{a.name}_and_{b.name}", names))
            plate = plot_pair(a.name, b.name, a.square(tasks), b.square(tasks), tasks)
            save(plate.figure, out / names[-1])
    pairs.write_frame(pd.concat(rows, ignore_index=True), out / "agreement.csv")
    return said


def read_matrices(sources: Sequence[Path], shots: int | None = None) -> list[Matrix]:
    """Every method's gains of the studies and tables, in their order."""
    found = []
    for path in sources:
        if path.is_dir():
            opened = open_study(path, shots)
            gains, study = opened.gains, opened.study.study
            study = (
                study if opened.shots == opened.study.shots[0] else f"{study} {opened.shots} shots"
            )
        else:
            gains, study = read_given([path]).gains, path.stem
        for method, part in gains.groupby("method", sort=False):
            name = study if method == study else f"{study} {method}"
            found.append(Matrix(name, study, str(method), part))
    repeated = {m.name for m in found if [other.name for other in found].count(m.name) > 1}
    if repeated:
        raise InputError(f"'{min(repeated)}' is given twice: expected names of their own")
    return found


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


def _to_compare(matrices: Sequence[Matrix], sources: int) -> list[tuple[Matrix, Matrix]]:
    every = list(combinations(matrices, 2))
    if sources == 1:
        if not every:
            raise InputError(f"{matrices[0].name}: one matrix of gains alone: expected two or more")
        return every
    across = [(a, b) for a, b in every if a.study != b.study]
    return [(a, b) for a, b in across if a.method == b.method] or across


def _common(a: Matrix, b: Matrix) -> list[str]:
    """Tasks that are source and target in both, in the order of the first."""
    tasks = [task for task in pairs.common_tasks(a.gains) if task in pairs.common_tasks(b.gains)]
    if len(tasks) < agree.MIN_TASKS:
        raise InputError(
            f"{a.name} and {b.name} have {len(tasks)} tasks in common that are source and target in both: "
            f"expected {agree.MIN_TASKS} or more, named alike"
        )
    return tasks
