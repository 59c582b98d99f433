"""Plain image folders: `train/<class>/*.jpg` and `test/<class>/*.jpg`.

Images are the files of a class folder that end in .jpg, .jpeg, .png, .webp or .bmp; other files
are not looked at. Classes are the folders in the order of their names, and a class's name is its
folder's name with `_` read as a space. An optional `classnames.txt` gives another order or other
names, one line a class: either `folder<TAB>class name`, or just a folder's name (`_` and space are
the same). An optional `zeroshot_classification_templates.txt` gives templates, one a line.
"""

from __future__ import annotations

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

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
CLASSNAMES_FILE = "classnames.txt"
TEMPLATES_FILE = "zeroshot_classification_templates.txt"


def open_folder(task: str, path: Path) -> TaskSource:
    """The image folder at `path`; raises `InputError` unless both splits hold the same classes."""
    check_directory(path, f"folders train and test, the images of task {task}")
    found = {split: _class_folders(path / split) for split in ("train", "test")}
    for one, other in (("train", "test"), ("test", "train")):
        for name in found[one]:
            if name not in found[other]:
                raise InputError(
                    f"class folder {path / one / name} has no counterpart in {path / other}: "
                    "expected the same classes in both splits"
                )
    listing = path / CLASSNAMES_FILE
    if listing.exists():
        folders, names = _listed_classes(listing, found["train"])
    else:
        folders = found["train"]
        names = [folder.replace("_", " ") for folder in folders]
    templates = path / TEMPLATES_FILE
    return TaskSource(
        task,
        check_classnames(names, listing if listing.exists() else path / "train"),
        tuple(read_lines(templates, "prompt templates")) if templates.exists() else (),
        False,
        lambda split: _read_split(path / split, folders),
    )


def _class_folders(path: Path) -> list[str]:
    check_directory(path, "one folder of images a class")
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _listed_classes(listing: Path, folders: list[str]) -> tuple[list[str], list[str]]:
    """Folders and class names in the order of the file at `listing`."""
    plain = {name.replace("_", " "): name for name in folders}
    order, names = [], []
    for number, line in enumerate(read_lines(listing, "one line a class"), 1):
        key, tab, name = line.partition("\t")
        key, name = key.strip(), name.strip()
        folder = key if key in folders else plain.get(key.replace("_", " "), "")
        if not folder:
            raise InputError(
                f"file {listing}, line {number}: {key!r} is not a class folder of "
                f"{listing.parent / 'train'}"
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


def _read_split(path: Path, folders: list[str]) -> Split:
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        images = sorted(p for p in (path / folder).iterdir() if p.suffix.lower() in EXTENSIONS)
        images = [p for p in images if p.is_file() and not p.name.startswith(".")]
        if not images:
            raise InputError(
                f"class folder {path / folder} has no images: expected files ending in "
                + ", ".join(EXTENSIONS)
            )
        files += images
        labels += [label] * len(images)

    return Split(np.array(labels, np.int64), [Place(str(path)) for path in files], read_files)
