"""Images and a table of their labels: `labels.csv` beside the images, `metadata.csv` in each split's folder.

A table is a .csv, .tsv or .jsonl file with a column for the image's file (`FILE`), one for its label
(`LABEL`, or as the suite says) and optionally one for its split (`SPLIT`), or a .txt list without a header
of files and labels (`images/1.jpg 0`). Where the table lies in a split's folder or is called like one
(`train.csv`), that is the split. Files are named from the table's folder or from one in it. Several labels of
an image are separated by `|` or `;`, stand in a list (.jsonl) or in rows of their own. Classes are named as
`labels.classes_of` says.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line
from mvlpt_core.tasks.base import Place, Split, TaskSource, is_below, read_files, read_lines
from mvlpt_core.tasks.decode import counted
from mvlpt_core.tasks.files import folders_in, left_over, split_in, split_of
from mvlpt_core.tasks.folder import TEXTS, read_templates_of
from mvlpt_core.tasks.labels import classes_of, numbered, unnamed
from mvlpt_core.tasks.splits import WHOLE, chosen, roles

LIST = ".txt"
SUFFIXES = (".csv", ".tsv", ".jsonl", LIST)
FILE = ("file", "filename", "file_name", "image", "image_path", "path", "filepath", "img")
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
    tables = find_tables(path, label_column)
    folder = path if path.is_dir() else path.parent
    if not tables:
        raise InputError(
            f"{path} has no table of labels: expected a .csv, .tsv, .jsonl or .txt file"
        )
    held = _Held()
    for table, part in tables.items():
        _read_table(table, part, held, label_column)
    images = held.images
    several = [image for image in images.values() if len(image.labels) > 1]
    order, names = classes_of([image.labels for image in images.values()], folder)
    parts: dict[str, list[Path]] = {}
    for file, image in images.items():
        parts.setdefault(image.part, []).append(file)
    if WHOLE in parts and len(parts) > 1:
        image = images[parts[WHOLE][0]]
        raise InputError(f"{image.where}: no split, which others have: expected train, val or test")
    said = (*_said(held), *unnamed(order, names))
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
    it is named. Raises `InputError` for several
    that no split tells apart.
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
    if len(found) > 1 and not all(found.values()):
        names = ", ".join(table.relative_to(path).as_posix() for table in found)
        raise InputError(
            f"{path} has {len(found)} tables of labels ({names}): expected one, or one a split"
        )
    return found


def tables_in(folder: Path) -> list[Path]:
    """The files in a folder that may be tables, by name."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return sorted(file for file in files if file.is_file() and not file.name.startswith("."))


def _has_columns(table: Path, label_column: str) -> bool:
    try:
        _, row = next(_rows(table), (0, {}))
    except InputError:
        return False
    if table.suffix.lower() == LIST:  # other texts lie beside images, too
        return bool(row) and _is_there(table, str(row["file"]))
    words = [column.strip().lower() for column in row]
    named = label_column in row if label_column else any(w in LABEL for w in words)
    return any(w in FILE for w in words) and named


def _read_table(table: Path, part: str, held: _Held, label_column: str) -> None:
    columns: dict[str, str] = {}
    roots: list[Path] = []
    gone = []
    for number, row in _rows(table):
        where = f"table {table}, line {number}"
        if not columns:
            columns = _columns(list(row), table, label_column)
            held.unused |= dict.fromkeys(c for c in row if c not in columns.values())
        name = str(row.get(columns["file"]) or "").strip().replace("\\", "/")
        if not is_below(name):
            raise InputError(f"{where}: file {name!r}: expected a path below {table.parent}")
        roots = roots or _roots(table.parent, name)
        file = next((root / name for root in roots if (root / name).is_file()), None)
        if file is None:
            gone.append(f"line {number}: {name}")
            continue
        own = part or _part(row.get(columns.get("split", "")), where)
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


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line number, values by column) of each row; `InputError` for one of another form."""
    if table.suffix.lower() == LIST:
        for number, line in enumerate(read_lines(table, "a file and its label a line"), 1):
            values = re.split(r"[\t,;]\s*" if re.search(r"[\t,;]", line) else r"\s+(?=\S+$)", line)
            if line and len(values) != 2:
                raise InputError(
                    f"table {table}, line {number}: {line!r}: expected a file and its label"
                )
            if line:
                yield number, dict(zip(("file", "label"), values, strict=True))
        return
    if table.suffix.lower() == ".jsonl":
        for number, line in enumerate(read_lines(table, "a JSON object a line"), 1):
            try:
                row = json.loads(line or "{}")
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise InputError(f"table {table}, line {number}: expected a JSON object")
            if row:
                yield number, row
        return
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            tab = "\t" if table.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
            reader = csv.reader(file, delimiter=tab, strict=True)
            header = [column.strip() for column in next(reader, [])]
            if len(set(header)) < len(header):
                raise InputError(f"table {table}: a column occurs twice in {', '.join(header)}")
            for values in reader:
                if not values:
                    continue
                if len(values) != len(header):
                    raise InputError(
                        f"table {table}, line {reader.line_num}: {len(values)} fields: expected "
                        f"{len(header)} ({', '.join(header)})"
                    )
                yield reader.line_num, dict(zip(header, values, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"table {table} cannot be read as UTF-8 text ({first_line(error)})"
        ) from None


def _columns(header: list[str], table: Path, label_column: str) -> dict[str, str]:
    """The columns of a table that count, by what they say."""
    found = {}
    for what, known in (("file", FILE), ("label", LABEL), ("split", SPLIT)):
        own = [column for column in header if column.strip().lower() in known]
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


def _is_there(table: Path, name: str) -> bool:
    return is_below(name) and any((r / name).is_file() for r in _roots(table.parent, name))


def _roots(folder: Path, name: str) -> list[Path]:
    """The folders that files may be named from: that in which the first one is, before all others."""
    folders = [folder, *folders_in(folder)]
    return sorted(folders, key=lambda root: not (root / name).is_file())


def _part(value: Any, where: str) -> str:
    if value is None:
        return WHOLE
    part = split_of(str(value))
    if not part:
        raise InputError(f"{where}: split {value!r}: expected train, val or test")
    return part


def _labels(value: Any, name: str, where: str) -> list[str]:
    """The labels of a cell, as text, letter by letter."""
    values = value if isinstance(value, list) else [value]
    if isinstance(value, str):
        values = _SEPARATORS.split(value)
    labels = [str(v).strip() for v in values if isinstance(v, str) or type(v) is int]
    if len(labels) < max(len(values), 1) or not all(labels):
        raise InputError(
            f"{where}: image {name} has label {value!r}: expected a name or a whole number"
        )
    return labels


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
