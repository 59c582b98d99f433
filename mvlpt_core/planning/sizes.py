"""How large a suite's tasks are: from the suite, the data, or an assumption that says so."""

from __future__ import annotations

from collections.abc import Sequence

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.planning.counts import TaskSize
from mvlpt_core.tasks.open import find_data_root, open_task

# Of a task that neither suite nor data describe: the median of ELEVATER's twenty.
ASSUMED_CLASSES, ASSUMED_TEST = 40, 6000


def task_size(row: TaskRow, data_root: str | None) -> TaskSize:
    """The size of a task: the suite's expected numbers, where it has them, else those of the data.

    Without either, `ASSUMED_CLASSES` and `ASSUMED_TEST`. A word of a class name counts as one token.
    Raises `InputError` for data that are there and malformed.
    """
    classes, train, test = row.classes, row.train, row.test
    templates = max(1, len(row.templates))
    if row.kind == "testbed":
        from mvlpt_core.testbed import SPLIT_SIZES  # not at import time: other kinds do without it

        source = open_task(row, data_root)
        count = len(source.classnames)
        return TaskSize(
            count,
            count * SPLIT_SIZES["test"],
            count * SPLIT_SIZES["train"],
            _name_tokens(source.classnames),
            len(source.templates),
        )
    if _is_there(row, data_root):
        source = open_task(row, data_root)
        count = len(source.classnames)
        if test is None:
            test = len(source.split("test").labels)
        tokens = _name_tokens(source.classnames)
        return TaskSize(count, test, train, tokens, len(source.templates))
    known = classes is not None and test is not None
    return TaskSize(
        classes or ASSUMED_CLASSES,
        test or ASSUMED_TEST,
        train,
        templates=templates,
        assumed=not known,
    )


def _name_tokens(names: Sequence[str]) -> int:
    return max(1, round(sum(len(name.split()) for name in names) / len(names)))


def _is_there(row: TaskRow, data_root: str | None) -> bool:
    try:
        return (find_data_root(data_root, row.task) / row.location).exists()
    except InputError:
        return False
