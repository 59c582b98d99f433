"""A suite and a configuration for folders and files of one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import write_atomic
from mvlpt_core.contract.settings import read_study
from mvlpt_core.contract.suite import REQUIRED, RESERVED, TaskRow, plain_name, read_suite
from mvlpt_core.tasks.base import remarks
from mvlpt_core.tasks.kind import describe
from mvlpt_core.tasks.open import open_task


def write_study(folders: Sequence[Path], out: Path, label_column: str = "") -> str:
    """Write `out`.tsv and `out`.yaml for the tasks in `folders` (or files) and return what to do next.

    The configuration says what differs from the defaults: the name, the suite, where the data are, and
    `shots` where the smallest class has fewer images than the default. `label_column` is where the labels
    of all are, where it has to be told. Raises `InputError` for a folder
    that is no task, two that are one, and a file that is there already.
    """
    if out.suffix in (".yaml", ".yml", ".tsv"):
        out = out.with_suffix("")
    read_study({"study": out.name, "suite": "-"}, f"--out {out}")  # says what a study may be called
    suite, config = out.with_name(f"{out.name}.tsv"), out.with_name(f"{out.name}.yaml")
    for path in (suite, config):
        if path.exists():
            raise InputError(f"{path} is there already: expected another --out, or remove it")
    if len(folders) < 2:
        raise InputError(f"{folders[0]}: one task has no other to start from: expected two or more")
    described = [describe(folder, label_column) for folder in folders]
    root = Path(os.path.commonpath([above for _, above in described]))
    rows: list[TaskRow] = []
    smallest, said = [], []
    for row, above in described:
        name = _own_name(row.task.removeprefix("new_"), [row.task for row in rows])
        row = replace(row, task=name, location=(above / row.location).relative_to(root).as_posix())
        source = open_task(row, root)
        train = source.split("train")
        images = train.labels
        counts = images.sum(0) if source.multilabel else np.bincount(images)
        rows.append(row)
        smallest.append(int(counts.min()))
        of = "" if plain_name(Path(row.location).stem) == name else f" ({row.location})"
        said.append(
            f"{name}{of}: {len(counts)} classes, {len(images)} training images, {counts.min()} of the "
            "smallest class"
        )
        said += (f"{name}: {line}" for line in remarks([train, source.split("test")]))
    values = {"study": out.name, "suite": str(suite), "data_root": str(root)}
    study = read_study(values, str(config))
    if min(smallest) < study.shots[0]:
        values["shots"] = min(smallest)  # type: ignore[assignment]
    _write_suite(suite, rows)
    write_atomic(config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    return "\n".join(
        [
            *said,
            f"written: {suite}, {config} (what may stand there: mvlpt settings)",
            f"data:  mvlpt check {config}",
            f"cost:  mvlpt plan {config}",
            f"study: mvlpt study {config}",
        ]
    )


def _own_name(name: str, others: Sequence[str]) -> str:
    """A task's name that no other has, and that means nothing else in a study."""
    number = 1 if name not in RESERVED else 2
    while (own := name if number == 1 else f"{name}_{number}") in others:
        number += 1
    return own


def _write_suite(path: Path, rows: Sequence[TaskRow]) -> None:
    table = [REQUIRED, *(tuple(getattr(row, key) for key in REQUIRED) for row in rows)]
    for column, key in (("label_column", "label_column"), ("test", "test_split")):
        values = [getattr(row, key) for row in rows]
        if any(values):
            table = [(*r, value) for r, value in zip(table, [column, *values], strict=True)]
    lines = map("\t".join, table)
    try:
        write_atomic(path, "".join(f"{line}\n" for line in lines))
        read_suite(path)  # two names for one folder
    except InputError:
        path.unlink()
        raise
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): expected a folder of yours"
        ) from None
