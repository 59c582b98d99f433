"""What can be told of a suite's tasks before any job: that they open, and the state of their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import TaskSource
from mvlpt_core.tasks.fewshot import check_counts
from mvlpt_core.tasks.names import UNKNOWN, Room, check_names
from mvlpt_core.tasks.open import find_data_root, open_task

_LABELS_READ = (
    1 << 28
)  # bytes of tar files a task that are read for labels whenever a study is planned


def check_tasks(
    rows: Iterable[TaskRow],
    data_root: str | None,
    shots: int = 1,
    short_classes: str = "use_all",
    room: Room = UNKNOWN,
) -> list[str]:
    """Open every task and read its labels, but no image, so that mistakes show before the first job;
    warnings, a sentence each.

    Labels in large tar files are left to the jobs that read them. Raises `InputError` for a data root or
    folder that is missing, for class names (see `names.check_names`, which knows the text tower's `room`),
    templates or a metric that do not fit, for a split that lacks a class, and with `short_classes` `error`
    for a class of fewer training images than `shots`.
    """
    warnings = []
    places: dict[Path, str] = {}
    for row in rows:
        source = open_task(row, data_root)
        warnings += check_names(source.classnames, f"task {row.task}", room)
        if row.kind != "testbed":
            place = (find_data_root(data_root, row.task) / row.location).resolve()
            if (other := places.setdefault(place, row.task)) != row.task:
                raise InputError(
                    f"task {row.task}: its location leads to {place}, as that of task {other} does: expected "
                    "other images"
                )
            if sum(path.stat().st_size for path in place.glob("*/*.tar")) > _LABELS_READ:
                continue
        check_counts(_class_sizes(row, source), shots, row.task, source.classnames, short_classes)
    return warnings


def _class_sizes(row: TaskRow, source: TaskSource) -> NDArray[np.integer]:
    """Training images of each class; `InputError` for a split that lacks one."""
    classes = len(source.classnames)
    if row.kind == "testbed":
        from mvlpt_core.testbed import SPLIT_SIZES  # not at import time: other kinds do without it

        return np.full(classes, SPLIT_SIZES["train"])
    source.split("test")
    labels = source.split("train").labels
    return labels.sum(0) if source.multilabel else np.bincount(labels, minlength=classes)


@dataclass(frozen=True)
class DataState:
    """Digests of a task's files: `held` of names and sizes, `touched` of these and the times of change.

    Contents are not read, because this runs for every task whenever a study is planned. An equal `touched`
    means that nothing was changed; another one, that contents have to be compared. Both are empty for
    drawn tasks, which have no files.
    """

    held: str = ""
    touched: str = ""


def data_state(task: str, kind: str, location: str, data_root: str | None) -> DataState:
    """The state of a task's files; those whose names start with a dot hold no data."""
    if kind == "testbed":
        return DataState()
    held, touched = hashlib.sha256(), hashlib.sha256()
    for name, status in _files(find_data_root(data_root, task) / location):
        held.update(f"{name}\0{status.st_size}\n".encode())
        times = f"{status.st_mtime_ns}\0{status.st_ctime_ns}"
        touched.update(f"{name}\0{status.st_size}\0{times}\n".encode())
    return DataState(held.hexdigest()[:12], touched.hexdigest()[:12])


def _files(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """(path below the folder, its state) of every file, in the order of the names."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name, entry.stat()
