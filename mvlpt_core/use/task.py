"""A task by its folder, outside a suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import TaskSource
from mvlpt_core.tasks.kind import describe
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
    label_column: str = "",
    orientation: str = "",
    grey_bits: int | None = None,
) -> OpenTask:
    """Open the task in a folder or file (`kind.describe` says which it can be), or a drawn one
    (`testbed:object_rosy`); no image is read yet, but to divide data without a test split for the first time.

    Its `name` seeds the few-shot sample and the order of batches: with the name that a study has for it,
    tuning gives the study's numbers. `metric`, `templates` ("a photo of a {c}.") and class `names` stand for
    what is read off the data; `label_column` says where labels are, `orientation` ("exif") and `grey_bits`
    how images are read, as in a suite. Raises `InputError` for data that are missing or are no task.
    """
    if str(where).startswith(_DRAWN):
        location, root = str(where).removeprefix(_DRAWN), None
        row = TaskRow(name or location, "testbed", location, metric or "accuracy", tuple(templates))
    else:
        found, root = describe(Path(where), label_column)
        row = TaskRow(
            name or found.task,
            found.kind,
            found.location,
            metric or found.metric,
            tuple(templates),
            label_column=label_column,
            test_split=found.test_split,
        )
    row = replace(row, names=tuple(names), orientation=orientation, grey_bits=grey_bits)
    return OpenTask(row, root, open_row(row, root))
