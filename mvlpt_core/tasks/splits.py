"""Which of a task's images are to train and which to test, whatever parts its data come in.

Data without a test split are divided once: of each class a share goes to the test, drawn with a fixed seed,
and images that decode to the same pixels stay on one side. A small table (`file`, `split`) keeps that beside
the data, or where they may not be written to in the user's cache; while it is there, it is what counts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, read_text, write_atomic
from mvlpt_core.contract.seeds import generator
from mvlpt_core.tasks.base import Load, Place, Split, hash_pixels
from mvlpt_core.tasks.decode import AS_IT_IS, counted
from mvlpt_core.tasks.files import SPLIT_FILE, SPLIT_NAMES, cache_folder

_log = logging.getLogger(__name__)

WHOLE = ""  # the part of data that come in no parts
TEST_SHARE = 0.3
SEED = 0
_HEADER = "file\tsplit"


class NoTest(InputError):
    """Data have train and val but no test, and nothing says that val stands for it."""


def roles(parts: Mapping[str, str], test_split: str, where: str) -> tuple[str, str]:
    """The parts that are to train and to test, of those there are (each with a description); no part to
    test where one is to be divided.

    `val` stands for the test where `test_split` says so. Raises `InputError`, saying what is there, where
    that does not settle it.
    """
    there = " and ".join(parts[part] for part in (*SPLIT_NAMES, WHOLE) if part in parts)
    test = test_split or "test"
    if WHOLE in parts or set(parts) == {"train"}:
        if test_split:
            raise InputError(f"{where} has no val for the suite's 'test: {test_split}'")
        return next(iter(parts)), ""
    if "train" not in parts:
        raise InputError(f"{where} has {there} but no train: expected train and test")
    if test not in parts:
        if "val" in parts and not test_split:
            raise NoTest(
                f"{where} has {there} but no test: expected test, or val in the suite's column test"
            )
        raise InputError(f"{where} has {there} but no {test}: expected both")
    return "train", test


def chosen(
    parts: Mapping[str, Callable[[], Split]],
    train: str,
    test: str,
    root: Path,
    home: Path,
) -> Callable[[str], Split]:
    """The `read_split` of a task whose data come in `parts` with these `roles`, below `root`, from the
    location `home`: another one where they were unpacked.

    Images of a part that is not used are counted among what `train` passes over.
    """

    @cache
    def both() -> dict[str, Split]:
        return divided(parts[train](), root, home)

    def read(split: str) -> Split:
        if not test:
            return both()[split]
        said = ("val stands for the test split",) if test == "val" else ()
        if split == "test":
            found = parts[test]()
            return replace(found, said=(*found.said, *said))
        found = parts[train]()
        passed = dict(found.passed)
        for part in parts.keys() - {train, test}:
            unused = parts[part]()
            number = len(unused.labels) + sum(unused.passed.values())
            passed[f"in {part}, which is not used"] = number
        return replace(found, passed=passed, said=(*found.said, *said))

    return read


def split_file(home: Path) -> Path:
    """The table that says how the images at a location are divided: where it is, else where it can be."""
    home = home.absolute()
    beside = home.with_name(home.name + SPLIT_FILE)
    name = f"{home.name}-{sha256(str(home).encode()).hexdigest()[:12]}{SPLIT_FILE}"
    cached = cache_folder("splits") / name
    for file in (beside, cached):
        if file.is_file():
            return file
    return beside if os.access(home.parent, os.W_OK) else cached


def divided(split: Split, root: Path, home: Path) -> dict[str, Split]:
    """Images without a test split as `train` and `test`, as the table at `split_file` says, which names
    them from `root`; it is made if it is not there, for which every image is decoded.

    Raises `InputError` for a table that does not fit the images, an image that does not decode, and a class
    whose images are all alike.
    """
    file = split_file(home)
    keys = _keys(split.places, root)
    if file.is_file():
        test = _read(file, keys)
    else:
        _log.info("%s has no test split: decoding %s to make one", home, counted(len(keys)))
        groups = _groups(split)
        for number, own in enumerate(_hot(split.labels).T):
            if len(set(groups[own])) == 1:
                alike = f"{counted(int(own.sum()))}, all alike" if own.sum() > 1 else "one image"
                raise InputError(
                    f"class {number} (counted from 0) of {home} has {alike} ({keys[int(own.argmax())]}): "
                    "expected two that differ, because one has to be held out for the test"
                )
        test = held_out(groups, split.labels)
        lines = (
            f"{key}\t{'test' if held else 'train'}" for key, held in zip(keys, test, strict=True)
        )
        try:
            write_atomic(file, "\n".join([_HEADER, *lines, ""]))
        except (OSError, UnicodeEncodeError) as error:
            raise InputError(f"{file} cannot be written ({first_line(error)})") from None
    said = (
        f"the data have no test split: {counted(int(test.sum()))} of {len(test):,} are held out, equal "
        f"images on one side, as {file} says"
    )
    first = _part(split, ~test)
    return {
        "train": replace(first, said=(*split.said, said)),
        "test": replace(_part(split, test), passed={}, said=(said,)),
    }


def held_out(groups: NDArray[np.int64], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which images, bool [N], are to test: of each class about `TEST_SHARE`, at least one image and not
    all, whole `groups` [N] (numbers of equal images) at a time.

    Rare classes choose first, so that several labels an image do not leave one of them out.
    """
    hot = _hot(labels)
    members = np.zeros((groups.max() + 1, hot.shape[1]), np.int64)  # images by group and class
    np.add.at(members, groups, hot)
    random = generator("held out", SEED)
    side = np.full(len(members), -1)  # of each group: 1 test, 0 train
    total = members.sum(0)
    wanted = np.clip(np.rint(TEST_SHARE * total), 1, np.maximum(total - 1, 1))
    held = np.zeros_like(total)
    for c in np.argsort(total, kind="stable"):
        free = random.permutation(np.flatnonzero((members[:, c] > 0) & (side < 0)))
        for group in free:
            side[group] = int(held[c] < wanted[c] and (held + members[group] <= wanted).all())
            held += members[group] * side[group]
        if not held[c] and len(free) > 1:
            least = free[members[free, c].argmin()]
            side[least] = 1
            held += members[least]
    side[side < 0] = 0  # images without a label
    return side[groups] == 1


def _hot(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which classes each image has, bool [N, C]."""
    if labels.ndim == 2:
        return labels > 0
    return labels[:, None] == np.arange(labels.max(initial=0) + 1)


def _groups(split: Split) -> NDArray[np.int64]:
    """A number for each image, int64 [N], equal where the decoded pixels are."""
    hashes = np.zeros((len(split.places), 16), np.uint8)

    def fill(item: tuple[int, Load]) -> None:
        hashes[item[0]] = hash_pixels(np.asarray(item[1](AS_IT_IS)))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes without the lock
        places = split.places
        for start in range(0, len(places), 1024):  # few files' bytes at once
            for _ in pool.map(fill, _moved(split, start, start + 1024)):
                pass
    return np.unique(hashes, axis=0, return_inverse=True)[1].ravel()


def _moved(split: Split, start: int, stop: int) -> list[tuple[int, Load]]:
    return [(start + i, load) for i, load in split.read(split.places[start:stop])]


def _keys(places: Sequence[Place], root: Path) -> list[str]:
    """A name of each image in the table: its path below `root`, and its name in the file that holds many."""
    keys = []
    for place in places:
        below = Path(place.file).relative_to(root).as_posix()
        keys.append(f"{below}#{place.member}" if place.member else below)
    return keys


def _read(file: Path, keys: Sequence[str]) -> NDArray[np.bool_]:
    try:
        # Names may begin with a blank.
        lines = read_text(file, "the columns file and split").rstrip("\n").split("\n")
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from None
    if lines[0] != _HEADER:
        raise InputError(f"{file}: expected the columns file and split, separated by a tab")
    side: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        key, _, word = line.rpartition("\t")
        if word not in ("train", "test") or key in side:
            raise InputError(
                f"{file}, line {number}: expected an image, named once, a tab, and train or test"
            )
        side[key] = word
    known = set(keys)
    for absent, what in (
        ([key for key in keys if key not in side], "has no line for"),
        ([key for key in side if key not in known], "names, but the data have not,"),
    ):
        if absent:
            raise InputError(
                f"{file} {what} {counted(len(absent))} ({absent[0]}): expected a line for each image; "
                "without the file, the images are divided anew"
            )
    return np.array([side[key] == "test" for key in keys])


def _part(split: Split, mask: NDArray[np.bool_]) -> Split:
    places = [place for place, kept in zip(split.places, mask, strict=True) if kept]
    return replace(split, labels=split.labels[mask], places=places)
