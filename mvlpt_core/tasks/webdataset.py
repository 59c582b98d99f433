"""WebDataset folders in the layout of the `clip-benchmark/wds_*` data sets.

    classnames.txt                            one class name a line; line i is class i, from 0
    zeroshot_classification_templates.txt     one prompt template a line, `{c}` is the class name
    dataset_type.txt                          optional; `multilabel` where images have many labels
    {train,test}/nshards.txt                  the number of tar files
    {train,test}/0.tar, 1.tar, ...            samples: an image and its label, named alike

Labels are `.cls` files (a class number as text), for multi-label data `.npy` files (a multi-hot
vector). A sample's key ends at the first dot of its names, as WebDataset has it, or at the last where an
image and a label agree up to there (`s4.v2.jpg`, `s4.v2.cls`). A split is streamed once for its labels
and once more for the images that are asked for: memory grows with the labels alone, and nothing is
written to disk. Only the extensions named here are ever read from an archive, nothing is unpickled, and
members that are not read are counted.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import TAR, first_line, held
from mvlpt_core.tasks.archive import check_end
from mvlpt_core.tasks.base import (
    Load,
    Place,
    Split,
    TaskSource,
    check_classnames,
    check_directory,
    check_label,
    read_lines,
)
from mvlpt_core.tasks.decode import decode_image
from mvlpt_core.tasks.files import EXTENSIONS, HIDDEN, folders_in, is_system, left_over

IMAGES = tuple(suffix[1:] for suffix in EXTENSIONS)
TEXTS = ("classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt")
METADATA = re.compile(r"__[^/]*__/")  # folders that WebDataset sets aside
DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error)


@dataclass(frozen=True)
class _Sample:
    shard: Path
    image: str  # member names
    label: str


def open_webdataset(task: str, path: Path) -> TaskSource:
    """The WebDataset folder at `path`; raises `InputError` for what is absent or malformed."""
    check_directory(path, f"the WebDataset folder of task {task}")
    names = read_lines(path / "classnames.txt", "one class name a line")
    classnames = check_classnames(names, path / "classnames.txt")
    templates = path / "zeroshot_classification_templates.txt"
    multilabel = False
    if (path / "dataset_type.txt").exists():
        kind = " ".join(read_lines(path / "dataset_type.txt", "'multilabel'"))
        if kind not in ("", "classification", "multilabel"):
            raise InputError(
                f"file {path / 'dataset_type.txt'} says {kind!r}: "
                "expected 'classification' or 'multilabel'"
            )
        multilabel = kind == "multilabel"
    return TaskSource(
        task,
        classnames,
        tuple(read_lines(templates, "prompt templates")) if templates.exists() else (),
        multilabel,
        lambda split: _read_split(path / split, len(classnames), multilabel),
    )


def _read_split(path: Path, n_classes: int, multilabel: bool) -> Split:
    samples: list[_Sample] = []
    labels: list[int | NDArray[np.uint8]] = []
    shards = _shards(path)
    passed = left_over(path, {path / "nshards.txt", *shards}, "images beside tar files")
    if path.name == "train":
        skip = [path, path.with_name("test")]
        texts = {path.parent / name for name in TEXTS}
        passed += left_over(path.parent, texts, "images beside tar files", skip)
    for shard in shards:
        found, others = _samples(shard, "npy" if multilabel else "cls")
        passed += others
        data = dict(_stream(shard, {sample.label for sample in found}))
        for sample in found:
            where, value = f"{sample.label} in {shard}", data[sample.label]
            if multilabel:
                labels.append(_multi_hot(value, n_classes, where))
            else:
                text = value.decode("utf-8", "replace").strip()
                labels.append(check_label(text, n_classes, where))
        samples += found
    if not samples:
        raise InputError(f"the tar files of {path} hold no samples: expected images with labels")

    places = [Place(str(sample.shard), sample.image) for sample in samples]
    kind = np.uint8 if multilabel else np.int64
    return Split(np.array(labels, kind), places, _read, passed=passed)


def _read(places: Sequence[Place]) -> Iterator[tuple[int, Load]]:
    wanted: dict[str, dict[str, int]] = {}
    for position, place in enumerate(places):
        wanted.setdefault(place.file, {})[place.member] = position
    for shard, members in wanted.items():
        for name, data in _stream(Path(shard), members):
            yield members[name], partial(decode_image, data, f"{name} in {shard}")


def _shards(path: Path) -> list[Path]:
    if not path.is_dir():
        there = ", ".join(folder.name for folder in folders_in(path.parent)) or "none"
        raise InputError(
            f"folder {path} does not exist, of folders there is {there}: expected nshards.txt and tar files "
            "named 0.tar, 1.tar, ... in it"
        )
    text = " ".join(read_lines(path / "nshards.txt", "the number of tar files"))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"file {path / 'nshards.txt'} says {text!r}: expected a number above 0")
    shards = []
    for i in range(int(text)):  # one by one: the number may be any
        shards.append(path / f"{i}.tar")
        if not shards[-1].is_file():
            raise InputError(f"file {shards[-1]} is missing: {path / 'nshards.txt'} says {text}")
    return shards


def _samples(shard: Path, label_extension: str) -> tuple[list[_Sample], Counter[str]]:
    """The samples of a tar, from its headers alone, in the order of their first member; how many members
    are of none, by reason.

    Walking the headers also shows damage that a stream would take for the end of the archive.
    """
    names: list[str] = []
    passed: Counter[str] = Counter()
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                extension = PurePosixPath(member.name).suffix.lower()
                if METADATA.match(member.name) or is_system(PurePosixPath(member.name).name):
                    passed[HIDDEN] += 1
                elif not member.isreg():
                    passed["links or devices in tar files"] += 1
                elif extension[1:] in (*IMAGES, label_extension):
                    names.append(member.name)
                else:
                    passed[f"{extension or 'without a suffix'} in tar files"] += 1
            check_end(tar)
    except DAMAGE as error:
        raise _damaged(shard, error) from error
    return _paired(names, shard, label_extension, passed), passed


def _paired(
    names: Sequence[str], shard: Path, label_extension: str, passed: Counter[str]
) -> list[_Sample]:
    """Images and labels that belong together; further images of a sample are `passed` over."""
    from webdataset.tariterators import base_plus_ext

    long = {name: name.rpartition(".")[0] for name in names}
    labelled = {long[name] for name in names if _is_label(name, label_extension)}
    pictured = {long[name] for name in names if not _is_label(name, label_extension)}
    found: dict[str, dict[str, str]] = {}
    aside: dict[str, list[str]] = {}  # images with a dot in the rest of their name, by key
    for name in names:
        key, extension = base_plus_ext(name)
        if "." in (extension or ""):
            if long[name] not in labelled & pictured:
                aside.setdefault(key, []).append(name)
                continue
            key = long[name]
        part = "label" if _is_label(name, label_extension) else "image"
        if part in found.setdefault(key, {}):
            raise InputError(
                f"sample {key} in {shard} has both {found[key][part]} and {name}: "
                f"expected one {part} a sample"
            )
        found[key][part] = name
    for key, further in aside.items():
        if len(found.get(key, {})) < 2:
            raise InputError(
                f"sample {key} in {shard} has {', '.join(further)} without its other half: expected an "
                f"image and a .{label_extension} file of one name"
            )
        passed["in tar files, beside a sample's own image and label"] += len(further)
    for key, parts in found.items():
        if len(parts) < 2:
            missing = "image" if "label" in parts else "label"
            expected = ", ".join(IMAGES) if missing == "image" else label_extension
            raise InputError(
                f"sample {key} in {shard} has no {missing}: expected a file ending in {expected}"
            )
    return [_Sample(shard, parts["image"], parts["label"]) for parts in found.values()]


def _is_label(name: str, extension: str) -> bool:
    return name.lower().endswith(f".{extension}")


def _stream(shard: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the members `names` of a tar, in its order."""
    from webdataset.tariterators import tar_file_expander  # imports torch: seconds

    left = len(names)
    with shard.open("rb") as file:
        source = [{"url": str(shard), "stream": file}]
        # A stream that is handed over open never goes through the library's URL handling.
        members = tar_file_expander(source, select_files=names.__contains__, eof_value=None)
        while left:
            try:
                member = next(members)
            except StopIteration:
                raise InputError(f"file {shard} changed while it was read") from None
            except DAMAGE as error:
                raise _damaged(shard, error) from error
            yield member["fname"], member["data"]
            left -= 1


def _damaged(shard: Path, error: BaseException) -> InputError:
    reason = f"it holds {what}" if (what := held(shard)) and what != TAR else first_line(error)
    return InputError(f"file {shard} is not a whole tar archive: {reason}")


def _multi_hot(data: bytes, n_classes: int, where: str) -> NDArray[np.uint8]:
    try:
        vector = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise InputError(f"label {where} is not a plain .npy array: {error}") from error
    if vector.shape != (n_classes,):
        raise InputError(
            f"label {where} has shape {vector.shape}: expected ({n_classes},), one number for each "
            f"of the {n_classes} class names"
        )
    if not np.isin(vector, (0, 1)).all():
        raise InputError(f"label {where} is not a multi-hot vector: expected only zeros and ones")
    return vector.astype(np.uint8)
