"""The check of tasks' data before a study spends time on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mvlpt.sheet import write_sheet
from mvlpt_analysis.read.finished import open_finished
from mvlpt_analysis.read.tasks import chance_level
from mvlpt_core.backbone.tokens import read_as
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import whole
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import TaskSource
from mvlpt_core.tasks.open import find_data_root
from mvlpt_core.tasks.verify import Found, check_data, check_prepared
from mvlpt_workflow.configuration import counted, find_backbone, find_rows

COLUMNS = ("task", "kind", "classes", "train", "test", "repeated", "shared", "digest")
_TEXTS = 3  # classes of which the texts are shown


def check_tasks_data(
    name: str,
    tasks: Sequence[str],
    data_root: str | None,
    workers: int,
    out: Path | None,
    cache: Path | None,
    study: Path | None,
    sheet: Path | None = None,
    label_column: str = "",
) -> bool:
    """Check the data of a configuration's or suite's tasks, or of the task in a folder or file; print a
    table, what the text tower reads, and all that is wrong; whether nothing is.

    `study` is the folder of a study whose prepared images are looked for in the data; `sheet` is a PNG to
    write, of images as the backbone sees them; `label_column` goes with a task's own data. Raises
    `InputError` for a mistake in what is asked for.
    """
    rows, root = find_rows(name, tasks, label_column)
    if out is not None and out.suffix != ".csv":
        raise InputError(f"--out {out}: expected a name that ends in .csv")
    if sheet is not None and sheet.suffix != ".png":
        raise InputError(f"--sheet {sheet}: expected a name that ends in .png")
    if cache is None and out is not None:
        cache = out.with_suffix(".cache")
    root = data_root or root
    for row in rows:
        if row.kind != "testbed":
            find_data_root(root, row.task)
    prepared = _prepared(study, [row.task for row in rows]) if study else {}
    preprocess, room = find_backbone(name)
    found = check_data(rows, root, cache, workers, room)
    for one in found:
        if study:
            check_prepared(one, prepared[one.task])
    table = _table(rows, found)
    if out is not None:
        with whole(out) as part:
            table.to_csv(part, index=False)
    shown = table.drop(columns=["wrong", "notes"]).astype(object)
    shown["digest"] = shown["digest"].str[:12]
    print(shown.where(shown.notna(), "-").to_string(index=False))
    texts = [f"  {one.task}: {_read_as(one.source, room.clean)}" for one in found if one.source]
    if texts:
        print("first class texts, as the text tower reads them:", *texts, sep="\n")
    if sheet is not None:
        write_sheet(sheet, found, preprocess)
        print(f"{sheet}: images as the backbone sees them, at {preprocess['size']} pixels")
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


def _read_as(source: TaskSource, clean: str) -> str:
    """The first classes' texts of a task as tokens."""
    texts = [source.templates[0].replace("{c}", name) for name in source.classnames[:_TEXTS]]
    return ", ".join("|".join(read_as(text, clean)) for text in texts)


def _table(rows: Sequence[TaskRow], found: Sequence[Found]) -> pd.DataFrame:
    table = pd.DataFrame({name: [getattr(one, name) for one in found] for name in COLUMNS})
    counts = ["classes", "train", "test", "repeated", "shared"]
    table[counts] = table[counts].astype("Int64")
    about = [_classes(row, one) for row, one in zip(rows, found, strict=True)]
    table.insert(len(COLUMNS) - 1, "chance", [chance for chance, _ in about])
    table.insert(len(COLUMNS), "smallest", [smallest for _, smallest in about])
    table["wrong"] = ["; ".join(one.wrong) for one in found]
    table["notes"] = ["; ".join(one.notes) for one in found]
    return table


def _classes(row: TaskRow, found: Found) -> tuple[str, str]:
    """What chance scores on the test images, in percent, and the class with the fewest images to tune on;
    empty where the split cannot be read."""
    chance = smallest = ""
    classes = found.classes or 0
    if "test" in found.splits:
        level = chance_level(row.metric, found.splits["test"].labels, classes)
        chance = f"{100 * level:.1f}"
    if found.source and "train" in found.splits:
        labels = found.splits["train"].labels
        count = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=classes)
        smallest = f"{found.source.classnames[int(count.argmin())]} ({count.min()})"
    return chance, smallest
