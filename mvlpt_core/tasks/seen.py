"""A memory of decoded images between checks: an SQLite file, whole after each portion of images."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import Place

TABLE = """create table if not exists image (
    file text, member text, size integer, changed integer, hash blob, primary key (file, member)
) without rowid"""


class Seen:
    """Hashes of images by file, its size and time of change (ns), and the name in it.

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
            self._base.execute("select file, member, size, changed, hash from image limit 1")
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

    def recall(self, places: Sequence[Place], hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Fill in the `hashes` [N, 16] that are known; the indices of all others, ascending."""
        left: list[int] = []
        for file, group in groupby(range(len(places)), lambda i: places[i].file):
            state = self._states[file] = _state(file)
            query = "select member, hash from image where file = ? and size = ? and changed = ?"
            known = dict(self._base.execute(query, (file, *state))) if state else {}
            for i in group:
                if places[i].member in known:
                    hashes[i] = np.frombuffer(known[places[i].member], np.uint8)
                else:
                    left.append(i)
        return np.array(left, np.int64)

    def remember(self, places: Sequence[Place], hashes: NDArray[np.uint8]) -> None:
        """Keep the hashes, of images that `recall` left, that are not zeros: of those that decoded."""
        if self._path is None:
            return
        rows = [
            (*place, *state, value.tobytes())
            for place, value in zip(places, hashes, strict=True)
            if value.any() and (state := self._states[place.file])
        ]
        with self._base:
            self._base.executemany("insert or replace into image values (?, ?, ?, ?, ?)", rows)


def _state(file: str) -> tuple[int, int] | None:
    """Size and time of change of a file; None where there is none, as for drawn images."""
    if not file:
        return None
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
