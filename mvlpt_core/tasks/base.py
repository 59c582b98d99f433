"""What every task reader returns, and the checks and decoding that all of them share."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_text
from mvlpt_core.tasks.decode import AS_IT_IS, Decoding, counted, decode_image
from mvlpt_core.tasks.files import told

SPLITS = ("train", "test")
DEFAULT_TEMPLATES = ("a photo of a {c}.",)
HASH_BYTES = 16

Load = Callable[[Decoding], Image.Image]


class Place(NamedTuple):
    """Where an image is: its file, and its name in there where the file holds many."""

    file: str
    member: str = ""


# Yields (position in the places, a call that decodes the image there) in the order that is cheapest.
Read = Callable[[Sequence[Place]], Iterator[tuple[int, Load]]]


@dataclass(frozen=True)
class Split:
    """One split: all labels, known without decoding an image, and images on demand.

    `labels` are int64 [N], or uint8 multi-hot [N, C]; `places` are where the N images are, and
    `read`, which other processes can be given, reads any of them. `passed` counts by reason the files that
    were found and are not used, `said` are sentences about how the data were read.
    """

    labels: NDArray[np.integer]
    places: Sequence[Place]
    read: Read
    decoding: Decoding = AS_IT_IS
    passed: Mapping[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def images(self, indices: Iterable[int]) -> Iterator[tuple[int, Image.Image]]:
        """(index, RGB image) for each of the distinct `indices`, in the order of `read`.

        Raises `InputError` for an image that does not decode.
        """
        wanted = list(indices)
        for position, load in self.read([self.places[i] for i in wanted]):
            yield wanted[position], load(self.decoding)


@dataclass(frozen=True)
class TaskSource:
    """A task that was opened: its classes, its prompt templates and its splits.

    `read_split` is the reader's own function; use `split`, which checks what it returns.
    """

    name: str
    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    multilabel: bool
    read_split: Callable[[str], Split]
    decoding: Decoding = AS_IT_IS

    def split(self, split: str) -> Split:
        """The split `train` or `test`, every class of it with at least one image."""
        if split not in SPLITS:
            raise InputError(f"split {split!r} of task {self.name} is unknown: train or test")
        found = self.read_split(split)
        y, classes = found.labels, len(self.classnames)
        counts = y.sum(0, dtype=np.int64) if self.multilabel else np.bincount(y, minlength=classes)
        if len(counts) != classes:
            raise InputError(
                f"task {self.name} has labels for {len(counts)} classes in split {split} "
                f"but {classes} class names: expected one name a class"
            )
        if not counts.all():
            raise InputError(
                f"class {self.classnames[int(counts.argmin())]!r} of task {self.name} has no "
                f"images in split {split}: expected at least one"
            )
        return replace(found, decoding=self.decoding)


def remarks(splits: Iterable[Split]) -> list[str]:
    """How the data of `splits` were read, a sentence each; the last counts by reason what was passed over."""
    splits = list(splits)
    passed: Counter[str] = Counter()
    for split in splits:
        passed.update(split.passed)
    lines = dict.fromkeys(sentence for split in splits for sentence in split.said)
    return [*lines, *filter(None, [told(passed)])]


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a UTF-8 text file without surrounding blanks or trailing empty lines."""
    try:
        text = read_text(path, what)
    except FileNotFoundError as error:
        raise InputError(f"file {path} is missing: expected {what}") from error
    except OSError as error:
        raise InputError(
            f"file {path} cannot be read ({error.strerror}): expected {what}"
        ) from error
    # Not splitlines: JSON and class names may hold other characters that it takes for line ends.
    return [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []


def check_classnames(names: Sequence[str], where: Path | str) -> tuple[str, ...]:
    """`names` as a tuple; `InputError` unless there are two or more. What they say, `tasks.names` checks."""
    if len(names) < 2:
        raise InputError(f"{where} has {len(names)} class names: expected at least two")
    return tuple(names)


def check_label(text: str, n_classes: int, where: str) -> int:
    """The class number in `text`; `InputError` unless it is a whole number below `n_classes`."""
    if not re.fullmatch(r"-?[0-9]+", text):  # `int` takes 0_1 and the digits of other scripts, too
        raise InputError(f"label {text!r} of {where} is not a whole number: expected a class's")
    label = int(text)
    if not 0 <= label < n_classes:
        raise InputError(
            f"label {label} of {where} is out of range: "
            f"expected 0 to {n_classes - 1}, one for each of the {n_classes} class names"
        )
    return label


def check_directory(path: Path, what: str) -> Path:
    """`path`, or `InputError` unless it is a folder with something in it."""
    if not path.is_dir():
        raise InputError(f"folder {path} does not exist: expected {what}")
    if next(path.iterdir(), None) is None:
        raise InputError(f"folder {path} is empty: expected {what}")
    return path


def check_files(files: Sequence[Path], source: Path) -> None:
    """Raise `InputError` unless the images that the file at `source` names are there."""
    gone = [file for file in files if not file.is_file()]
    if gone:
        raise InputError(
            f"file {source} names {counted(len(gone))} not there ({gone[0]}): expected each"
        )


def is_below(path: str) -> bool:
    """Whether `path`, read from a file of the data, stays in the folder that it starts from."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts


def read_files(places: Sequence[Place]) -> Iterator[tuple[int, Load]]:
    """The `read` of splits whose images are files of their own."""
    for position, place in enumerate(places):
        yield position, partial(_decode_file, place.file)


def _decode_file(file: str, decoding: Decoding = AS_IT_IS) -> Image.Image:
    try:
        data = Path(file).read_bytes()
    except FileNotFoundError:
        raise InputError(f"image {file} is missing: expected a file") from None
    except OSError as error:
        raise InputError(f"image {file} cannot be read: {error.strerror}") from error
    return decode_image(data, file, decoding)


def hash_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BLAKE2b, uint8 [16], of an image's pixels [H, W, 3] and of its size: the same for two files
    that decode to the same image."""
    found = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=HASH_BYTES)
    found.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(found.digest(), np.uint8)


def content_digest(labels: NDArray[np.integer], hashes: NDArray[np.uint8]) -> str:
    """Digest of images, by their `hashes` [N, 16], and of their labels, in their order."""
    found = hashlib.blake2b(digest_size=HASH_BYTES)
    for value in (labels.astype(np.int64), hashes):
        found.update(repr(value.shape).encode() + value.tobytes())
    return found.hexdigest()
