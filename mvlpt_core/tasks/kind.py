"""The kind of a task, its metric and its test split, read off its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import held
from mvlpt_core.contract.suite import TaskRow, plain_name
from mvlpt_core.tasks import archive, coop, memes, npz, parquet, rows, table
from mvlpt_core.tasks.files import content_root, folders_in
from mvlpt_core.tasks.open import open_source
from mvlpt_core.tasks.splits import NoTest

_FILES = {
    npz.SUFFIX: "npz",
    parquet.SUFFIX: "parquet",
    **dict.fromkeys(rows.SUFFIXES, "table"),
}


def describe(path: Path, label_column: str = "") -> tuple[TaskRow, Path]:
    """A suite row for the data at `path`, a folder or a file, and the folder that its location is below.

    The task's name is made of the path's; its test is `val` where there is no other. `label_column` is the
    suite's. Raises `InputError` for a path that is not there, and for data that are no task.
    """
    path = check_there(path)
    kind = kind_of(path, label_column)
    name = _name(path)
    reading: dict[str, Any] = {"label_column": label_column}
    try:
        source = open_source(name, kind, path.name, path.parent, **reading)
    except NoTest:
        reading["test_split"] = "val"
        source = open_source(name, kind, path.name, path.parent, **reading)
    metric = "map_11point" if source.multilabel else "accuracy"
    return TaskRow(f"new_{name}", kind, path.name, metric, **reading), path.parent


def check_there(path: Path) -> Path:
    """The whole path of a task's data; `InputError` if nothing is there."""
    found = path.expanduser().resolve()
    if not found.exists():
        raise InputError(
            f"task folder '{path}' is not there: expected a folder of images, or a file of them"
        )
    return found


def is_data(path: Path) -> bool:
    """Whether there is a folder, or a file with a name that those of tasks have."""
    return (
        path.is_dir()
        or archive.is_archive(path)
        or (path.is_file() and path.suffix.lower() in _FILES)
    )


def kind_of(path: Path, label_column: str = "") -> str:
    """The kind of the data at `path`, or in it where it is an archive."""
    content = content_root(archive.unpacked(path) if archive.is_archive(path) else path)
    if content.is_dir():
        with archive.told_of(path, content):
            return _kind_in(content, label_column)
    if content.suffix.lower() not in _FILES:
        expected = ", ".join((*_FILES, *archive.SUFFIXES))
        what = f" holds {what}" if (what := held(content)) else ""
        raise InputError(
            f"task {content}{what}: expected a folder, or a file ending in one of {expected}"
        )
    return _FILES[content.suffix.lower()]


def _kind_in(path: Path, label_column: str) -> str:
    if (path / "train" / "nshards.txt").exists():
        return "wds"
    if coop.find_splits(path):
        return "coop"
    if all((path / name).is_file() for name in memes.FILES.values()):
        return "hateful_memes"
    if parquet.find_parquet(path):
        return "parquet"
    if len(npz.npz_in(path)) == 1:
        return "npz"
    return "table" if table.find_tables(path, label_column) or _has_other_table(path) else "folder"


def _has_other_table(path: Path) -> bool:
    """Whether a table without the columns of one is all that could tell labels: no folder can be a class."""
    flat = not folders_in(path) or not any(map(folders_in, folders_in(path)))
    others = [file for file in table.tables_in(path) if file.suffix.lower() != rows.LIST]
    return flat and len(folders_in(path)) < 2 and bool(others)


def _name(path: Path) -> str:
    name = path.name
    if path.is_file():
        for suffix in (*archive.SUFFIXES, *_FILES):
            if name.lower().endswith(suffix):
                name = name[: -len(suffix)]
    return plain_name(name)
