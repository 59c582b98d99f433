"""The built-in drawn tasks, as task sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import Load, Place, Split, TaskSource, check_classnames
from mvlpt_core.tasks.decode import Decoding


def open_drawn(task: str, location: str) -> TaskSource:
    """The testbed's task `location`; `InputError` if the testbed has no such task."""
    from mvlpt_core import testbed  # not at import time: other kinds do without it

    if location not in testbed.TASKS:
        raise InputError(
            f"location {location!r} of task {task} is not a task of the testbed: expected one of "
            + ", ".join(testbed.TASKS)
        )
    drawn = testbed.TASKS[location]

    return TaskSource(
        task,
        check_classnames(drawn.classnames, f"testbed task {location}"),
        tuple(drawn.templates),
        False,
        partial(_read_split, location),
    )


def _read_split(location: str, split: str) -> Split:
    labels = _drawn(location, split)[1]
    places = [Place("", str(i)) for i in range(len(labels))]
    return Split(np.asarray(labels, np.int64), places, partial(_read, location, split))


def _read(location: str, split: str, places: Sequence[Place]) -> Iterator[tuple[int, Load]]:
    pixels = _drawn(location, split)[0]
    for position, place in enumerate(places):
        yield position, partial(_drawing, pixels[int(place.member)])


def _drawing(pixels: NDArray[np.uint8], decoding: Decoding) -> Image.Image:
    return Image.fromarray(pixels)


@lru_cache(maxsize=2)  # labels and images are asked for one after the other
def _drawn(location: str, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from mvlpt_core import testbed  # not at import time: other kinds do without it

    return testbed.draw_split(location, split)
