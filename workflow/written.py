"""That the files of a study are what its jobs wrote.

A job leaves a record of each file that it wrote, at the file's own place below `provenance/`. The records
are compared whenever the study is planned, and when a job reads a file: one that was cut, changed,
exchanged or is of an earlier study is noticed whatever its name, size and time say.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mvlpt_core import __version__
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import file_digest, write_atomic

RECORDS, ASIDE = "provenance", "set_aside"
# Bytes: a larger file is compared by its size when it is used, in full when the study is planned next.
LARGE = 1 << 26
_SEEN = ".seen.json"
_NAMED = 3  # files that a message names


def record(root: str | Path, paths: Iterable[str | Path], **about: Any) -> None:
    """Leave the record of each of the files, which lie below the study's folder `root`: SHA-256, bytes,
    version, time (UTC), and what else is known `about` them."""
    made = {"version": __version__, "written": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    for path in map(Path, paths):
        found = {"sha256": file_digest(path), "bytes": path.stat().st_size, **made, **about}
        write_atomic(_record_of(root, path), json.dumps(found, indent=1) + "\n")


def check_inputs(root: str | Path, paths: Iterable[str | Path]) -> None:
    """Raise `InputError` for the first of the files below `root` that is not what was written."""
    for path in map(Path, paths):
        if not path.is_relative_to(root):
            continue
        known = _read_record(root, path)
        if known is None or not path.is_file():
            continue  # a text that the plan spells out; what is missing, its reader says
        size = path.stat().st_size
        if size != known["bytes"] or (size <= LARGE and file_digest(path) != known["sha256"]):
            raise InputError(
                f"{path}: not what was written: start the study again, which sets it aside and makes it anew"
            )


@dataclass
class Altered:
    """Files of the study in the folder `root` that are not what its jobs wrote, by reason."""

    root: str
    changed: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        return [*self.changed, *self.unproven, *self.outdated]

    def sentences(self, what: str) -> list[str]:
        """What is the matter with how many files, and `what` is done about it."""
        reasons = {
            "not what was written (cut, changed, exchanged or of another study)": self.changed,
            "left by jobs that did not end": self.unproven,
            "made from images that have changed since": self.outdated,
        }
        return [
            f"{self.root}: {len(paths):,} file{'' if len(paths) == 1 else 's'} {reason}: "
            f"{_listed(self.root, paths)}; {what}"
            for reason, paths in reasons.items()
            if paths
        ]


def find_altered(
    root: str,
    files: Iterable[str],
    texts: Mapping[str, str],
    data: Mapping[str, tuple[str, Callable[[], bool]]],
    remember: bool = True,
) -> Altered:
    """Which of the `files` of a study, of those that are there, are not what was written.

    `texts` are files whose content the plan knows. `data` says of files that were made from images the
    state of those images now, and how to find out whether they are still the same where their state is
    another than when the file was made. Contents are read once for each state of a file (size and time
    of change, which nobody sets by hand), unless nothing is to be remembered.
    """
    found = Altered(root)
    seen_at = Path(root, RECORDS, _SEEN)
    before = _read_json(seen_at) or {}
    seen: dict[str, Any] = {}
    waiting: list[tuple[str, dict[str, Any], list[int]]] = []
    for path in files:
        try:
            status = Path(path).stat()
        except OSError:
            continue
        if path in texts:
            if Path(path).read_bytes() != texts[path].encode():
                found.changed.append(path)
            continue
        known = _read_record(root, Path(path))
        if known is None:
            found.unproven.append(path)
        elif not stat.S_ISREG(status.st_mode) or status.st_size != known["bytes"]:
            found.changed.append(path)
        else:
            state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            if before.get(path, [])[:2] == [known["sha256"], state]:
                seen[path] = before[path]
            else:
                waiting.append((path, known, state))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda one: file_digest(Path(one[0])), waiting)
        for (path, known, state), digest in zip(waiting, digests, strict=True):
            if digest == known["sha256"]:
                seen[path] = [digest, state, known.get("data", "")]
            else:
                found.changed.append(path)
    for path in [path for path in data if path in seen]:
        now, same = data[path]
        if seen[path][2] != now:
            if same():
                seen[path] = [*seen[path][:2], now]
            else:
                found.outdated.append(path)
    if remember and seen != before:
        write_atomic(seen_at, json.dumps(seen))
    return found


def set_aside(altered: Altered) -> None:
    """Move the files to their own place below `set_aside/`: Snakemake misses and makes them."""
    for path in altered.all():
        place = Path(altered.root, ASIDE, Path(path).relative_to(altered.root))
        place.parent.mkdir(parents=True, exist_ok=True)
        Path(path).replace(place)


def _record_of(root: str | Path, path: Path) -> Path:
    below = path.relative_to(root)
    return Path(root, RECORDS, below.parent, f"{below.name}.json")


def _read_record(root: str | Path, path: Path) -> dict[str, Any] | None:
    found = _read_json(_record_of(root, path))
    return found if found and {"sha256", "bytes"} <= set(found) else None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _listed(root: str, paths: list[str]) -> str:
    names = [str(Path(path).relative_to(root)) for path in sorted(paths)]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
