"""Folders of images, one a class: `train/<class>/*.jpg` and `test/<class>/*.jpg`, or just `<class>/*.jpg`.

The folders of the splits are found by their names in any case (`files.SPLIT_NAMES`); without them the
images are divided once, as `splits` says. Images in folders below a class's are of that class. Classes are
the folders in the order of their names, and a class's name is its folder's name with `_` read as a space.
An optional `classnames.txt` gives another order or other names, one line a class: either
`folder<TAB>class name`, or just a folder's name (`_` and space are the same). An optional
`zeroshot_classification_templates.txt` gives templates, one a line.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import (
    Place,
    Split,
    TaskSource,
    check_classnames,
    check_directory,
    read_files,
    read_lines,
)
from mvlpt_core.tasks.decode import counted
from mvlpt_core.tasks.files import (
    EXTENSIONS,
    folders_in,
    held_by,
    images_in,
    split_of,
    split_root,
)
from mvlpt_core.tasks.rows import SUFFIXES as TABLES
from mvlpt_core.tasks.splits import WHOLE, NoTest, chosen, roles

CLASSNAMES_FILE = "classnames.txt"
TEMPLATES_FILE = "zeroshot_classification_templates.txt"
TEXTS = (CLASSNAMES_FILE, TEMPLATES_FILE)


def open_folder(task: str, path: Path, home: Path, test_split: str = "") -> TaskSource:
    """The image folder at `path`; raises `InputError` unless both splits hold the same classes."""
    check_directory(path, f"folders train and test, the images of task {task}")
    parts = split_folders(path, test_split) or {WHOLE: path}
    there = {part: f"{part} (folder {found.name})" for part, found in parts.items()}
    train, test = roles(there, test_split, str(home))
    classes = {part: _class_folders(parts[part]) for part in (train, test) if part in parts}
    for one, other in ((train, test), (test, train)) if test else ():
        for name in classes[one]:
            if name not in classes[other]:
                raise InputError(
                    f"class folder {parts[one] / name} has no counterpart in {parts[other]}"
                    f"{_near(name, classes[other])}: expected the same classes in both splits"
                )
    if len(classes[train]) < 2:
        raise _no_classes(parts[train])
    listing = path / CLASSNAMES_FILE
    if listing.exists():
        folders, names = listed_classes(listing, classes[train])
    else:
        folders = classes[train]
        names = [folder.replace("_", " ") for folder in folders]

    def read(part: str) -> Split:
        found = _read_part(parts[part], folders if part in (train, test) else None)
        if part != train:
            return found
        aside = _outside(path, list(parts.values()))
        return replace(found, passed=aside + Counter(found.passed))

    calls = {part: partial(read, part) for part in parts}
    return TaskSource(
        task,
        check_classnames(names, listing if listing.exists() else parts[train]),
        read_templates_of(path),
        False,
        chosen(calls, train, test, path, home),
    )


def split_folders(path: Path, test_split: str) -> dict[str, Path]:
    """The folder of each split in `path`; none where folders of such names are classes.

    Raises `InputError` for two folders of one split, and for one with images but no class folders beside
    another that has them, unless it is a test that `test_split` stands for.
    """
    found: dict[str, Path] = {}
    flat = []
    for folder in map(split_root, folders_in(path)):
        part = split_of(folder.name)
        if not part:
            continue
        if not folders_in(folder):
            flat.append(folder)
        elif part in found:
            raise InputError(
                f"folder {path} has {found[part].name} and {folder.name}: expected one folder of split {part}"
            )
        else:
            found[part] = folder
    named = len(flat) + len(found)
    unlabelled = [folder.name for folder in flat if split_of(folder.name) == "test"]
    if len(flat) == 1 and unlabelled and {"train", "val"} <= found.keys():
        if test_split:
            return found
        raise NoTest(
            f"folder {flat[0]} has no class folders, as train and val have: expected them, or val in the "
            "suite's column test"
        )
    if flat and (found or named == len(folders_in(path))):
        raise InputError(
            f"folder {flat[0]} has {held_by(flat[0])} and no class folders: expected one folder of images a "
            "class, or a table of labels"
        )
    return found


def read_templates_of(path: Path) -> tuple[str, ...]:
    """The templates in the file of a task's folder, if it is there."""
    templates = path / TEMPLATES_FILE
    return tuple(read_lines(templates, "prompt templates")) if templates.exists() else ()


def listed_classes(listing: Path, folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """Folders (or labels of a table) and class names in the order of the file at `listing`."""
    plain = {name.replace("_", " "): name for name in folders}
    order, names = [], []
    for number, line in enumerate(read_lines(listing, "one line a class"), 1):
        key, tab, name = line.partition("\t")
        key, name = key.strip(), name.strip()
        folder = key if key in folders else plain.get(key.replace("_", " "), "")
        if not folder:
            raise InputError(
                f"file {listing}, line {number}: {key!r} is no class folder or label of {listing.parent}: "
                f"expected a line a class such as {folders[0]!r}, or that, a tab and the class's name"
            )
        if folder in order:
            raise InputError(
                f"file {listing}, line {number}: class folder {folder!r} occurs twice, "
                "expected each once"
            )
        order.append(folder)
        names.append(name if tab else key.replace("_", " "))
    for folder in folders:
        if folder not in order:
            raise InputError(f"file {listing} has no line for class folder {folder!r}")
    return order, names


def _near(name: str, others: Sequence[str]) -> str:
    """For a message: the name among others that is the same but for case or Unicode's normal form."""

    def plain(text: str) -> str:
        return unicodedata.normalize("NFKC", text).casefold()

    near = next((other for other in others if plain(other) == plain(name)), None)
    return f", where {near!a} is not {name!a} letter by letter" if near else ""


def _no_classes(path: Path) -> InputError:
    return InputError(
        f"folder {path} has {held_by(path)}: expected one folder of images a class, for two or more classes, "
        f"or a table of labels ({', '.join(TABLES)})"
    )


def _class_folders(path: Path) -> list[str]:
    check_directory(path, "one folder of images a class")
    folders = folders_in(path)
    if not folders:
        raise _no_classes(path)
    for folder in folders:
        inner = [inside.name for inside in folders_in(folder)]
        if any(map(split_of, inner)) or (inner and split_of(folder.name)):
            raise InputError(
                f"class folder {folder} holds {', '.join(inner)}: expected the folders of the splits to hold "
                "those of the classes"
            )
    return [folder.name for folder in folders]


def _read_part(path: Path, folders: Sequence[str] | None) -> Split:
    """The images of class folders, without `folders` those of all, as of one class: to be counted."""
    files: list[Path] = []
    labels: list[int] = []
    passed: Counter[str] = Counter()
    nested = 0
    for label, folder in enumerate(["."] if folders is None else folders):
        images, others = images_in(path / folder)
        passed += others
        if not images and folders is not None:
            raise InputError(
                f"class folder {path / folder} has no images: expected files ending in "
                + ", ".join(EXTENSIONS)
            )
        nested += sum(image.parent != path / folder for image in images)
        files += images
        labels += [label] * len(images)
    said = f"{counted(nested)} in folders below a class's count as of the class ({path.name})"
    return Split(
        np.array(labels, np.int64),
        [Place(str(path)) for path in files],
        read_files,
        passed=passed,
        said=(said,) if nested and folders is not None else (),
    )


def _outside(path: Path, splits: Sequence[Path]) -> Counter[str]:
    """What is passed over outside the class folders, which are in those of the `splits`, or in `path`."""
    classes = [folder for split in splits for folder in folders_in(split)]
    images, passed = images_in(path, skip=classes)
    for name in TEXTS:
        passed[".txt"] -= (path / name).is_file()
    for image in images:
        top = image.relative_to(path).parts[0]
        beside = path / top not in (image, *splits) and path not in splits
        passed[f"in {top}, which is no split" if beside else "outside the class folders"] += 1
    return +passed
