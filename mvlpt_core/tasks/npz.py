"""A NumPy archive of images and labels, as MedMNIST has them: `train_images`, `train_labels`, ...

Images are uint8 [N, H, W] or [N, H, W, 3], or uint16 [N, H, W]; labels are class numbers [N] or [N, 1], or
zeros and ones [N, C], which are several labels an image unless each row has one. Nothing is unpickled.
Classes are named by `<name>.classnames.txt` beside `<name>.npz`, a line each, else by their numbers.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line
from mvlpt_core.contract.files import held as what_is
from mvlpt_core.tasks.base import Load, Place, Split, TaskSource, check_classnames, read_lines
from mvlpt_core.tasks.decode import Decoding, counted, to_rgb
from mvlpt_core.tasks.files import left_over, split_of
from mvlpt_core.tasks.labels import doubtful
from mvlpt_core.tasks.splits import WHOLE, chosen, roles

SUFFIX = ".npz"
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError)


def open_npz(task: str, path: Path, home: Path, test_split: str = "") -> TaskSource:
    """The archive at `path`, or the one in it; raises `InputError` for arrays that are absent, do not fit
    each other or hold Python objects."""
    file = find_npz(path)
    keys = _keys(file)
    parts: dict[str, str] = {}
    for key in (key for key in keys if key.lower().endswith("_images")):
        part = split_of(key[: -len("_images")]) or key
        if part in parts:
            raise InputError(
                f"{file} has {parts[part]} and {key}: expected one array of images of split {part}"
            )
        parts[part] = key
    if not parts and "images" in keys:
        parts = {WHOLE: "images"}
    if not parts:
        raise InputError(
            f"{file} holds {', '.join(keys) or 'nothing'}: expected train_images, train_labels, ..."
        )
    labels = {part: _labels(file, key, keys) for part, key in parts.items()}
    wide = {y.shape[1] for y in labels.values() if y.ndim == 2}
    if len(wide) > 1 or (wide and any(y.ndim == 1 for y in labels.values())):
        raise InputError(
            f"{file}: the splits' labels have unlike shapes: expected one number of classes"
        )
    one_hot = bool(wide) and all((y.sum(1) == 1).all() for y in labels.values())
    if one_hot:
        labels = {part: y.argmax(1).astype(np.int64) for part, y in labels.items()}
    classes = wide.pop() if wide else max(int(y.max(initial=0)) for y in labels.values()) + 1
    order = [str(number) for number in range(classes)]
    listing = file.with_name(f"{file.stem}.classnames.txt")
    names = read_lines(listing, "one class name a line") if listing.is_file() else order
    if len(names) != classes:
        raise InputError(
            f"file {listing} has {len(names)} lines: expected one for each of {classes} classes"
        )
    used = {name for key in parts.values() for name in (key, _labels_of(key))}
    said = [f"arrays that are not used: {', '.join(k for k in keys if k not in used)}"]
    said = [*(said if set(keys) - used else ()), *doubtful(order, names)]
    there = {part: f"{part} ({counted(len(y))})" for part, y in labels.items()}
    train, test = roles(there, test_split, str(home))

    def read(part: str) -> Split:
        places = [Place(str(file), f"{parts[part]}/{i}") for i in range(len(labels[part]))]
        split = Split(labels[part], places, _read)
        if part != train:
            return split
        beside = (
            left_over(path, {file, listing}, "images beside the archive") if path.is_dir() else {}
        )
        return replace(split, passed=beside, said=tuple(said))

    return TaskSource(
        task,
        check_classnames(names, file),
        (),
        labels[train].ndim == 2,
        chosen({part: partial(read, part) for part in parts}, train, test, file.parent, home),
    )


def npz_in(folder: Path) -> list[Path]:
    """The archives in a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == SUFFIX)


def find_npz(path: Path) -> Path:
    """The archive at `path`, or the only one in it."""
    found = [path] if path.is_file() else npz_in(path)
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InputError(f"{path}: expected one file ending in {SUFFIX}, there is {names}")
    return found[0]


def _keys(file: Path) -> list[str]:
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as held:
            return list(held.files)
    except (*_DAMAGE, AttributeError, TypeError) as error:  # a single array is no archive
        what = what_is(file)
        reason = f"it holds {what}" if what and "zip" not in what else first_line(error)
        raise InputError(f"{file} is not a whole .npz archive ({reason})") from None


def _labels_of(key: str) -> str:
    return key[: -len("images")] + ("Labels" if key.endswith("Images") else "labels")


@lru_cache(maxsize=2)  # images of a split are asked for in several calls
def _array(file: Path, key: str, changed: int) -> NDArray[Any]:
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as held:
            found: NDArray[Any] = held[key]
    except (*_DAMAGE, MemoryError) as error:
        raise InputError(f"{file}: array {key} cannot be read ({first_line(error)})") from None
    return found


def _load(file: Path, key: str) -> NDArray[Any]:
    return _array(file, key, file.stat().st_mtime_ns)


def _labels(file: Path, key: str, keys: Sequence[str]) -> NDArray[np.integer]:
    """The labels that go with the images `key`: int64 [N] or uint8 [N, C]."""
    name = _labels_of(key)
    if name not in keys:
        raise InputError(f"{file} has {key} but no {name}: expected a label an image")
    found = _load(file, name)
    shape = _shape(file, key)
    if len(found) != shape[0] or not shape[0]:
        raise InputError(
            f"{file}: {name} {found.shape} and {key} {shape}: expected a label an image"
        )
    if found.dtype.kind not in "iub" or found.ndim > 2 or (found < 0).any():
        raise InputError(
            f"{file}: {name} holds {found.dtype} {found.shape}: expected whole numbers from 0"
        )
    if found.ndim == 1 or found.shape[1] == 1:
        return found.ravel().astype(np.int64)
    if found.max() > 1:
        raise InputError(
            f"{file}: {name} {found.shape} holds {found.max()}: expected zeros and ones"
        )
    return found.astype(np.uint8)


def _shape(file: Path, key: str) -> tuple[int, ...]:
    """The shape of an array of images, from its header; `InputError` for one that holds none."""
    try:
        with zipfile.ZipFile(file) as held, held.open(f"{key}.npy") as member:
            version = np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
            shape, _, kind = (header or np.lib.format.read_array_header_2_0)(member)
    except _DAMAGE as error:
        raise InputError(f"{file}: array {key} cannot be read ({first_line(error)})") from None
    fits = (kind == np.uint8 and (len(shape) == 3 or shape[3:] in ((1,), (3,)))) or (
        kind == np.uint16 and len(shape) == 3
    )
    if not fits or 0 in shape[1:]:
        raise InputError(
            f"{file}: {key} holds {kind} {shape}: expected uint8 [N, H, W] or [N, H, W, 3], or uint16 "
            "[N, H, W]"
        )
    return tuple(shape)


def _read(places: Sequence[Place]) -> Iterator[tuple[int, Load]]:
    for position, place in enumerate(places):
        key, _, row = place.member.rpartition("/")
        yield position, partial(_picture, _load(Path(place.file), key)[int(row)])


def _picture(pixels: NDArray[Any], decoding: Decoding) -> Image.Image:
    return to_rgb(Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels), decoding)
