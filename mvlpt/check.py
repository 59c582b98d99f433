"""The check of tasks' data before a study spends time on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mvlpt_analysis.read.finished import open_finished
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import whole
from mvlpt_core.tasks.open import find_data_root
from mvlpt_core.tasks.verify import Found, check_data, check_prepared
from mvlpt_workflow.configuration import counted, find_rows

COLUMNS = ("task", "kind", "classes", "train", "test", "repeated", "shared", "digest")


def check_tasks_data(
    name: str,
    tasks: Sequence[str],
    data_root: str | None,
    workers: int,
    out: Path | None,
    cache: Path | None,
    study: Path | None,
) -> bool:
    """Check the data of a configuration's or suite's tasks, print a table and all that is wrong;
    whether nothing is.

    `study` is the folder of a study whose prepared images are looked for in the data. Raises
    `InputError` for a mistake in what is asked for.
    """
    rows, root = find_rows(name, tasks)
    if out is not None and out.suffix != ".csv":
        raise InputError(f"--out {out}: expected a name that ends in .csv")
    if cache is None and out is not None:
        cache = out.with_suffix(".cache")
    root = data_root or root
    for row in rows:
        if row.kind != "testbed":
            find_data_root(root, row.task)
    prepared = _prepared(study, [row.task for row in rows]) if study else {}
    found = check_data(rows, root, cache, workers)
    for one in found:
        if study:
            check_prepared(one, prepared[one.task])
    table = _table(found)
    if out is not None:
        with whole(out) as part:
            table.to_csv(part, index=False)
    shown = table.drop(columns=["wrong", "notes"]).astype(object)
    shown["digest"] = shown["digest"].str[:12]
    print(shown.where(shown.notna(), "-").to_string(index=False))
    for kind in ("notes", "wrong"):
        lines = [f"  {one.task}: {line}" for one in found for line in getattr(one, kind)]
        if lines:
            print(f"{kind}:", *lines, sep="\n")
    absent = [
        row.task for row, one in zip(rows, found, strict=True) if row.repo and not one.classes
    ]
    if absent:
        print(f"from the hub: mvlpt fetch {name} --task {' '.join(absent)}")
    wrong = sum(len(one.wrong) for one in found)
    notes = sum(len(one.notes) for one in found)
    print(f"{counted(len(found), 'task')}: {wrong} wrong, {counted(notes, 'note')}")
    return not wrong


def _prepared(study: Path, tasks: Sequence[str]) -> dict[str, list[Path]]:
    """The files of prepared images of each task that the study may have."""
    done = open_finished(study, None)
    at, config = done.at, done.study
    return {
        task: [
            Path(at.test(task)[0]),
            *(Path(at.sample(task, k, seed)[0]) for k in config.shots for seed in config.seeds),
        ]
        for task in tasks
    }


def _table(found: Sequence[Found]) -> pd.DataFrame:
    table = pd.DataFrame({name: [getattr(one, name) for one in found] for name in COLUMNS})
    counts = ["classes", "train", "test", "repeated", "shared"]
    table[counts] = table[counts].astype("Int64")
    table["wrong"] = ["; ".join(one.wrong) for one in found]
    table["notes"] = ["; ".join(one.notes) for one in found]
    return table
