"""A task in a zip or tar: unpacked once, into the user's cache, under the digest of the archive.

What would leave the folder, links and devices are refused, as is more than `LARGEST` times the archive's size
or than the disk has room for; nothing of a refused archive is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import file_digest, first_line, held, write_atomic
from mvlpt_core.tasks.base import is_below
from mvlpt_core.tasks.files import cache_folder

_log = logging.getLogger(__name__)

SUFFIXES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz"),
    *(".tar.xz", ".txz"),
)
BLOCK = 512  # bytes; a tar is a sequence of such blocks
LARGEST = 100  # times its size that an archive may unpack to
_LEAST = 1 << 28  # bytes that any archive may unpack to: drawn images pack well
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError),  # of zip files: methods, passwords, names
)

Open = Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether there is a file with an archive's name."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpacked(archive: Path) -> Path:
    """The folder with the content of an archive, which is unpacked if it is not there yet.

    Raises `InputError` for an archive that is damaged, locked, too large, or holds what is no plain file or
    lies outside.
    """
    base = cache_folder("unpacked")
    folder = base / _digest(archive)
    if folder.is_dir():
        return folder
    _log.info("unpacking %s into %s", archive, folder)
    try:
        base.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part.", dir=base))
    except OSError as error:
        raise InputError(
            f"{base} cannot be written to ({error.strerror}): expected MVLPT_CACHE elsewhere"
        ) from None
    try:
        _unpack(archive, part)
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # another process was first
            raise InputError(
                f"archive {archive} cannot be unpacked ({first_line(error)})"
            ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


@contextmanager
def told_of(home: Path, content: Path) -> Iterator[None]:
    """Errors about the `content` of an archive at `home` name the archive, which is what the user knows."""
    try:
        yield
    except InputError as error:
        if not is_archive(home):
            raise
        raise type(error)(str(error).replace(str(content), str(home))) from None


def _unpack(archive: Path, folder: Path) -> None:
    room = min(
        max(LARGEST * archive.stat().st_size, _LEAST), int(0.95 * shutil.disk_usage(folder).free)
    )
    members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    try:
        for name, plain, size, open_member in members(archive):
            name = name.replace("\\", "/")
            if not is_below(name):
                raise InputError(
                    f"archive {archive} holds {name!r}: expected names below its own folder"
                )
            if not plain:
                raise InputError(
                    f"archive {archive} holds {name!r}, a link or device: expected files"
                )
            room -= size
            if room < 0:
                raise InputError(
                    f"archive {archive} unpacks to more than {LARGEST} times its size, or than there is room "
                    f"in {folder.parent}: expected a smaller one"
                )
            source = open_member()
            path = folder / name
            if source is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, path.open("xb") as target:
                shutil.copyfileobj(source, target)
    except FileExistsError as error:
        raise InputError(
            f"archive {archive} holds {Path(error.filename).name!r} twice: expected once"
        ) from None
    except InputError:
        raise
    except _DAMAGE as error:
        reason = f"it holds {what}" if (what := _other(archive)) else first_line(error)
        raise InputError(
            f"archive {archive} cannot be unpacked ({reason}): expected it whole"
        ) from None


def _other(archive: Path) -> str:
    """What an archive holds that is of no kind of archive that its name could be of, in words."""
    what = held(archive)
    return "" if "archive" in what or "bzip2" in what or "xz" in what or "gzip" in what else what


def _zip_members(archive: Path) -> Iterator[tuple[str, bool, int, Open]]:
    """(name, whether it is a plain file or folder, bytes, a call that opens it) of each member."""
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            yield (
                info.filename,
                plain,
                info.file_size,
                (
                    (lambda: None) if info.is_dir() else lambda info=info: opened.open(info)  # type: ignore[misc]
                ),
            )


def _tar_members(archive: Path) -> Iterator[tuple[str, bool, int, Open]]:
    """As `_zip_members`."""
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.name in (".", "./"):
                continue
            yield (
                info.name,
                info.isfile() or info.isdir(),
                info.size,
                (
                    (lambda: None) if info.isdir() else lambda info=info: opened.extractfile(info)  # type: ignore[misc]
                ),
            )
        check_end(opened)


def check_end(opened: tarfile.TarFile) -> None:
    """Raise `tarfile.ReadError` unless a tar whose headers were walked ends here, with its end mark.

    A header that is damaged, and whatever stands behind the end of a first tar that another was joined to,
    reads like the end.
    """
    file = opened.fileobj
    assert file is not None
    file.seek(opened.offset)
    if file.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError(f"no valid header and no end mark at byte {opened.offset}")
    while rest := file.read(1 << 20):
        if rest.strip(b"\0"):
            raise tarfile.ReadError("there is more behind its end mark, as of two that were joined")


def _digest(archive: Path) -> str:
    """SHA-256 of an archive's bytes, 16 digits; remembered by its path, size and time of change."""
    status = archive.stat()
    state = [str(archive.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    name = hashlib.sha256(os.fsencode(archive.absolute())).hexdigest()[:16]
    known = cache_folder("archives") / f"{name}.json"
    try:
        held = json.loads(known.read_text(encoding="utf-8"))
        if held["state"] == state:
            return str(held["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = file_digest(archive)[:16]
    try:
        write_atomic(known, json.dumps({"state": state, "digest": digest}))
    except OSError as error:
        raise InputError(
            f"{known} cannot be written ({error.strerror}): expected MVLPT_CACHE elsewhere"
        ) from None
    return digest
