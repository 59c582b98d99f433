"""Studies, or tables by others, side by side: would another seed, backbone or method say the same?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout

from .catalogue import distinct
from .figures.agreement import plot_pair
from .figures.style import save, style
from .foreign import read_given
from .gains.agreement import Matrix, agreement_table, shared_tasks
from .opened import open_study
from .read import pairs
from .read.others import spelt_alike
from .read.study import seeds_known
from .report.words_of_agreement import sentences
from .stats import agree
from .view import Wording

MODES = ("joint", "sequential")  # of tuning a pair, in a study's table joint_pairs


def compare(
    sources: Sequence[Path],
    out: Path,
    permuted: int = 10_000,
    seed: int = 0,
    shots: int | None = None,
) -> list[str]:
    """Compare the gains of studies (folders results/<study>, or results/<study>/shots<k> for one value of
    shots) or of tables by others (files), two by two; or joint with sequential tuning (a study's table
    joint_pairs).

    Of several, the same methods are compared (all with all where their names differ); of one study, its
    methods. Writes agreement.csv (`gains.agreement.AGREEMENT_COLUMNS`) and a figure a comparison into
    `out`, and returns what they say. `permuted`: draws of each test; `shots`: of studies with several.
    Raises `InputError` for what is no study or table, for one matrix alone, and for fewer than
    `agree.MIN_TASKS` tasks in common.
    """
    matrices, notes = read_matrices(sources, shots)
    both = _to_compare(matrices)
    rows, said = [], []
    names: list[str] = []
    with style(matrix.name for matrix in matrices):
        for a, b in both:
            tasks = _common(a, b)
            table = agreement_table(a, b, permuted, seed)
            rows.append(table)
            said += sentences(table, {m.name: (m.scale, m.unit) for m in (a, b)})
            names.append(distinct(f"{a.name}_and_{b.name}", names))
            plate = plot_pair(a, b, tasks)
            save(plate.figure, out / names[-1])
            notes += _apart(a, b, tasks)
    if len({matrix.unit for matrix in matrices}) > 1:
        notes += [f"{m.name}: what is compared is {m.score_name}, in {m.unit}" for m in matrices]
    pairs.write_frame(pd.concat(rows, ignore_index=True), out / "agreement.csv")
    return said + [f"note: {note}" for note in notes]


def _apart(a: Matrix, b: Matrix, tasks: Sequence[str]) -> list[str]:
    """Which tasks of either are left out, as the other lacks them."""
    lost = [name for name in _names(a, b) if name not in tasks]
    if not lost:
        return []
    more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
    text = f"{a.name} and {b.name} are compared on {len(tasks)} tasks; left out, as not source and target in "
    return [f"{text}both: {', '.join(lost[:10])}{more}{_may_be_one(a, b)}"]


def _names(a: Matrix, b: Matrix) -> list[str]:
    return list(dict.fromkeys([*pairs.task_order(a.gains), *pairs.task_order(b.gains)]))


def _may_be_one(a: Matrix, b: Matrix) -> str:
    alike = spelt_alike(_names(a, b))
    return f" ({alike[0]} may be one task)" if alike else ""


def read_matrices(
    sources: Sequence[Path], shots: int | None = None
) -> tuple[list[Matrix], list[str]]:
    """Every method's gains of the studies and tables, in their order, and what is to be said of these."""
    read: list[tuple[str, pd.DataFrame, Wording]] = []
    places: list[Path] = []
    notes: list[str] = []
    for path in sources:
        if path.is_dir():
            own = of_shots(path)
            opened = open_study(path.parent, own) if own else open_study(path, shots)
            gains, study, words = opened.gains, opened.study.study, Wording()
            if own or opened.shots != opened.study.shots[0]:
                study = f"{study} {opened.shots} shots"
            if not seeds_known(gains):
                notes.append(
                    f"{study}: its q holds the noise of test images alone, not that of seeds, so that pairs "
                    "may fail to replicate for that"
                )
        elif modes := _modes(path, shots):
            read += modes
            places += [path / name for name, _, _ in modes]
            continue
        else:
            given = read_given([path])
            notes += given.notes
            gains, study, words = given.gains, path.stem, given.words
        read.append((study, gains, words))
        places.append(path)
    found = []
    labels = _apart_by_folder([study for study, _, _ in read], places)
    for label, (study, gains, words) in zip(labels, read, strict=True):
        for method, part in gains.groupby("method", sort=False):
            name = label if method == study else f"{label} {method}"
            spoken = (words.scale, words.unit, words.score_name)
            found.append(Matrix(name, label, str(method), part, *spoken))
    return found, notes


def _modes(path: Path, shots: int | None) -> list[tuple[str, pd.DataFrame, Wording]]:
    """The gains of pairs tuned jointly and one after the other, of a study's table `joint_pairs`; none for
    another table."""
    frame = pairs.read_frame(path)
    if not {f"{mode}_gain" for mode in MODES} <= set(frame.columns):
        return []
    known = sorted(frame["shots"].unique())
    shots = known[0] if shots is None else shots
    if shots not in known:
        raise InputError(f"--shots is {shots}: expected one of {', '.join(map(str, known))}")
    own = frame[frame["shots"] == shots]
    return [(mode, own.assign(gain=own[f"{mode}_gain"]), Wording()) for mode in MODES]


def of_shots(folder: Path) -> int | None:
    """The shots of a study's folder shots<k>; None for another folder."""
    found = re.fullmatch(r"shots(\d+)", folder.name)
    return int(found[1]) if found and Path(Layout(str(folder.parent)).config).is_file() else None


def _apart_by_folder(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """The names, those that occur twice behind the folders that tell them apart. Raises `InputError` for a
    study or table that is given twice."""
    folders = [path.resolve().parent.parts for path in paths]
    for name, path in zip(names, paths, strict=True):
        if [other.resolve() for other in paths].count(path.resolve()) > 1:
            raise InputError(f"'{name}' is given twice: expected different studies or tables")
    labels = list(names)
    for deep in range(1, max(map(len, folders)) + 1):
        same = [i for i, label in enumerate(labels) if labels.count(label) > 1]
        for i in same:
            labels[i] = " ".join([*folders[i][-deep:], names[i]])
    return labels


def _to_compare(matrices: Sequence[Matrix]) -> list[tuple[Matrix, Matrix]]:
    every = list(combinations(matrices, 2))
    if len({matrix.study for matrix in matrices}) == 1:
        if not every:
            raise InputError(f"{matrices[0].name}: one matrix of gains alone: expected two or more")
        return every
    across = [(a, b) for a, b in every if a.study != b.study]
    return [(a, b) for a, b in across if a.method == b.method] or across


def _common(a: Matrix, b: Matrix) -> list[str]:
    """The tasks to compare on; raises `InputError` where they are too few."""
    tasks = shared_tasks(a, b)
    if len(tasks) < agree.MIN_TASKS:
        raise InputError(
            f"{a.name} and {b.name} have {len(tasks)} tasks in common that are source and target in both: "
            f"expected {agree.MIN_TASKS} or more, named alike{_may_be_one(a, b)}"
        )
    return tasks
