"""The built-in drawn tasks, as task sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import Split, TaskSource, check_classnames


def open_drawn(task: str, location: str) -> TaskSource:
    """The testbed's task `location`; `InputError` if the testbed has no such task."""
    from mvlpt_core import testbed  # not at import time: other kinds do without it

    if location not in testbed.TASKS:
        raise InputError(
            f"location {location!r} of task {task} is not a task of the testbed: expected one of "
            + ", ".join(testbed.TASKS)
        )
    drawn = testbed.TASKS[location]

    def read_split(split: str) -> Split:
        pixels, labels = testbed.draw_split(location, split)  # uint8 [N, S, S, 3], int64 [N]

        def images(indices: Iterable[int]) -> Iterator[tuple[int, Image.Image]]:
            for i in indices:
                yield i, Image.fromarray(pixels[i])

        return Split(np.asarray(labels, np.int64), images)

    return TaskSource(
        task,
        check_classnames(drawn.classnames, f"testbed task {location}"),
        tuple(drawn.templates),
        False,
        read_split,
    )
