"""Safetensors files with a JSON header of ours, which prove themselves whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, held, write_atomic

Arrays = dict[str, NDArray[Any]]
START = "start:"  # before the name of a prompt's tensor: what it began as
FORMAT = 2  # of the header; 1 had a digest of the tensors alone


def digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of names, types, shapes and bytes, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        found.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        found.update(value.data)
    return found.hexdigest()


def is_finite(tensors: Mapping[str, NDArray[Any]]) -> bool:
    """Whether no tensor holds a NaN or an infinity."""
    return all(np.isfinite(value).all() for value in tensors.values())


def _proof(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Digest of a header, as it is read back, and tensors."""
    text = json.dumps(header, sort_keys=True)
    return hashlib.sha256(f"{text}\0{digest(tensors)}".encode()).hexdigest()


def write_tensors(
    path: str | Path, kind: str, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> None:
    """Write a file of this `kind` (prompt, features, ...), whole or not at all."""
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    plain = json.loads(json.dumps({**header, "format": FORMAT}))
    text = json.dumps({**plain, "digest": _proof(plain, arrays)}, sort_keys=True)
    write_atomic(path, save(arrays, metadata={kind: text}))


def read_tensors(
    path: str | Path, kind: str, keys: Iterable[str] = ()
) -> tuple[dict[str, Any], Arrays]:
    """The header and the tensors of a file of this `kind`.

    Raises `InputError`, naming the file, for one that is missing, of another kind, without one of
    the header's `keys`, of another format, or that is not what was written.
    """
    path = Path(path)
    what = f"a {kind} file of this project"
    if not path.is_file():
        raise InputError(f"{path}: no such file: expected {what}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(kind, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        found = held(path)
        reason = f"it holds {found}" if found else first_line(error)
        raise InputError(f"{path}: not {what} ({reason})") from None
    if not isinstance(header, dict):
        raise InputError(f"{path}: has no header '{kind}': expected {what}")
    if header.get("format") != FORMAT:
        found = header.get("format", 1)
        raise InputError(
            f"{path}: a {kind} file of format {found}: expected {FORMAT}: make it anew"
        )
    for key in ("digest", *keys):
        if key not in header:
            raise InputError(f"{path}: its header has no '{key}': expected {what}")
    if header.pop("digest") != _proof(header, tensors):
        raise InputError(f"{path}: not what was written: delete it, run again")
    del header["format"]
    return header, tensors
