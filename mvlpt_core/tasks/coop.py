"""Folders with CoOp's own splits, as CoOp's DATASETS.md lays them out.

    split_zhou_<Name>.json      {"train", "val", "test": [[image path, label, class name], ...]}
    <images>/...                the folder that the paths start from, whatever its name, or this one

FGVC Aircraft has no such file and comes with its authors' lists, which CoOp reads:

    variants.txt                            class names, one a line
    images_variant_{train,val,test}.txt     an image's number and its class name a line
    images/<number>.jpg

Training images are those of `train`; `val` is left alone, because a study holds validation images out
of each few-shot sample. A `_` in a class name is read as a space, as CoOp does.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, read_text
from mvlpt_core.tasks.base import (
    Place,
    Split,
    TaskSource,
    check_classnames,
    check_directory,
    check_files,
    is_below,
    read_files,
    read_lines,
)
from mvlpt_core.tasks.files import left_over

PATTERN = "split_zhou_*.json"
VARIANTS = "variants.txt"
PARTS = ("train", "val", "test")
ENTRY = "[image path, label, class name]"

Entries = dict[str, list[tuple[str, int, str]]]  # by part: image path, label, class name


def open_coop(task: str, path: Path) -> TaskSource:
    """The folder at `path`; raises `InputError` for what is absent or malformed."""
    check_directory(path, f"{PATTERN} and the images of task {task}")
    source = find_splits(path)
    if not source:
        raise InputError(f"folder {path} has no {PATTERN}: expected one, or {VARIANTS}")
    entries = _read_variants(path) if source.name == VARIANTS else _read_splits(source)
    classes = _class_names(entries, source)
    root = _image_root(path, entries["test"][0][0], source)
    return TaskSource(
        task,
        check_classnames([name.replace("_", " ") for name in classes], source),
        (),
        False,
        partial(_read_split, path, source, root, entries),
    )


def find_splits(path: Path) -> Path | None:
    """The file in the folder that says what the splits are; `InputError` if there are several."""
    found = sorted(path.glob(PATTERN)) or list(path.glob(VARIANTS))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise InputError(f"folder {path} has {len(found)} files of splits ({names}): expected one")
    return found[0] if found else None


def _read_split(path: Path, source: Path, root: Path, entries: Entries, split: str) -> Split:
    check_files([root / name for name, _, _ in entries[split]], source)
    labels = np.array([label for _, label, _ in entries[split]], np.int64)
    found = Split(labels, [Place(str(root / name)) for name, _, _ in entries[split]], read_files)
    if split != "train":
        return found
    named = {root / name for part in entries.values() for name, _, _ in part}
    passed = left_over(
        path,
        {source, *path.glob("images_variant_*.txt"), *named},
        "images that the splits do not name",
    )
    if val := len(entries.get("val", ())):
        passed["in val, which is not used"] = val
    return replace(found, passed=passed)


def _read_splits(file: Path) -> Entries:
    try:
        text = read_text(file, f"JSON with lists of {ENTRY}")
    except OSError as error:
        raise InputError(f"file {file} cannot be read ({error.strerror})") from error
    try:
        held = json.loads(text)
    except ValueError as error:
        raise InputError(f"file {file} cannot be read as JSON ({first_line(error)})") from error
    if not isinstance(held, dict) or not set(PARTS) <= set(held):
        raise InputError(f"file {file}: expected a mapping with the keys {', '.join(PARTS)}")
    entries: Entries = {}
    for part in PARTS:
        if not isinstance(held[part], list):
            raise InputError(f"file {file}: {part} is no list: expected one of {ENTRY}")
        for entry in held[part]:
            match entry:
                case [str(), int(), str()] if (
                    type(entry[1]) is int and entry[1] >= 0 and is_below(entry[0])
                ):
                    entries.setdefault(part, []).append((entry[0], entry[1], entry[2].strip()))
                case _:
                    raise InputError(
                        f"file {file}: {part} holds {json.dumps(entry)}: expected {ENTRY}, the path "
                        "below the folder of images"
                    )
        if part not in entries and part != "val":
            raise InputError(f"file {file}: {part} is empty: expected entries {ENTRY}")
    return entries


def _read_variants(path: Path) -> Entries:
    names = read_lines(path / VARIANTS, "class names, one a line")
    labels = {name: label for label, name in enumerate(names)}
    entries: Entries = {}
    for part in PARTS:
        file = path / f"images_variant_{part}.txt"
        for number, line in enumerate(read_lines(file, "an image and its class a line"), 1):
            image, _, name = line.partition(" ")
            if name not in labels:
                raise InputError(f"file {file}, line {number}: {name!r} is not in {VARIANTS}")
            entries.setdefault(part, []).append((f"{image}.jpg", labels[name], name))
        if part not in entries:
            raise InputError(f"file {file} is empty: expected an image and its class a line")
    return entries


def _class_names(entries: Entries, source: Path) -> list[str]:
    """The name of each label, in their order."""
    names: dict[int, str] = {}
    for part in entries.values():
        for path, label, name in part:
            if names.setdefault(label, name) != name:
                raise InputError(
                    f"file {source}: {path} names class {label} {name!r}, others {names[label]!r}: "
                    "expected one name a class"
                )
    for label in range(len(names)):
        if label not in names:
            raise InputError(
                f"file {source}: no image has label {label}: expected each of 0 to {max(names)}"
            )
    return [names[label] for label in range(len(names))]


def _image_root(path: Path, image: str, source: Path) -> Path:
    """The folder that image paths start from: that of the data set, or one in it."""
    folders = [path, *sorted(p for p in path.iterdir() if p.is_dir())]
    for folder in folders:
        if (folder / image).is_file():
            return folder
    raise InputError(
        f"image {image} of file {source} is missing: expected it below {path} or a folder in it"
    )
