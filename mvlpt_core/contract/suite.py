"""Suites: the table of tasks a study runs on, one row a task, as a TSV file.

Columns `task`, `kind`, `location` and `metric` are required; `templates`, `family` and `style`
are optional. The order of the rows is the order of the tasks in every table and figure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.metrics import METRICS

KINDS = ("testbed", "wds", "folder")
REQUIRED = ("task", "kind", "location", "metric")
OPTIONAL = ("templates", "family", "style")
TASK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class TaskRow:
    """One row of a suite.

    `location` is a path below the data root (for `testbed` the name of the built-in task).
    `templates` is empty where the data's own templates count. `family` and `style` name groups
    of tasks that are related by design, or are empty. A bad value raises `InputError`.
    """

    task: str
    kind: str
    location: str
    metric: str
    templates: tuple[str, ...] = ()
    family: str = ""
    style: str = ""

    def __post_init__(self) -> None:
        if not TASK_NAME.fullmatch(self.task):
            raise InputError(
                f"task name {self.task!r} must be made of a-z, 0-9, _ and -, "
                "and start with a letter or digit"
            )
        if self.kind not in KINDS:
            raise InputError(
                f"kind {self.kind!r} of task {self.task} is unknown: expected one of "
                + ", ".join(KINDS)
            )
        if self.metric not in METRICS:
            raise InputError(
                f"metric {self.metric!r} of task {self.task} is unknown: expected one of "
                + ", ".join(METRICS)
            )
        path = PurePosixPath(self.location)
        if not self.location or path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"location {self.location!r} of task {self.task} must be a relative path "
                "below the data root"
            )
        check_templates(self.templates, f"task {self.task}")


def check_templates(templates: tuple[str, ...], where: str) -> None:
    """Raise `InputError`, naming `where`, unless each template has a place `{c}` for the class."""
    for template in templates:
        if "{c}" not in template:
            raise InputError(
                f"template {template!r} of {where} has no {{c}}, the place of the class name"
            )


def read_suite(path: str | Path) -> list[TaskRow]:
    """Read the suite at `path`: a TSV in UTF-8 with a header line; blank lines are skipped.

    Several templates of a row are separated by `|`. Raises `InputError`, naming file and line, for
    a missing file, an unknown, repeated or missing column, a row of another length, a value that
    `TaskRow` refuses, a task that occurs twice, and a suite without tasks.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"suite {path} cannot be read as a UTF-8 text file: {error}") from error
    lines = [(n, line.split("\t")) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"suite {path} is empty: expected a header line and one line a task")
    header = [field.strip() for field in lines[0][1]]
    _check_header(header, path)
    rows: list[TaskRow] = []
    seen: dict[str, int] = {}
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise InputError(
                f"suite {path}, line {number}: {len(line)} tab-separated fields, "
                f"expected {len(header)} ({', '.join(header)})"
            )
        values = {key: value.strip() for key, value in zip(header, line, strict=True)}
        templates = values.pop("templates", "")
        try:
            split = tuple(part.strip() for part in templates.split("|")) if templates else ()
            row = TaskRow(templates=split, **values)
        except InputError as error:
            raise InputError(f"suite {path}, line {number}: {error}") from error
        if row.task in seen:
            raise InputError(
                f"suite {path}, line {number}: task {row.task!r} occurs already in line "
                f"{seen[row.task]}, and every task needs a name of its own"
            )
        seen[row.task] = number
        rows.append(row)
    if not rows:
        raise InputError(f"suite {path} has no tasks: expected one line a task below the header")
    return rows


def _check_header(header: list[str], path: Path) -> None:
    known = REQUIRED + OPTIONAL
    for column in header:
        if column not in known:
            raise InputError(
                f"suite {path}: unknown column {column!r}, expected only {', '.join(known)}"
            )
        if header.count(column) > 1:
            raise InputError(f"suite {path}: column {column!r} occurs twice, expected once")
    for column in REQUIRED:
        if column not in header:
            raise InputError(f"suite {path}: column {column!r} is missing from the header line")
