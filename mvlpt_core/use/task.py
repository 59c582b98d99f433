"""A task by its folder, outside a suite."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import TaskSource
from mvlpt_core.tasks.open import open_task as open_row

_DRAWN = "testbed:"


@dataclass(frozen=True)
class OpenTask:
    """A task: its suite row, the folder that its location is below, and what its reader opened."""

    row: TaskRow
    root: Path | None
    source: TaskSource

    @property
    def name(self) -> str:
        return self.row.task

    @property
    def classnames(self) -> tuple[str, ...]:
        return self.source.classnames


def open_task(
    where: str | Path,
    name: str | None = None,
    *,
    metric: str | None = None,
    templates: Sequence[str] = (),
    names: Sequence[str] = (),
    orientation: str = "",
    grey_bits: int | None = None,
) -> OpenTask:
    """Open the task in a folder, or a drawn one (`testbed:object_rosy`); no image is read yet.

    Its `name` seeds the few-shot sample and the order of batches: with the name that a study has for it,
    tuning gives the study's numbers. `metric`, `templates` ("a photo of a {c}.") and class `names` stand for
    what is read off the folder; `orientation` ("exif") and `grey_bits` say how images are read, as in a
    suite. Raises `InputError` for a folder that is missing or holds no task.
    """
    if str(where).startswith(_DRAWN):
        location, root = str(where).removeprefix(_DRAWN), None
        row = TaskRow(name or location, "testbed", location, metric or "accuracy", tuple(templates))
    else:
        root = Path(where)
        found = describe_folder(root)
        row = TaskRow(
            name or found.task,
            found.kind,
            found.location,
            metric or found.metric,
            tuple(templates),
        )
    row = replace(row, names=tuple(names), orientation=orientation, grey_bits=grey_bits)
    return OpenTask(row, root, open_row(row, root))


def describe_folder(folder: Path) -> TaskRow:
    """A suite row for a folder, its kind and metric read off what is in it."""
    if not folder.is_dir():
        raise InputError(f"task folder '{folder}' is not there: expected a folder of images")
    webdataset = (folder / "train" / "nshards.txt").exists()
    kind = folder / "dataset_type.txt"
    multilabel = kind.is_file() and "multilabel" in kind.read_text(encoding="utf-8").lower()
    plain = unicodedata.normalize("NFKD", folder.resolve().name).encode("ascii", "ignore").decode()
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in plain.lower()).lstrip("_-")
    return TaskRow(
        f"new_{name or 'task'}",
        "wds" if webdataset else "folder",
        ".",
        "map_11point" if multilabel else "accuracy",
    )
