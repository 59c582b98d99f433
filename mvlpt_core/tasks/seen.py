"""A memory of decoded images between checks: an SQLite file, whole after each portion of images.

An image is known by its file, that file's size and time of change, its name in it and how it is decoded.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import Split

Hashes = NDArray[np.uint8]

TABLE = """create table if not exists decoded (
    file text, member text, decoding text, size integer, changed integer, hash blob, notes text,
    primary key (file, member, decoding)
) without rowid"""


class Seen:
    """Hashes and notes of images by file, its size and time of change (ns), and the name in it.

    Use it in a `with` block. Without a path nothing is remembered. Raises `InputError` for a file
    that is no such memory or cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._states: dict[str, tuple[int, int] | None] = {}  # of files, before they were read
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path or ":memory:")
            self._base.execute(TABLE)
            self._base.execute("select decoding, size, changed, hash, notes from decoded limit 1")
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"cache {path} cannot be used ({error}): expected one of an earlier check, or a new file"
            ) from error

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._base.close()

    def recall(self, split: Split, hashes: Hashes, notes: list[str]) -> NDArray[np.int64]:
        """Fill in the `hashes` [N, 16] and `notes` (N) that are known; the indices of all others,
        ascending."""
        places, left = split.places, []
        for file, group in groupby(range(len(places)), lambda i: places[i].file):
            state = self._states[file] = _state(file)
            query = (
                "select member, hash, notes from decoded "
                "where file = ? and decoding = ? and size = ? and changed = ?"
            )
            found = (
                self._base.execute(query, (_text(file), str(split.decoding), *state))
                if state
                else ()
            )
            known = {member: rest for member, *rest in found}
            for i in group:
                if (member := _text(places[i].member)) in known:
                    data, notes[i] = known[member]
                    hashes[i] = np.frombuffer(data, np.uint8)
                else:
                    left.append(i)
        return np.array(left, np.int64)

    def remember(
        self, split: Split, indices: NDArray[np.int64], hashes: Hashes, notes: Sequence[str]
    ) -> None:
        """Keep hashes and notes of the images at `indices`, which `recall` left, where the hash is not
        zeros: of those that decoded."""
        if self._path is None:
            return
        places = [split.places[i] for i in indices]
        rows = [
            (*map(_text, place), str(split.decoding), *state, value.tobytes(), note)
            for place, value, note in zip(places, hashes, notes, strict=True)
            if value.any() and (state := self._states[place.file])
        ]
        with self._base:
            self._base.executemany(
                "insert or replace into decoded values (?, ?, ?, ?, ?, ?, ?)", rows
            )


def _text(name: str) -> str:
    """A file's name as text that a database takes: bytes that are not UTF-8 are spelt out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _state(file: str) -> tuple[int, int] | None:
    """Size and time of change of a file; None where there is none, as for drawn images."""
    if not file:
        return None
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
