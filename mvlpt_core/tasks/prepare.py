"""Prepared tasks: few-shot pool and test images of a task as one safetensors file.

Tensors: `images` uint8 [N, S, S, 3] (the few-shot pool, the union over seeds) and `labels` int64
[N], or uint8 multi-hot [N, C]; `test_images` [M, S, S, 3] and `test_labels`; for each seed
`train_<seed>` and `val_<seed>`, int64 indices into the pool. The header's metadata key `task` is a
JSON object: name, classnames, templates, metric, multilabel, shots, image_size, source_digest.

Pixels are written and read through a memory map: a large test split costs disk, not memory. The
format (an 8-byte header length, a JSON header, raw tensors) is that of the safetensors library,
which reads these files as well.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import Split
from mvlpt_core.tasks.fewshot import FewShot, sample_few_shot, sample_test
from mvlpt_core.tasks.open import open_task

DTYPES: dict[str, np.dtype[Any]] = {"I64": np.dtype("<i8"), "U8": np.dtype("u1")}
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
RESIZE_MODES = ("shortest", "squash")
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Prepared:
    """A prepared task; the arrays are as in the module's docstring, `train` and `val` by seed.

    Arrays are copy-on-write maps of the file: pages are read when they are used.
    """

    name: str
    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    metric: str
    multilabel: bool
    shots: int
    image_size: int
    source_digest: str
    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.integer]
    train: dict[int, NDArray[np.int64]]
    val: dict[int, NDArray[np.int64]]


def prepare_task(
    row: TaskRow,
    data_root: str | Path | None,
    preprocess: Mapping[str, Any],
    shots: int,
    seeds: Sequence[int],
    val_share: float,
    max_test: int | None,
    out: str | Path,
    short_classes: str = "error",
) -> None:
    """Draw the few-shot samples of all `seeds`, decode what they and the test need, write `out`.

    `preprocess` gives `size`, `interpolation` and `resize_mode` of the backbone. `max_test` caps
    the test images (see `sample_test`), None takes all. The file appears whole or not at all, and
    its bytes depend on data and arguments only. Raises `InputError` for bad data or settings.
    """
    transform = image_transform(preprocess)
    if max_test is not None and max_test < 1:
        raise InputError(f"max_test is {max_test}: expected null or a number of at least 1")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds are {list(seeds)}: expected one or more different numbers")
    source = open_task(row, data_root)
    train, test = source.split("train"), source.split("test")
    samples = {
        seed: sample_few_shot(
            train.labels,
            len(source.classnames),
            shots,
            val_share,
            seed,
            task=row.task,
            classnames=source.classnames,
            short_classes=short_classes,
        )
        for seed in seeds
    }
    pool = np.unique(np.concatenate([np.r_[s.train, s.val] for s in samples.values()]))
    kept = np.arange(len(test.labels))
    if max_test is not None:
        kept = sample_test(test.labels, max_test, row.task)
    size = int(preprocess["size"])
    small, specs = _layout(samples, pool, kept, train.labels, test.labels, size)
    meta = {
        "name": row.task,
        "classnames": source.classnames,
        "templates": source.templates,
        "metric": row.metric,
        "multilabel": source.multilabel,
        "shots": shots,
        "image_size": size,
    }

    def fill(arrays: Arrays) -> None:
        for name, values in small.items():
            arrays[name][...] = values
        _decode(train, pool, transform, arrays["images"])
        _decode(test, kept, transform, arrays["test_images"])

    _write(Path(out), meta, specs, fill)


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


def load_prepared(path: str | Path) -> Prepared:
    """Read the file that `prepare_task` wrote; `InputError` if it is not such a file."""
    path = Path(path)
    try:
        metadata, arrays = _read(path)
        meta = json.loads(metadata["task"])
        seeds = [int(name[6:]) for name in arrays if name.startswith("train_")]
        return Prepared(
            name=meta["name"],
            classnames=tuple(meta["classnames"]),
            templates=tuple(meta["templates"]),
            metric=meta["metric"],
            multilabel=meta["multilabel"],
            shots=meta["shots"],
            image_size=meta["image_size"],
            source_digest=meta["source_digest"],
            images=arrays["images"],
            labels=arrays["labels"],
            test_images=arrays["test_images"],
            test_labels=arrays["test_labels"],
            train={seed: arrays[f"train_{seed}"] for seed in sorted(seeds)},
            val={seed: arrays[f"val_{seed}"] for seed in sorted(seeds)},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"file {path} is not a prepared task: {error}") from error


def _layout(
    samples: Mapping[int, FewShot],
    pool: NDArray[np.integer],
    kept: NDArray[np.integer],
    train_labels: NDArray[np.integer],
    test_labels: NDArray[np.integer],
    size: int,
) -> tuple[Arrays, dict[str, tuple[str, tuple[int, ...]]]]:
    """The small arrays, and dtype and shape of all, 8-byte numbers first so that all align."""
    small: Arrays = {}
    for seed, sample in samples.items():
        small[f"train_{seed}"] = np.searchsorted(pool, sample.train)
        small[f"val_{seed}"] = np.searchsorted(pool, sample.val)
    small["labels"], small["test_labels"] = train_labels[pool], test_labels[kept]
    specs: dict[str, tuple[str, tuple[int, ...]]] = {
        name: ("U8" if values.dtype == np.uint8 else "I64", values.shape)
        for name, values in small.items()
    }
    specs["images"] = ("U8", (len(pool), size, size, 3))
    specs["test_images"] = ("U8", (len(kept), size, size, 3))
    return small, specs


def _decode(
    split: Split,
    indices: NDArray[np.integer],
    transform: Callable[[Image.Image], NDArray[np.uint8]],
    into: NDArray[np.uint8],
) -> None:
    """Fill `into` [N, S, S, 3] with the images at the ascending `indices` of `split`."""
    place = {int(index): i for i, index in enumerate(indices)}
    for index, image in split.images(list(place)):
        into[place.pop(index)] = transform(image)
    if place:
        raise RuntimeError(f"a reader did not give the images {sorted(place)}")


def _write(
    path: Path,
    meta: dict[str, Any],
    specs: Mapping[str, tuple[str, tuple[int, ...]]],
    fill: Callable[[Arrays], None],
) -> None:
    """Write a safetensors file of `specs`, let `fill` set the arrays, then give it its name.

    `source_digest`, the SHA-256 of `meta` and of all tensors, joins `meta` in the header.
    """
    header = _header({**meta, "source_digest": "0" * 64}, specs)
    total = len(header) + sum(prod(shape) * DTYPES[d].itemsize for d, shape in specs.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here, not a crash later
                os.posix_fallocate(file.fileno(), 0, total)
            file.truncate(total)
        data = np.memmap(part, np.uint8, "r+")
        arrays: Arrays = {}
        at = len(header)
        for name, (dtype, shape) in specs.items():
            end = at + prod(shape) * DTYPES[dtype].itemsize
            arrays[name] = data[at:end].view(DTYPES[dtype]).reshape(shape)
            at = end
        fill(arrays)
        digest = hashlib.sha256(header)
        digest.update(data.data[len(header) :])
        header = _header({**meta, "source_digest": digest.hexdigest()}, specs)
        data[: len(header)] = np.frombuffer(header, np.uint8)
        data.flush()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _header(meta: Mapping[str, Any], specs: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"task": json.dumps(meta)}}
    at = 0
    for name, (dtype, shape) in specs.items():
        end = at + prod(shape) * DTYPES[dtype].itemsize
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # as the library does: the tensors start aligned
    return len(text).to_bytes(8, "little") + text


def _read(path: Path) -> tuple[dict[str, str], Arrays]:
    """Metadata and arrays of a safetensors file, as copy-on-write maps."""
    data = np.memmap(path, np.uint8, "c")
    start = 8 + int.from_bytes(bytes(data[:8]), "little")
    if start > len(data):
        raise ValueError("its header is cut off")
    entries = json.loads(bytes(data[8:start]))
    metadata = entries.pop("__metadata__")
    arrays: Arrays = {}
    for name, entry in entries.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        flat = data[begin:end].view(np.ndarray)
        arrays[name] = flat.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return metadata, arrays
