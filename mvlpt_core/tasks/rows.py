"""The rows of a table of labels, in whichever file it is: .csv, .tsv, .jsonl, .xlsx, or a .txt list."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, read_text
from mvlpt_core.tasks.base import read_lines

LIST = ".txt"
EXCEL = ".xlsx"
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", EXCEL, LIST)

Rows = Iterator[tuple[int, Mapping[str, Any]]]


def rows_of(table: Path) -> Rows:
    """(line number, values by column) of each row that holds any; values are text, but for those of .jsonl
    and .xlsx. A list has the columns `file` and `label`.

    Raises `InputError` for a file that is no table, a column that occurs twice, and a row of another form.
    """
    known = {LIST: _listed, ".jsonl": _objects, ".ndjson": _objects, EXCEL: _sheet}
    try:
        yield from known.get(table.suffix.lower(), _separated)(table)
    except OSError as error:
        raise InputError(f"table {table} cannot be read ({error.strerror})") from None


def _listed(table: Path) -> Rows:
    for number, line in enumerate(read_lines(table, "a file and its label a line"), 1):
        values = re.split(r"[\t,;]\s*" if re.search(r"[\t,;]", line) else r"\s+(?=\S+$)", line)
        if line and len(values) != 2:
            raise InputError(
                f"table {table}, line {number}: {line!r}: expected a file and its label"
            )
        if line:
            yield number, dict(zip(("file", "label"), values, strict=True))


def _objects(table: Path) -> Rows:
    for number, line in enumerate(read_lines(table, "a JSON object a line"), 1):
        try:
            row = json.loads(line or "{}", object_pairs_hook=_once)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(
                f"table {table}, line {number}: expected a JSON object, with each key once"
            )
        if row:
            yield number, row


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _separated(table: Path) -> Rows:
    text = read_text(table, "a table of labels (CSV UTF-8)")
    tab = "\t" if table.suffix.lower() == ".tsv" else max(",;\t", key=text.split("\n")[0].count)
    reader = csv.reader(StringIO(text), delimiter=tab, strict=True)
    try:
        yield from _by_column(table, ((reader.line_num, values) for values in reader))
    except csv.Error as error:
        raise InputError(f"table {table}, line {reader.line_num}: not CSV ({error})") from None


def _sheet(table: Path) -> Rows:
    from openpyxl import load_workbook  # a quarter of a second

    try:
        with table.open("rb") as file:
            sheets = load_workbook(file, read_only=True, data_only=True).worksheets
            held = {sheet.title: [*sheet.iter_rows(values_only=True)] for sheet in sheets}
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError, SyntaxError) as error:
        raise InputError(f"table {table} is not a whole .xlsx file ({first_line(error)})") from None
    held = {title: rows for title, rows in held.items() if any(map(any, rows))}
    if len(held) > 1:
        raise InputError(f"table {table} has sheets {', '.join(held)}: expected one with rows")
    for rows in held.values():
        yield from _by_column(table, enumerate(rows, 1))


def _by_column(table: Path, lines: Iterator[tuple[int, Sequence[Any]]]) -> Rows:
    """The rows below a header; those without a value are none, and columns may have no name."""
    _, first = next(lines, (0, ()))
    header = ["" if column is None else str(column).strip() for column in first]
    named = [column for column in header if column]
    if len(set(named)) < len(named):
        raise InputError(f"table {table}: a column occurs twice in {', '.join(header)}")
    for number, values in lines:
        if all(value is None or value == "" for value in values):
            continue
        if len(values) != len(header):
            raise InputError(
                f"table {table}, line {number}: {len(values)} fields: expected "
                f"{len(header)} ({', '.join(header)})"
            )
        yield number, dict(zip(header, values, strict=True))
