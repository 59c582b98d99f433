"""Small tasks on disk for the tests of the task readers, and what a test expects of a bad one."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import Split
from mvlpt_core.tasks.open import open_task

COOP_NAMES = ["red_cat", "green dog", "blue cat"]
COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]


def picture(colour: tuple[int, int, int], suffix: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix))
    return buffer.getvalue()


def write_birds(folder: Path, count: int) -> Path:
    """An image folder of red and blue birds, `count` of each to train and to test."""
    for split in ("train", "test"):
        for name, colour in (("red_bird", COLOURS[0]), ("blue_bird", COLOURS[2])):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                (folder / split / name / f"{i}.png").write_bytes(picture(colour))
    return folder


def write_coop(root: Path, images: str = "images") -> dict[str, Any]:
    """Six training images, three each to validate and to test, of class i % 3 and its colour."""
    splits: dict[str, Any] = {}
    for part, numbers in {"train": range(6), "val": range(6, 9), "test": range(9, 12)}.items():
        splits[part] = [[f"sub/{i}.jpg", i % 3, COOP_NAMES[i % 3]] for i in numbers]
        for i in numbers:
            file = root / images / f"sub/{i}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(COLOURS[i % 3], "jpg"))
    (root / "annotations").mkdir(exist_ok=True)
    write_splits(root, splits)
    return splits


def write_splits(root: Path, splits: object) -> None:
    (root / "split_zhou_OxfordPets.json").write_text(json.dumps(splits, indent=4))


def npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def samples(numbers: range, suffix: str = "png") -> dict[str, bytes]:
    """Sample i has class i % 3 and that class's colour."""
    members = {}
    for i in numbers:
        members[f"s{i:04}.{suffix}"] = picture(COLOURS[i % 3], suffix)
        members[f"s{i:04}.cls"] = str(i % 3).encode()
    return members


def expect(tmp_path: Path, row: TaskRow, message: str, split: str = "train") -> None:
    """Opening the task, reading a split and decoding all of it fails with one sentence."""

    def read_all() -> None:
        found = open_task(row, tmp_path).split(split)
        list(found.images(range(len(found.labels))))

    with pytest.raises(InputError, match=message) as caught:
        read_all()
    assert "\n" not in str(caught.value)


def write_images(folder: Path, names: list[str], first: int = 0) -> None:
    """Image files, each of a colour of its own, numbered from `first`; by suffix, PNG where it tells none."""
    for number, name in enumerate(names, first):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".jpg": "jpeg", ".jfif": "jpeg", ".tif": "tiff"}.get(path.suffix.lower())
        kind = kind or (path.suffix.lower()[1:] if len(path.suffix) == 4 else "png")
        path.write_bytes(picture((number % 256, number // 256, 99), kind))


def numbers(split: Split) -> dict[int, Any]:
    """Labels by the numbers that `write_images` gave the images; those of JPEG may be off by one or two."""
    return {
        image.getpixel((0, 0))[0] + 256 * image.getpixel((0, 0))[1]: split.labels[i].tolist()  # type: ignore[index]
        for i, image in split.images(range(len(split.labels)))
    }
