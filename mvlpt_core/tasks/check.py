"""What can be told of a suite's tasks before any job: that they open, and the state of their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
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


def data_state(row: TaskRow, data_root: str | None) -> str:
    """Digest of the names and sizes of a task's files: changes when its data are exchanged.

    Contents are not read, because this runs for every task whenever a study is planned: `mvlpt check
    --study` does. Files whose names start with a dot hold no data. Drawn tasks have no files and an
    empty digest.
    """
    if row.kind == "testbed":
        return ""
    found = hashlib.sha256()
    for name, size in _files(find_data_root(data_root, row.task) / row.location):
        found.update(f"{name}\0{size}\n".encode())
    return found.hexdigest()[:12]


def _files(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """(path below the folder, size) of every file, in the order of the names."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name, entry.stat().st_size
