"""Prepared tasks: the test split, and each few-shot sample, at the backbone's size.

Each is two files: a tensor file (header and labels, `contract.tensors`, kind "task") and beside it the
images, uint8 [N, S, S, 3], as .npy. Images are written and read through a memory map: a large test
split costs disk, not memory. The header holds a digest of the images, so that new images of equal
number change the small file too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, whole
from mvlpt_core.contract.seeds import generator
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.contract.tensors import read_tensors, write_tensors
from mvlpt_core.tasks.base import (
    HASH_BYTES,
    Split,
    TaskSource,
    content_digest,
    hash_pixels,
    remarks,
)
from mvlpt_core.tasks.decode import AS_IT_IS, Decoding, described, notes
from mvlpt_core.tasks.fewshot import FewShot, sample_few_shot, sample_test
from mvlpt_core.tasks.open import open_data, open_source, open_task
from mvlpt_core.tasks.views import crop_flip

_log = logging.getLogger(__name__)

KIND = "task"
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
RESIZE_MODES = ("shortest", "squash")
_HEADER = ("name", "part", "image_size", "images")
_TEST_HEADER = (*_HEADER, "classnames", "templates", "metric", "multilabel")


@dataclass(frozen=True)
class TestSplit:
    """A task's classes and its test images [M, S, S, 3] with labels [M] or multi-hot [M, C]."""

    __test__ = False  # no test case, whatever its name

    name: str
    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    metric: str
    multilabel: bool
    image_size: int
    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    decoding: Decoding = AS_IT_IS


@dataclass(frozen=True)
class Sample:
    """A few-shot sample: images [N, S, S, 3], labels [N] or [N, C]; `train` and `val` index into
    them, never overlap and hold all. `views` [V, len(train), S, S, 3] are augmented
    training images."""

    name: str
    shots: int
    seed: int
    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    views: NDArray[np.uint8]


def prepare_test(
    row: TaskRow,
    data_root: str | Path | None,
    preprocess: Mapping[str, Any],
    *,
    max_test: int | None,
    out: str | Path,
) -> None:
    """Decode a task's test images; write `out` and the images beside it, whole or not at all.

    `preprocess` gives `size`, `interpolation` and `resize_mode` of the backbone. `max_test` caps the
    images (see `sample_test`), None takes all. The bytes depend on data and arguments only. Raises
    `InputError` for bad data or settings.
    """
    if max_test is not None and max_test < 1:
        raise InputError(f"max_test is {max_test}: expected null or a number of at least 1")
    source = open_task(row, data_root)
    split = source.split("test")
    kept = _kept_of_test(split, max_test, row.task)
    header = {
        **_header(source, "test", preprocess),
        "classnames": source.classnames,
        "templates": source.templates,
        "metric": row.metric,
        "multilabel": source.multilabel,
        "decoding": source.decoding,
    }
    _write(Path(out), header, {"labels": split.labels[kept]}, split, kept, preprocess)


def prepare_sample(
    task: str,
    kind: str,
    location: str,
    data_root: str | Path | None,
    preprocess: Mapping[str, Any],
    *,
    shots: int,
    seed: int,
    val_share: float,
    short_classes: str,
    views: int = 0,
    out: str | Path,
    **reading: Any,
) -> None:
    """Draw a task's few-shot sample and decode its images, as `prepare_test` does the test split.

    What is scored, and with which texts, does not matter to a sample: of a suite's row it takes what
    says where the images are and how they are read (`TaskRow.reading`). `views` augmented crops of each
    original training image follow the images; they depend on task, seed and image alone.
    """
    source = open_source(task, kind, location, data_root, **reading)
    split = source.split("train")
    drawn, kept = _drawn(source, split, shots, seed, val_share, short_classes)
    tensors = {
        "labels": split.labels[kept],
        "train": np.searchsorted(kept, drawn.train),
        "val": np.searchsorted(kept, drawn.val),
    }
    header = {
        **_header(source, "sample", preprocess),
        "shots": shots,
        "seed": seed,
        "views": views,
    }
    place = {int(index): at for at, index in enumerate(drawn.train)}

    def crops(index: int, image: Image.Image) -> Iterable[tuple[int, NDArray[np.uint8]]]:
        for view in range(views if index in place else 0):
            row = len(kept) + view * len(place) + place[index]
            random = generator("view", task, seed, index, view)
            resample = INTERPOLATIONS[preprocess["interpolation"]]
            yield row, crop_flip(image, int(preprocess["size"]), resample, random)

    more = views * len(place)
    _write(Path(out), header, tensors, split, kept, preprocess, crops, more)


def is_test_of(
    path: str | Path, row: TaskRow, data_root: str | Path | None, max_test: int | None
) -> bool:
    """Whether a prepared test split is what would be prepared from a task's images now.

    The images are decoded. Raises `InputError` for bad data; a prepared file that is not whole is of none.
    """
    source = open_task(row, data_root)
    split = source.split("test")
    return _is_of(Path(path), split, _kept_of_test(split, max_test, row.task))


def is_sample_of(
    path: str | Path,
    row: TaskRow,
    data_root: str | Path | None,
    *,
    val_share: float,
    short_classes: str,
) -> bool:
    """Whether a prepared few-shot sample is what would be drawn from a task's images now; as `is_test_of`."""
    try:
        header, _ = read_tensors(path, KIND, ("shots", "seed"))
    except InputError:
        return False
    source = open_data(row, data_root)
    split = source.split("train")
    about = header["shots"], header["seed"], val_share, short_classes
    return _is_of(Path(path), split, _drawn(source, split, *about)[1])


def load_test(path: str | Path) -> TestSplit:
    """Read a test split; `InputError`, naming the file, if it is not one or not whole."""
    header, tensors, images = _read(Path(path), "test", _TEST_HEADER)
    return TestSplit(
        header["name"],
        tuple(header["classnames"]),
        tuple(header["templates"]),
        header["metric"],
        header["multilabel"],
        header["image_size"],
        images,
        tensors["labels"],
        Decoding(*header.get("decoding", AS_IT_IS)),
    )


def load_sample(path: str | Path) -> Sample:
    """Read a few-shot sample; `InputError`, naming the file, if it is not one or not whole."""
    header, tensors, images = _read(Path(path), "sample", (*_HEADER, "shots", "seed"))
    labels, train, val = (tensors[name] for name in ("labels", "train", "val"))
    own, views = images[: len(labels)], images[len(labels) :]
    views = views.reshape(header.get("views", 0), len(train), *images.shape[1:])
    about = header["name"], header["shots"], header["seed"]
    return Sample(*about, own, labels, train, val, views)


def read_hashes(path: str | Path) -> tuple[str, NDArray[np.uint8]]:
    """The part ("test" or "sample") of a prepared file, and the hashes, uint8 [N, 16], of its images
    as they were decoded from the data; the images themselves are not read.

    Raises `InputError` for a file that is none or that an earlier version made.
    """
    header, tensors = read_tensors(path, KIND, ("part", "content"))
    return header["part"], tensors["hashes"]


def read_preprocess(backbone: str | Path) -> dict[str, Any]:
    """The `preprocess` part of a converted backbone's description (backbone.json)."""
    try:
        described = json.loads(Path(backbone).read_text(encoding="utf-8"))
        return dict(described["preprocess"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{backbone}: not a converted backbone's description ({first_line(error)}): delete it, "
            "run again"
        ) from None


def image_transform(preprocess: Mapping[str, Any]) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """A function from an RGB image to uint8 [S, S, 3], as open_clip prepares images for inference.

    `shortest` resizes the shorter side to S and cuts the centre, `squash` resizes both sides.
    Sizes are rounded as torchvision's Resize and CenterCrop do.
    """
    size, mode = int(preprocess["size"]), preprocess["resize_mode"]
    if mode not in RESIZE_MODES:
        raise InputError(
            f"resize_mode {mode!r} of the backbone is unknown: expected one of "
            + ", ".join(RESIZE_MODES)
        )
    if preprocess["interpolation"] not in INTERPOLATIONS:
        raise InputError(
            f"interpolation {preprocess['interpolation']!r} of the backbone is unknown: expected "
            f"one of {', '.join(INTERPOLATIONS)}"
        )
    resample = INTERPOLATIONS[preprocess["interpolation"]]

    def transform(image: Image.Image) -> NDArray[np.uint8]:
        width, height = image.size
        if mode == "squash":
            width = height = size
        elif width <= height:
            width, height = size, int(size * height / width)
        else:
            width, height = int(size * width / height), size
        left, top = round((width - size) / 2), round((height - size) / 2)
        resized = image.resize((width, height), resample)
        return np.asarray(resized.crop((left, top, left + size, top + size)))

    return transform


def _kept_of_test(split: Split, max_test: int | None, task: str) -> NDArray[np.integer]:
    """The indices of the test images that are prepared, ascending."""
    if max_test is None:
        return np.arange(len(split.labels))
    return sample_test(split.labels, max_test, task)


def _drawn(
    source: TaskSource, split: Split, shots: int, seed: int, val_share: float, short_classes: str
) -> tuple[FewShot, NDArray[np.int64]]:
    """A few-shot sample of the training split, and the indices of its images, ascending."""
    drawn = sample_few_shot(
        split.labels,
        len(source.classnames),
        shots,
        val_share,
        seed,
        task=source.name,
        classnames=source.classnames,
        short_classes=short_classes,
    )
    return drawn, np.unique(np.r_[drawn.train, drawn.val])


def _is_of(path: Path, split: Split, kept: NDArray[np.integer]) -> bool:
    """Whether a prepared file's content is that of the images `kept`."""
    try:
        content = read_tensors(path, KIND, ("content",))[0]["content"]
    except InputError:
        return False
    hashes = np.zeros((len(kept), HASH_BYTES), np.uint8)
    place = {int(index): i for i, index in enumerate(kept)}
    for index, image in split.images(list(place)):
        hashes[place[index]] = hash_pixels(np.asarray(image))
    return bool(content == content_digest(split.labels[kept], hashes))


def _header(source: TaskSource, part: str, preprocess: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": source.name, "part": part, "image_size": int(preprocess["size"])}


def _images_beside(path: Path) -> Path:
    return path.with_suffix(".npy")


def _write(
    path: Path,
    header: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    split: Split,
    kept: NDArray[np.integer],
    preprocess: Mapping[str, Any],
    crops: Callable[[int, Image.Image], Iterable[tuple[int, NDArray[np.uint8]]]] = lambda *_: (),
    more: int = 0,
) -> None:
    """Decode the images `kept` (ascending) of the split, then write images and tensors.

    `crops` gives `more` rows behind them, each with its place, from an image's index and the original.
    """
    transform = image_transform(preprocess)
    size = int(preprocess["size"])
    with whole(_images_beside(path)) as part:
        shape = (len(kept) + more, size, size, 3)
        images = open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, not a crash later
            with part.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        place = {int(index): i for i, index in enumerate(kept)}
        hashes = np.empty((len(kept), HASH_BYTES), np.uint8)
        met: Counter[str] = Counter()
        for index, image in split.images(list(place)):
            met.update(notes(image))
            i = place.pop(index)
            images[i] = transform(image)
            hashes[i] = hash_pixels(np.asarray(image))
            for row, crop in crops(index, image):
                images[row] = crop
        if place:
            raise RuntimeError(f"a reader did not give the images {sorted(place)}")
        for line in remarks([split]):
            _log.info("task %s: %s", header["name"], line)
        for line in described(met, split.decoding):
            _log.warning("task %s: %s", header["name"], line)
        images.flush()
        about = {"shape": shape, "digest": hashlib.sha256(images.data).hexdigest()}
        del images
    made = {**header, "images": about, "content": content_digest(tensors["labels"], hashes)}
    write_tensors(path, KIND, made, {**tensors, "hashes": hashes})


def _read(
    path: Path, part: str, keys: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], NDArray[np.uint8]]:
    """Header, tensors and images; the images' pages are read when they are used."""
    header, tensors = read_tensors(path, KIND)
    if header.get("part") != part:
        held = header.get("part", "features")
        raise InputError(f"{path}: holds a task's {held}: expected its {part}")
    for key in keys:
        if key not in header:
            raise InputError(f"{path}: its header has no '{key}': expected a task's {part}")
    beside = _images_beside(path)
    try:
        images = np.load(beside, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{beside}: no such file: expected the images of {path.name}") from None
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{beside}: not a whole file of images ({first_line(error)})") from None
    shape = tuple(header["images"]["shape"])
    if images.shape != shape or images.dtype != np.uint8:
        raise InputError(f"{beside}: holds {images.dtype} {images.shape}: expected uint8 {shape}")
    return header, tensors, images
