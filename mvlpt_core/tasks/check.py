"""What can be told of a suite's tasks before any job: that they open, and the state of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import SPLITS, remarks
from mvlpt_core.tasks.fewshot import check_counts
from mvlpt_core.tasks.files import walk
from mvlpt_core.tasks.names import UNKNOWN, Room, check_names
from mvlpt_core.tasks.open import find_data_root, open_task
from mvlpt_core.tasks.splits import split_file

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
    warnings, a sentence each: class names that are alike, how the data were read, files passed over.

    Data without a test split are divided now (`splits.divided`), for which images are decoded, once.

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
        classes = len(source.classnames)
        if row.kind == "testbed":
            counts = np.full(classes, _drawn_images())
        else:
            place = (find_data_root(data_root, row.task) / row.location).resolve()
            for known, other in places.items():
                if known == place or known in place.parents or place in known.parents:
                    raise InputError(
                        f"task {row.task}: its location leads to {place}, and that of task {other} to "
                        f"{known}: expected other images"
                    )
            places[place] = row.task
            if sum(path.stat().st_size for path in place.glob("*/*.tar")) > _LABELS_READ:
                continue
            splits = [source.split(name) for name in SPLITS]
            warnings += (f"task {row.task}: {line}" for line in remarks(splits))
            labels = splits[0].labels
            counts = labels.sum(0) if source.multilabel else np.bincount(labels, minlength=classes)
        check_counts(counts, shots, row.task, source.classnames, short_classes)
    return warnings


def _drawn_images() -> int:
    """Training images of each class of a drawn task."""
    from mvlpt_core.testbed import SPLIT_SIZES  # not at import time: other kinds do without it

    return SPLIT_SIZES["train"]


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
    """The state of a task's files, and of the table that divides them where there is one (`splits`);
    those whose names start with a dot hold no data."""
    if kind == "testbed":
        return DataState()
    held, touched = hashlib.sha256(), hashlib.sha256()
    path = find_data_root(data_root, task) / location
    division = split_file(path)
    files = chain(walk(path), [division] if division.is_file() else ())
    for file in files:
        status = file.stat()
        name = file.name if file in (path, division) else file.relative_to(path).as_posix()
        held.update(f"{name}\0{status.st_size}\n".encode())
        times = f"{status.st_mtime_ns}\0{status.st_ctime_ns}"
        touched.update(f"{name}\0{status.st_size}\0{times}\n".encode())
    return DataState(held.hexdigest()[:12], touched.hexdigest()[:12])
