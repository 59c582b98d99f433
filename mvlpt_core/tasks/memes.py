"""The folder of the Hateful Memes challenge, which each user gets under its own terms.

    train.jsonl, dev_seen.jsonl     an image a line: {"img": path below the folder, "label": 0 or 1, ...}
    img/...

The test split is `dev_seen`, as in the ELEVATER benchmark, whose class names and template these are:
the challenge's test images had no public labels then. The text of a meme is not read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import (
    Place,
    Split,
    TaskSource,
    check_directory,
    check_files,
    is_below,
    read_files,
    read_lines,
)
from mvlpt_core.tasks.files import left_over

FILES = {"train": "train.jsonl", "test": "dev_seen.jsonl"}
CLASSNAMES = ("meme", "hatespeech meme")
TEMPLATES = ("a {c}.",)


def open_memes(task: str, path: Path) -> TaskSource:
    """The folder at `path`; raises `InputError` for a file that is missing, lines when it is read."""
    check_directory(path, f"{', '.join(FILES.values())} and img, the images of task {task}")
    for name in FILES.values():
        if not (path / name).is_file():
            raise InputError(f"file {path / name} is missing: expected an image a line")
    return TaskSource(task, CLASSNAMES, TEMPLATES, False, partial(_read_split, path))


def _read_split(path: Path, split: str) -> Split:
    found = _named(path, split)
    if split != "train":
        return found
    images = {Path(place.file) for place in (*found.places, *_named(path, "test").places)}
    used = {*images, *(path / name for name in FILES.values())}
    passed = left_over(path, used, "images that neither split names")
    return replace(found, passed=passed)


def _named(path: Path, split: str) -> Split:
    """The images that a split's file names."""
    places, labels = [], []
    file = path / FILES[split]
    for number, line in enumerate(read_lines(file, "an image a line"), 1):
        if not line:
            continue
        try:
            held = json.loads(line)
        except ValueError as error:
            raise InputError(f"file {file}, line {number}: not valid JSON") from error
        match held:
            case {"img": str(image), "label": 0 | 1 as label} if is_below(image):
                places.append(Place(str(path / image)))
                labels.append(label)
            case _:
                raise InputError(
                    f"file {file}, line {number}: expected img, a path below {path}, and label 0 or 1"
                )
    check_files([Path(place.file) for place in places], file)
    return Split(np.array(labels, np.int64), places, read_files)
