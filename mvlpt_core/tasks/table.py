"""Images and a table of their labels: `labels.csv` beside the images, `metadata.csv` in each split's folder.

A table is a .csv, .tsv, .jsonl or .xlsx file with a column for the image's file (`FILE`, else `FILE_ID`), one
for its label (`LABEL`, or as the suite says) and optionally one for its split (`SPLIT`), or a .txt list
without a header of files and labels (`images/1.jpg 0`). Where the table lies in a split's folder or is called
like one (`train.csv`), that is the split. Files are named from the table's folder or from one in it, with
their suffix or without. Several labels of an image are separated by `|` or `;`, stand in a list (.jsonl) or
in rows of their own. Classes are named as `labels.classes_of` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import Place, Split, TaskSource, is_below, read_files
from mvlpt_core.tasks.decode import counted
from mvlpt_core.tasks.files import EXTENSIONS, folders_in, is_system, left_over, split_in, split_of
from mvlpt_core.tasks.folder import TEXTS, read_templates_of
from mvlpt_core.tasks.labels import as_text, check_given, classes_of, doubtful, numbered, whole
from mvlpt_core.tasks.rows import LIST, SUFFIXES, rows_of
from mvlpt_core.tasks.splits import WHOLE, chosen, roles

FILE = (
    *("file", "filename", "file_name", "image", "image_path", "path", "filepath", "filepaths"),
    "img",
)
FILE_ID = ("image_id", "image_name", "id")  # where no column is called as `FILE`
LABEL = ("label", "labels", "class", "class_name", "target", "category")
SPLIT = ("split", "subset")
# What helps where none or several could be the labels.
NAME_IT = ", or its name as label_column (--label-column)"
METADATA = "metadata"  # the name of a table that always is one of labels
_SEPARATORS = re.compile(r"[|;]")


@dataclass
class _Image:
    labels: list[str]
    part: str
    where: str  # the row that names it first


@dataclass
class _Held:
    """The images that the tables name, by file, and what is told of their rows."""

    images: dict[Path, _Image] = field(default_factory=dict)
    repeated: int = 0
    unused: dict[str, None] = field(default_factory=dict)  # columns, in their order


def open_table(
    task: str, path: Path, home: Path, test_split: str = "", label_column: str = ""
) -> TaskSource:
    """The tables of labels in the folder `path`, or the one at `path`, with the labels of `label_column`
    where it is named; raises `InputError` for what is absent or malformed, for a row without a label, and
    for files that are not there."""
    # The first that is none says why.
    texts = tables_in(path) if path.is_dir() else []
    others = {table: "" for table in texts if table.suffix.lower() != LIST}
    tables = find_tables(path, label_column) or others
    folder = path if path.is_dir() else path.parent
    if not tables:
        raise InputError(f"{path} has no table of labels: expected one of {', '.join(SUFFIXES)}")
    held = _Held()
    for table, part in tables.items():
        _read_table(table, part, held, label_column)
    images = held.images
    whole([image.labels for image in images.values()])
    check_given([image.labels for image in images.values()], str(folder))
    several = [image for image in images.values() if len(image.labels) > 1]
    order, names = classes_of([image.labels for image in images.values()], folder)
    parts: dict[str, list[Path]] = {}
    for file, image in images.items():
        parts.setdefault(image.part, []).append(file)
    if WHOLE in parts and len(parts) > 1:
        image = images[parts[WHOLE][0]]
        raise InputError(f"{image.where}: no split, which others have: expected train, val or test")
    said = (*_said(held), *doubtful(order, names))
    train, test = roles(
        {part: f"{part} ({counted(len(files))})" for part, files in parts.items()},
        test_split,
        str(home),
    )

    def read(part: str) -> Split:
        files = parts[part]
        own = [images[file].labels for file in files]
        split = Split(
            numbered(own, order, bool(several)), [Place(str(file)) for file in files], read_files
        )
        if part != train:
            return split
        used = {*images, *tables, *(folder / name for name in TEXTS)}
        passed = left_over(folder, used, "images that the table does not name")
        return replace(split, passed=passed, said=said)

    calls = {part: partial(read, part) for part in parts}
    return TaskSource(
        task,
        names,
        read_templates_of(folder),
        bool(several),
        chosen(calls, train, test, folder, home),
    )


def find_tables(path: Path, label_column: str = "") -> dict[Path, str]:
    """Tables of labels at or in `path`, each with the split that its place or name says, "" for none.

    Those called `metadata` come first; any other has to have the columns, `label_column` among them where
    it is named. Raises `InputError` for several that no split tells apart.
    """
    if path.is_file():
        return {path: ""}
    named = {table: "" for table in tables_in(path) if table.stem.lower() == METADATA}
    for folder in folders_in(path):
        part = split_of(folder.name)
        named |= {table: part for table in tables_in(folder) if part and table.stem == METADATA}
    found = {t: part for t, part in named.items() if _has_columns(t, label_column)}
    if not found:
        others = [table for table in tables_in(path) if _has_columns(table, label_column)]
        found = {table: split_in(table.stem) for table in others}
    if found:
        for table in tables_in(path):  # nor is a split's table passed over that cannot be read
            if table not in found and table.suffix.lower() != LIST and split_in(table.stem):
                next(rows_of(table), None)
    if len(found) > 1 and not all(found.values()):
        names = ", ".join(table.relative_to(path).as_posix() for table in found)
        raise InputError(
            f"{path} has {len(found)} tables of labels ({names}): expected one, or one a split"
        )
    return found


def tables_in(folder: Path) -> list[Path]:
    """The files in a folder that may be tables, by name."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return sorted(file for file in files if file.is_file() and not is_system(file.name))


def _has_columns(table: Path, label_column: str) -> bool:
    try:
        _, row = next(rows_of(table), (0, {}))
    except InputError:
        return False
    if table.suffix.lower() == LIST:  # other texts lie beside images, too
        return bool(row) and _is_there(table, str(row["file"]))
    words = [_word(column) for column in row]
    named = label_column in row if label_column else any(w in LABEL for w in words)
    return any(w in (*FILE, *FILE_ID) for w in words) and named


def _word(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.strip().lower())


def _read_table(table: Path, part: str, held: _Held, label_column: str) -> None:
    columns: dict[str, str] = {}
    roots: list[Path] = []
    gone: list[str] = []
    for number, row in rows_of(table):
        where = f"table {table}, line {number}"
        if not columns:
            columns = _columns(list(row), table, label_column)
            others = [c or "one without a name" for c in row if c not in columns.values()]
            held.unused |= dict.fromkeys(others)
        name = row.get(columns["file"])
        name = "" if name is None else str(name).strip().replace("\\", "/")
        name = name.removeprefix(f"{table.parent.resolve().as_posix()}/")
        if not is_below(name):
            raise InputError(f"{where}: file {name!r}: expected a path below {table.parent}")
        roots = roots or _roots(table.parent, name)
        file = _find(roots, name)
        if file is None:
            gone.append(f"line {number}: {name}" + ("" if gone else _alike(roots, name)))
            continue
        own = part or (_part(row.get(columns["split"]), where) if "split" in columns else WHOLE)
        _add(held, file, _labels(row.get(columns["label"]), name, where), own, where)
    if not columns:
        raise InputError(f"table {table} has no rows: expected an image a row")
    if gone:
        raise InputError(
            f"table {table} names {counted(len(gone))} not there ({gone[0]}): expected files below "
            f"{table.parent} or a folder in it"
        )


def _add(held: _Held, file: Path, labels: list[str], part: str, where: str) -> None:
    first = held.images.setdefault(file, _Image([], part, where))
    if first.part != part:
        raise InputError(
            f"{where}: {file.name} is in split {part or 'none'}, and by {first.where} in "
            f"{first.part or 'none'}: expected one"
        )
    new = [label for label in dict.fromkeys(labels) if label not in first.labels]
    held.repeated += not new
    first.labels += new


def _columns(header: list[str], table: Path, label_column: str) -> dict[str, str]:
    """The columns of a table that count, by what they say."""
    found = {}
    for what, known in (("file", FILE), ("label", LABEL), ("split", SPLIT)):
        own = [column for column in header if _word(column) in known]
        if what == "file" and not own:
            own = [column for column in header if _word(column) in FILE_ID]
        if what == "label" and label_column:
            own = [label_column] if label_column in header else []
        if len(own) > 1 or (not own and what != "split"):
            has = (
                f"columns {', '.join(own)}"
                if own
                else f"no column of the {what} ({', '.join(header)})"
            )
            how = NAME_IT if what == "label" and not label_column else ""
            called = label_column or ", ".join(known)
            raise InputError(f"table {table} has {has}: expected one, called {called}{how}")
        if own:
            found[what] = own[0]
    return found


def _find(roots: Sequence[Path], name: str) -> Path | None:
    """The file that a name means, with its suffix or without."""
    bare = not name.lower().endswith(EXTENSIONS)
    names = [name, *(name + suffix for suffix in EXTENSIONS)] if bare else [name]
    files = (root / each for root in roots for each in names)
    return next((file for file in files if file.is_file()), None)


def _alike(roots: Sequence[Path], name: str) -> str:
    """For a message: the file of a name that differs in case alone, where there is one."""
    for folder in {(root / name).parent: None for root in roots}:
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.name.lower() == Path(name).name.lower():
                return f"; {file.name} is there"
    return ""


def _is_there(table: Path, name: str) -> bool:
    return is_below(name) and _find(_roots(table.parent, name), name) is not None


def _roots(folder: Path, name: str) -> list[Path]:
    """The folders that files may be named from: that in which the first one is, before all others."""
    folders = [folder, *folders_in(folder)]
    return sorted(folders, key=lambda root: not _find([root], name))


def _part(value: Any, where: str) -> str:
    part = split_of(str(value))
    if not part:
        raise InputError(f"{where}: split {value!r}: expected train, val or test")
    return part


def _labels(value: Any, name: str, where: str) -> list[str]:
    """The labels of a cell, as text, letter by letter."""
    values = value if isinstance(value, list) else [value]
    if isinstance(value, str):
        values = [part.strip() for part in _SEPARATORS.split(value)]
    return as_text(values, f"{where}: image {name} has label {value!r}")


def _said(held: _Held) -> list[str]:
    said = []
    several = [image for image in held.images.values() if len(image.labels) > 1]
    if several:
        number = f"{counted(len(several))} of {len(held.images):,}"
        said.append(f"multi-label: {number} with several labels (first: {several[0].where})")
    if held.repeated:
        said.append(f"rows of the table that repeat another: {held.repeated:,}")
    if held.unused:
        said.append(f"columns of the table that are not used: {', '.join(held.unused)}")
    return said
