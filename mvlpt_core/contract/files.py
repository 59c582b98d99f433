"""Files that appear whole or not at all, and text and YAML that say what is wrong with them."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mvlpt_core.contract.errors import InputError

_PART = ".part."  # in the name of a file that is being written


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends without an error.

    The content reaches the disk before the name does: a reader never sees half a file, a failure
    or a power cut leaves what was there before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: writers choose a format by it.
    part = path.with_name(f".{os.getpid()}{_PART}{path.name}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if error.filename in (None, str(part)):  # of a full disk: which file it was, to the user
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) as `path`, whole or not at all."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(folder: str | Path) -> None:
    """Raise `InputError` unless `folder`, or what is there of it, can be written to."""
    there = Path(folder).absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{there} is a file: expected a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} may not be written to: expected a folder of yours")


def remove_parts(folder: str | Path) -> None:
    """Remove what killed writers left below `folder`; whoever still writes there fails at its end."""
    for part in Path(folder).rglob(f".*{_PART}*"):
        part.unlink(missing_ok=True)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for one-sentence messages."""
    return (str(error).splitlines() or [type(error).__name__])[0]


# How files begin that are given where another kind is expected.
_BEGINNINGS = {
    b"PK\3\4": "a zip archive, as .zip, .npz and PyTorch's .pt files are",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\xd0\xcf\x11\xe0": "an old Office file, as .xls is",
    b"ARROW1": "an Arrow file",
    b"\x80": "a pickle",
    b"PAR1": "a Parquet table",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "an image (PNG)",
    b"\xff\xd8\xff": "an image (JPEG)",
    b"%PDF": "a PDF",
    b"version https://git-lfs": "a pointer to a file in Git LFS, not the file",
    b"<": "HTML or XML",
    b"{": "JSON",
    b"[": "JSON",
}
TAR = "a tar archive"
_BEGINNING = 512  # bytes
_SAFETENSORS = b'{"'  # stands behind the eight bytes of the header's length, which may be any


def held(path: str | Path) -> str:
    """What a file holds by its first bytes, in words; "" where they say nothing."""
    try:
        with Path(path).open("rb") as file:
            return held_in(file.read(_BEGINNING))
    except OSError:
        return ""


def held_in(data: bytes) -> str:
    """As `held`, of a file's bytes."""
    start = data[:_BEGINNING]
    if not start:
        return "nothing"
    if start[8:10] == _SAFETENSORS:
        return ""
    if start[257:262] == b"ustar":
        return TAR
    return next((what for begins, what in _BEGINNINGS.items() if start.startswith(begins)), "")


def read_text(path: str | Path, expected: str = "UTF-8 text") -> str:
    """The text of a file in UTF-8, or in UTF-16 where its first bytes say so; lines end in a line feed.

    Raises `InputError`, saying what it holds, for any other file; `OSError` is the caller's.
    """
    data = Path(path).read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds zero bytes")
    except ValueError as error:
        reason = f"it holds {what}" if (what := held(path)) else first_line(error)
        raise InputError(
            f"{path} cannot be read as UTF-8 text ({reason}): expected {expected}"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, to which a key that is given twice is an error."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    loader.flatten_mapping(node)
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, Hashable):
            raise InputError(f"line {line}: a key is {key!r}: expected a word")
        if key in seen:
            raise InputError(f"line {line}: key '{key}' is given twice: expected once")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    value: int = loader.construct_yaml_int(node)
    if ":" in node.value or re.match(r"[-+]?0[0-9]", node.value):
        line = node.start_mark.line + 1
        raise InputError(
            f"line {line}: {node.value} is {value} to YAML: expected it without : or a first 0, or in quotes"
        )
    return value


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def load_yaml(text: str) -> Any:
    """The value of a text in YAML, with what `read_yaml` refuses."""
    return yaml.load(text, _Loader)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises `InputError`, naming file and line, for a file that is missing, not UTF-8, not YAML, not
    a mapping, or that gives a key twice or a number that is another one to YAML (`010`, `1:30`).
    """
    path = Path(path)
    try:
        text = read_text(path, "a configuration in YAML")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: expected a configuration in YAML") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    try:
        value = load_yaml(text)
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise InputError(f"{path}{where}: not valid YAML ({problem})") from None
    except (ValueError, RecursionError) as error:  # 2020-13-45 looks like a date and is none
        raise InputError(f"{path}: not valid YAML ({first_line(error)})") from None
    if not isinstance(value, dict):
        held = "nothing" if value is None else f"a {type(value).__name__}"
        raise InputError(f"{path} holds {held}: expected a mapping of keys to values")
    return value
