"""Suites and groups: the tables of tasks a study runs on, and of named sets of them (TSV).

A suite has the columns `task`, `kind`, `location` and `metric`, optionally those that say how a task's
texts and images are read (`READ`) and what its copy should be (`EXPECTED`; `val` in the column `test` says
which part stands for the test); any further column is a
*factor*: a grouping of the tasks that the analysis compares gains within and between. The order of its
rows is the order of the tasks in every table and figure. A table of groups has the columns `group` and
`task`, a row a member; one that a study's gains suggested says from which (`FOUND`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_text
from mvlpt_core.contract.metrics import METRICS
from mvlpt_core.contract.templates import read_template, read_templates

KINDS = ("testbed", "wds", "folder", "table", "parquet", "npz", "coop", "hateful_memes")
REQUIRED = ("task", "kind", "location", "metric")
# How a task is read, where its data alone would not do.
TEXTS = ("templates", "names")
READ = (*TEXTS, "label_column", "orientation", "grey_bits")
# Of these, what a sample depends on as well: its texts do not matter.
READING = ("label_column", "orientation", "grey_bits", "test_split")
ORIENTATIONS = ("", "exif")
# Instead of a number in the column `test`: the part of the data that stands for the test.
TEST_SPLITS = ("", "val")
# What a task's copy should be and where it comes from; no result depends on it.
COUNTS = ("classes", "train", "test")
EXPECTED = ("repo", "revision", *COUNTS, "license", "note")
# Where a table of groups or choices comes from, as the command that writes it notes.
FOUND = ("method", "study", "config_digest", "seeds")
# Words that mean something else where a task's or a group's name may stand.
RESERVED = (
    *("random", "scratch", "zero_shot", "linear_probe"),
    *("tasks", "sources", "groups", "members", "others", "pairs"),
)
LONGEST = 80  # letters of a task's or group's name: two make a file's
NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{,{LONGEST - 1}}}")
FILE = re.compile(r"[^{}|]+\.(txt|json|py)")
REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class TaskRow:
    """One row of a suite.

    `location` is a path below the data root (for `testbed` the name of the built-in task).
    `templates` and `names` are empty where the data's own templates and class names count.
    `label_column` says which column of a table or of parquet files holds the labels, "" where one alone can.
    `test_split` is `val` where that part of the data stands for the test, else "". `orientation` is `exif`
    where images are turned as their EXIF tag says, "" where they are left alone; `grey_bits` is how many
    bits 16-bit grey images use, None where each says so by itself. `factors` holds the values of the
    grouping columns, "" where the task has none. `repo` (owner/name on the hub), pinned to `revision`, is
    where `location` can be fetched from; `classes`, `train` and `test` are the numbers of the paper's split,
    `license` is that of the images, and `note` says where the copy differs from the paper's; "" and None
    where unknown.
    Raises `InputError` for a bad value.
    """

    task: str
    kind: str
    location: str
    metric: str
    templates: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    label_column: str = ""
    orientation: str = ""
    grey_bits: int | None = None
    test_split: str = ""
    factors: dict[str, str] = field(default_factory=dict)
    repo: str = ""
    revision: str = ""
    classes: int | None = None
    train: int | None = None
    test: int | None = None
    license: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check_name(self.task, "task")
        for value, known, what in (
            (self.kind, KINDS, "kind"),
            (self.metric, METRICS, "metric"),
            (self.orientation, ORIENTATIONS, "orientation"),
            (self.test_split, TEST_SPLITS, "test"),
        ):
            if value not in known:
                raise InputError(
                    f"{what} {value!r} of task {self.task} is unknown: expected one of "
                    + ", ".join(word or "nothing" for word in known)
                )
        path = PurePosixPath(self.location)
        if not self.location or path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"location {self.location!r} of task {self.task} must be a relative path "
                "below the data root"
            )
        if self.grey_bits is not None and not 1 <= self.grey_bits <= 16:
            raise InputError(
                f"grey_bits {self.grey_bits} of task {self.task}: expected 1 to 16, or nothing"
            )
        read = tuple(read_template(text, f"task {self.task}") for text in self.templates)
        object.__setattr__(self, "templates", read)
        if self.repo and not REPO.fullmatch(self.repo):
            raise InputError(f"repo {self.repo!r} of task {self.task}: expected owner/name")
        if self.revision and not self.repo:
            raise InputError(
                f"revision {self.revision!r} of task {self.task} has no repo: expected owner/name"
            )

    @property
    def reading(self) -> dict[str, Any]:
        """How labels and images are read: what `tasks.open_source` and `prepare_sample` are told of it."""
        return {key: getattr(self, key) for key in READING}

    @property
    def place(self) -> tuple[str, PurePosixPath]:
        """Where the images are, however the location is written."""
        return self.kind, PurePosixPath(self.location)


def plain_name(text: str) -> str:
    """A task's name made of any text: without accents, in lower case, all else as `_`; a little shorter than
    names may be, as others are made of it."""
    ascii_ = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_-]", "_", ascii_).lstrip("_-")[: LONGEST - 6] or "task"


def check_name(name: str, what: str) -> None:
    """Raise `InputError` unless `name` can be that of a task or group: text that is safe as a
    folder's name and means nothing else in a configuration."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{what} name {name!r} must be made of a-z, 0-9, _ and -, {LONGEST} at most, "
            "and start with a letter or digit"
        )
    if name in RESERVED:
        raise InputError(
            f"{what} name {name!r} means something else in a study: expected none of "
            + ", ".join(RESERVED)
        )


def read_suite(path: str | Path) -> list[TaskRow]:
    """Read the suite at `path`: a TSV in UTF-8 with a header line; blank lines are skipped.

    Several templates or class names of a row are separated by `|`, or they are the name of a file beside
    the suite (.txt, .json, .py): templates as they are published, names one a line. Raises `InputError`,
    naming file and line, for a missing file, a repeated or missing column, a row of another length, a value
    that `TaskRow` refuses, a task or a location that occurs twice, and a suite without tasks.
    """
    rows: list[TaskRow] = []
    seen: dict[str, int] = {}
    places: dict[tuple[str, PurePosixPath], str] = {}
    for number, values in _read_tsv(Path(path), "suite", REQUIRED, (*READ, *EXPECTED)):
        own: dict[str, Any] = {key: values.pop(key) for key in REQUIRED}
        own |= {key: values.pop(key, "") for key in (*READ, *EXPECTED)}
        if own["test"] in TEST_SPLITS:
            own["test_split"], own["test"] = own["test"], ""
        try:
            own |= {key: _count(own[key], key) for key in (*COUNTS, "grey_bits")}
            for key in TEXTS:
                own[key] = _texts(own[key], key, Path(path).parent, own["task"])
            row = TaskRow(**own, factors=values)
        except InputError as error:
            raise InputError(f"suite {path}, line {number}: {error}") from error
        if row.task in seen:
            raise InputError(
                f"suite {path}, line {number}: task {row.task!r} occurs already in line "
                f"{seen[row.task]}, and every task needs a name of its own"
            )
        seen[row.task] = number
        first = places.setdefault(row.place, row.task)
        if first != row.task:
            raise InputError(
                f"suite {path}, line {number}: task {row.task!r} has the location {row.location!r} of "
                f"task {first!r}: expected other images"
            )
        rows.append(row)
    return rows


def _texts(cell: str, column: str, folder: Path, task: str) -> tuple[str, ...]:
    """Templates or class names of a cell, or of the file that it names."""
    parts = [part.strip() for part in cell.split("|")] if cell else []
    if len(parts) == 1 and FILE.fullmatch(cell):
        path = folder / cell
        try:
            text = read_text(path)
        except OSError as error:
            raise InputError(
                f"{column} {cell!r}: {path} cannot be read ({error.strerror}): expected a file beside the "
                "suite"
            ) from None
        if column == "templates":
            return read_templates(text, str(path))
        return tuple(line.strip() for line in text.rstrip().split("\n"))
    if column == "templates":
        return tuple(text for part in parts for text in read_templates(part, f"task {task}"))
    return tuple(parts)


def _count(text: str, column: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"{column} {text!r}: expected a whole number of at least 1, or nothing")
    return int(text)


@dataclass(frozen=True)
class Groups:
    """Named groups of tasks with their `members`, and for those that a study's gains suggested the
    seeds that they were `found_on`."""

    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    found_on: dict[str, tuple[int, ...]] = field(default_factory=dict)


def read_groups(paths: Iterable[str | Path], tasks: Collection[str]) -> Groups:
    """The named groups of several tables, of a study's `tasks`, in the tables' order.

    Raises `InputError`, naming file and line, for a name that a task has, a member that is no task
    of the study, a member given twice, and a group that two tables or two sets of seeds make.
    """
    groups: dict[str, list[str]] = {}
    found_on: dict[str, tuple[int, ...]] = {}
    first: dict[str, Path] = {}
    for path in map(Path, paths):
        for number, values in _read_tsv(path, "groups", ("group", "task"), FOUND):
            group, task = values["group"], values["task"]
            where = f"groups {path}, line {number}"
            try:
                check_name(group, "group")
                seeds = _seeds(values.get("seeds", ""))
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
            if group in tasks:
                raise InputError(
                    f"{where}: group {group!r} has a task's name: expected one of its own"
                )
            if task not in tasks:
                raise InputError(
                    f"{where}: {task!r} is no task of the suite: expected one of its tasks"
                )
            if first.setdefault(group, path) != path:
                raise InputError(f"{where}: group {group!r} is in {first[group]} too: expected one")
            if task in groups.setdefault(group, []):
                raise InputError(
                    f"{where}: task {task!r} is in group {group!r} twice: expected once"
                )
            if found_on.setdefault(group, seeds) != seeds:
                raise InputError(
                    f"{where}: group {group!r} has other seeds above: expected the same"
                )
            groups[group].append(task)
    return Groups(
        {group: tuple(members) for group, members in groups.items()},
        {group: seeds for group, seeds in found_on.items() if seeds},
    )


def _seeds(text: str) -> tuple[int, ...]:
    parts = text.split(",") if text else []
    if not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"seeds {text!r}: expected whole numbers, separated by commas")
    return tuple(map(int, parts))


def read_choices(path: str | Path, tasks: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Sources chosen for each task (TSV: task, source), in the table's order.

    Raises `InputError`, naming file and line, for a name that is no task of the study.
    """
    chosen: dict[str, list[str]] = {}
    for number, values in _read_tsv(Path(path), "choices", ("task", "source"), FOUND):
        for name in (values["task"], values["source"]):
            if name not in tasks:
                raise InputError(
                    f"choices {path}, line {number}: {name!r} is no task of the suite: expected one"
                )
        chosen.setdefault(values["task"], []).append(values["source"])
    return {task: tuple(dict.fromkeys(sources)) for task, sources in chosen.items()}


def _read_tsv(
    path: Path, what: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> list[tuple[int, dict[str, str]]]:
    """(line number, values by column) of each row, all as text, letter by letter."""
    try:
        text = read_text(path, "a table (TSV)")
    except FileNotFoundError:
        raise InputError(f"{what} {path}: no such file") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read ({error.strerror})") from None
    except InputError as error:
        raise InputError(f"{what} {error}") from None
    lines = [(n, line.split("\t")) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise InputError(f"{what} {path} is empty: expected a header line and one line a row")
    header = [part.strip() for part in lines[0][1]]
    while not header[-1]:  # as spreadsheets leave them
        del header[-1]
    if len(header) == 1:
        raise InputError(
            f"{what} {path} has one column, {header[0]!r}: expected several, separated by tabs"
        )
    for column in header:
        if header.count(column) > 1:
            raise InputError(f"{what} {path}: column {column!r} occurs twice: expected once")
        if column not in required + optional:
            _check_factor(column, f"{what} {path}", required + optional, what == "suite")
    for column in required:
        if column not in header:
            raise InputError(f"{what} {path}: column {column!r} is missing from the header line")
    rows = []
    for number, line in lines[1:]:
        while len(line) > len(header) and not line[-1].strip():
            del line[-1]
        if len(line) != len(header):
            raise InputError(
                f"{what} {path}, line {number}: {len(line)} tab-separated fields: "
                f"expected {len(header)} ({', '.join(header)})"
            )
        rows.append((number, {k: v.strip() for k, v in zip(header, line, strict=True)}))
    if not rows:
        raise InputError(f"{what} {path} has no rows: expected at least one below the header")
    return rows


def _check_factor(column: str, where: str, known: tuple[str, ...], allowed: bool) -> None:
    # A factor's name becomes part of tables and figures; `self` and `neither` are relations.
    if not allowed or not NAME.fullmatch(column) or column in ("self", "neither"):
        raise InputError(
            f"{where}: unknown column {column!r}: expected {', '.join(known)}"
            + (", or a factor named with a-z, 0-9, _ and -" if allowed else "")
        )
