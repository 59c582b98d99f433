"""Whether tasks' data are whole and what the suite says they are: every image is decoded, none tuned on.

Images are compared by BLAKE2b of their decoded pixels, so that one image in two files, even of two
formats without loss, counts as the same. What was decoded once is remembered by the file's path, size
and time of change, as `make` does: a check that was interrupted goes on, and a second one is fast.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import (
    HASH_BYTES,
    SPLITS,
    Place,
    Read,
    Split,
    TaskSource,
    content_digest,
    hash_pixels,
    remarks,
)
from mvlpt_core.tasks.decode import AS_IT_IS, FLAT, Decoding, described, notes
from mvlpt_core.tasks.decode import counted as _images
from mvlpt_core.tasks.names import UNKNOWN, Room, check_names
from mvlpt_core.tasks.open import open_task
from mvlpt_core.tasks.prepare import read_hashes
from mvlpt_core.tasks.seen import Seen

PART = 1000  # images a worker is given at once
LISTED = 3  # images named of those with the same fault

T = TypeVar("T")


@dataclass
class Found:
    """What a task's data are: numbers of classes and of the splits' images, of images that repeat one of
    their split and of test images that are in `train` too (None where they could not be told), a digest
    of all content, and what is `wrong` or worth a note, a sentence each.

    `hashes` are those of each split's images, uint8 [N, 16], zeros where one does not decode; `source` and
    `splits` are what was opened.
    """

    task: str
    kind: str
    classes: int | None = None
    train: int | None = None
    test: int | None = None
    repeated: int | None = None
    shared: int | None = None
    digest: str = ""
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hashes: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    source: TaskSource | None = None
    splits: dict[str, Split] = field(default_factory=dict)


@dataclass
class _Opened:
    """A split whose images are being decoded; `hashes` are filled as they come."""

    found: Found
    split: Split
    hashes: NDArray[np.uint8]
    notes: list[str]
    errors: list[str] = field(default_factory=list)


def check_data(
    rows: Iterable[TaskRow],
    data_root: str | None,
    cache: Path | None,
    workers: int,
    room: Room = UNKNOWN,
) -> list[Found]:
    """What the data of each task are, decoded by up to `workers` processes.

    What is wrong with data is told in the result, not raised. `cache` is a file to remember decoded
    images in, None for no memory; `room` is what class names have in the text tower. Raises `InputError`
    for a cache that is none of ours.
    """
    rows = list(rows)
    with Seen(cache) as seen, _pool(workers) as pool, tqdm(unit=" images", disable=None) as bar:
        bar.total = 0
        waiting: dict[Future[_Hashed], tuple[_Opened, NDArray[np.int64]]] = {}

        def collect(done: Iterable[Future[_Hashed]]) -> None:
            for future in done:
                opened, indices = waiting.pop(future)
                hashes, notes, errors = future.result()
                opened.hashes[indices] = hashes
                opened.errors += errors
                for i, note in zip(indices, notes, strict=True):
                    opened.notes[i] = note
                seen.remember(opened.split, indices, hashes, notes)
                bar.update(len(indices))

        tasks = []
        for row in rows:
            found, names, splits = _open(row, data_root)
            tasks.append((row, found, names, splits))
            for opened in splits.values():
                left = seen.recall(opened.split, opened.hashes, opened.notes)
                bar.total += len(left)
                for indices in _portions(opened.split.places, left, workers):
                    places = [opened.split.places[i] for i in indices]
                    job = pool.submit(hash_images, opened.split.read, places, opened.split.decoding)
                    waiting[job] = opened, indices
                collect([future for future in waiting if future.done()])
        while waiting:
            collect(wait(waiting, return_when=FIRST_COMPLETED).done)
    for row, found, names, splits in tasks:
        _judge(row, found, names, splits, room)
    return [found for _, found, _, _ in tasks]


def check_prepared(found: Found, files: Iterable[Path]) -> None:
    """Note in `found` what prepared files of a study hold that the data no longer do."""
    files = [path for path in files if path.is_file()]
    if not files:
        found.notes.append("the study has no prepared images of this task")
    for path in files:
        try:
            part, hashes = read_hashes(path)
        except InputError as error:
            found.wrong.append(str(error))
            continue
        split = "test" if part == "test" else "train"
        if split not in found.hashes:
            continue  # said already
        held = {value.tobytes() for value in found.hashes[split]}
        gone = sum(value.tobytes() not in held for value in hashes)
        if gone:
            found.wrong.append(
                f"{path} was made from {_images(gone)} that split {split} does not hold any more: expected "
                "the data that it was made from, or the file deleted"
            )


_Hashed = tuple[NDArray[np.uint8], list[str], list[str]]


def hash_images(read: Read, places: Sequence[Place], decoding: Decoding = AS_IT_IS) -> _Hashed:
    """Hashes, uint8 [N, 16], of the images at `places`, what was met in each (`decode.notes`, words in a
    text), and a sentence for each that does not decode, whose hash is zeros."""
    hashes = np.zeros((len(places), HASH_BYTES), np.uint8)
    met, errors = [""] * len(places), []
    try:
        for position, load in read(places):
            try:
                image = load(decoding)
                hashes[position] = hash_pixels(np.asarray(image))
                met[position] = " ".join(notes(image))
            except InputError as error:
                errors.append(str(error))
    except InputError as error:  # a whole file; those after it are not read
        errors.append(str(error))
    return hashes, met, errors


def _open(row: TaskRow, data_root: str | None) -> tuple[Found, tuple[str, ...], dict[str, _Opened]]:
    """A task, its class names and its splits; what cannot be opened is noted as wrong."""
    found = Found(row.task, row.kind)
    opened: dict[str, _Opened] = {}
    try:
        source = open_task(row, data_root)
    except InputError as error:
        found.wrong.append(str(error))
        return found, (), opened
    found.source, found.classes = source, len(source.classnames)
    for name in SPLITS:
        try:
            split = source.split(name)
        except InputError as error:
            if str(error) not in found.wrong:  # of data that are yet to be divided, both say it
                found.wrong.append(str(error))
            continue
        hashes = np.zeros((len(split.labels), HASH_BYTES), np.uint8)
        opened[name] = _Opened(found, split, hashes, [""] * len(hashes))
        found.splits[name] = split
    return found, source.classnames, opened


def _portions(
    places: Sequence[Place], left: NDArray[np.int64], workers: int
) -> list[NDArray[np.int64]]:
    """The images `left`, in portions: a tar file each where there is one for each worker, because a
    portion of a file is read from the file's start."""
    if not len(left):
        return []
    files = np.array([places[i].file for i in left])
    starts = np.flatnonzero(files[1:] != files[:-1]) + 1
    if places[left[0]].member and len(starts) + 1 >= workers:
        return np.split(left, starts)
    return np.array_split(left, -(-len(left) // PART))


def _judge(
    row: TaskRow,
    found: Found,
    names: tuple[str, ...],
    splits: dict[str, _Opened],
    room: Room,
) -> None:
    """Complete what is told of a task whose images have all been decoded."""
    if row.note:
        found.notes.append(row.note)
    try:
        found.notes += check_names(names, "classes", room)
    except InputError as error:
        found.wrong.append(str(error))
    if row.classes not in (None, found.classes) and found.classes is not None:
        found.wrong.append(f"{found.classes} classes: expected {row.classes}")
    found.notes += remarks(opened.split for opened in splits.values())
    known: dict[str, dict[bytes, int]] = {}
    found.repeated = 0 if splits else None
    for name, opened in splits.items():
        count = len(opened.split.labels)
        setattr(found, name, count)
        expected = getattr(row, name)
        if expected not in (None, count):
            # The suite's note says that its author knows.
            (found.notes if row.note else found.wrong).append(
                f"{_images(count)} in split {name}: expected {expected:,}"
            )
        found.wrong += opened.errors[:LISTED]
        if len(opened.errors) > LISTED:
            more = len(opened.errors) - LISTED
            found.wrong.append(f"{_images(more)} more of split {name} that do not decode")
        known[name] = _repeats(found, name, opened)
        found.notes += _met(name, opened)
        found.hashes[name] = opened.hashes
    if len(splits) < len(SPLITS):
        return
    both = [(i, known["train"][h]) for h, i in known["test"].items() if h in known["train"]]
    found.shared = len(both)
    if both:
        i, j = both[0]
        test, train = splits["test"].split.places[i], splits["train"].split.places[j]
        found.wrong.append(
            f"{_images(len(both))} of split test in split train too ({_place(test)} is "
            f"{_place(train)}): expected splits without a common image"
        )
    parts = [content_digest(splits[name].split.labels, splits[name].hashes) for name in SPLITS]
    digest = hashlib.blake2b(json.dumps([names, parts]).encode(), digest_size=HASH_BYTES)
    found.digest = digest.hexdigest()


def _repeats(found: Found, name: str, opened: _Opened) -> dict[bytes, int]:
    """The first image with each hash; images that repeat one of their split are noted."""
    first: dict[bytes, int] = {}
    again: list[tuple[int, int]] = []
    for i, value in enumerate(opened.hashes):
        key = value.tobytes()
        if any(key) and first.setdefault(key, i) != i:
            again.append((i, first[key]))
    if again:
        found.repeated = (found.repeated or 0) + len(again)
        labels, places = opened.split.labels, opened.split.places
        other = sum(not np.array_equal(labels[i], labels[j]) for i, j in again)
        i, j = again[0]
        verb = "repeats" if len(again) == 1 else "repeat"
        found.notes.append(
            f"{_images(len(again))} of split {name} {verb} another ({_place(places[i])} is "
            f"{_place(places[j])}), {other} of them with another label"
        )
    return first


def _met(name: str, opened: _Opened) -> list[str]:
    """What was met in a split's images, a sentence each; that of flat ones, the last, names the first."""
    words = [note.split() for note in opened.notes]
    lines = described(Counter(word for note in words for word in note), opened.split.decoding)
    first = next((i for i, note in enumerate(words) if FLAT in note), None)
    if first is not None:
        lines[-1] += f" ({_place(opened.split.places[first])})"
    return [f"split {name}: {line}" for line in lines]


def _place(place: Place) -> str:
    return f"{place.member} in {Path(place.file).name}" if place.member else Path(place.file).name


class _Here(Executor):
    """Does the work in this process."""

    def submit(self, call: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(call(*args, **options))
        return future


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Processes, one for each worker where there are several; what waits is dropped on an error."""
    if workers < 2:
        yield _Here()
        return
    # Forked on Linux: a fresh process would import torch again to read a tar file.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        pool = ProcessPoolExecutor(workers, context)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
