"""Studies, or tables by others, side by side: would another seed, backbone or method say the same?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError

from .catalogue import distinct
from .figures.agreement import plot_pair
from .figures.style import save, style
from .foreign import read_given
from .gains.between import Matrix, agreement_table, common
from .opened import open_study
from .read import pairs
from .report.words_of_agreement import sentences


def compare(
    sources: Sequence[Path],
    out: Path,
    permuted: int = 10_000,
    seed: int = 0,
    shots: int | None = None,
) -> list[str]:
    """Compare the gains of studies (folders results/<study>) or of tables by others (files), two by two.

    Of several, the same methods are compared (all with all where their names differ); of one study, its
    methods. Writes agreement.csv (`gains.between.COMPARE_COLUMNS`) and a figure a comparison into `out`,
    and returns what they say. `permuted`: draws of each test; `shots`: of studies with several. Raises
    `InputError` for what is no study or table, for one matrix alone, and for fewer than `agree.MIN_TASKS`
    tasks in common.
    """
    matrices = read_matrices(sources, shots)
    both = _to_compare(matrices, len(sources))
    rows, said = [], []
    names: list[str] = []
    with style(matrix.name for matrix in matrices):
        for a, b in both:
            tasks = common(a, b)
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


def _to_compare(matrices: Sequence[Matrix], sources: int) -> list[tuple[Matrix, Matrix]]:
    every = list(combinations(matrices, 2))
    if sources == 1:
        if not every:
            raise InputError(f"{matrices[0].name}: one matrix of gains alone: expected two or more")
        return every
    across = [(a, b) for a, b in every if a.study != b.study]
    return [(a, b) for a, b in across if a.method == b.method] or across
