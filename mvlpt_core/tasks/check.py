"""What can be told of a suite's tasks before any job: that they open, and the state of their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.open import find_data_root, open_task


def check_tasks(rows: Iterable[TaskRow], data_root: str | None) -> None:
    """Open every task without reading images, so that mistakes show before the first job.

    Raises `InputError` for a data root or folder that is missing, and for class names, templates
    or a metric that do not fit.
    """
    for row in rows:
        open_task(row, data_root)


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
