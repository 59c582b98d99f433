"""Labels as data give them, by names or numbers, one or several an image, and the classes that they make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import check_classnames, read_lines
from mvlpt_core.tasks.decode import counted
from mvlpt_core.tasks.folder import CLASSNAMES_FILE, listed_classes

Labels = NDArray[np.integer]
_WHOLE = re.compile(r"[0-9]+(\.0+)?")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# Words, in lower case, that programs write where there is no label.
_MISSING = ("nan", "none", "null", "n/a", "na", "<na>", "-1")


def classes_of(labels: Sequence[Sequence[str]], folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """The labels that occur, in the order of the classes, and the classes' names.

    `classnames.txt` in `folder` names the classes: line i is that of label i, from 0, where labels are
    numbers; else a line a label, as in a folder of class folders. Without it a label is its class's name,
    with `_` read as a space. Raises `InputError` for a file that does not fit.
    """
    found = {label for own in labels for label in own}
    listing = folder / CLASSNAMES_FILE
    if all(label.isascii() and label.isdigit() for label in found):
        order = sorted(found, key=int)
        if not listing.is_file():
            return order, check_classnames(order, f"task {folder}")
        names = read_lines(listing, "one class name a line")
        if int(order[-1]) >= len(names):
            raise InputError(
                f"file {listing} has {len(names)} lines, and a label is {order[-1]}: expected a line for "
                "each, from label 0"
            )
        return [str(number) for number in range(len(names))], check_classnames(names, listing)
    if listing.is_file():
        order, names = listed_classes(listing, sorted(found))
        return order, check_classnames(names, listing)
    order = sorted(found)
    return order, check_classnames([label.replace("_", " ") for label in order], f"task {folder}")


def as_text(values: Sequence[Any], where: str) -> list[str]:
    """The labels of an image as text; numbers are whole, whatever their type.

    Raises `InputError`, for which `where` tells image and labels, for none, one of another type, and one
    that occurs twice: zeros and ones are no numbers of classes.
    """
    labels = []
    for value in values:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if (isinstance(value, str) and value) or (type(value) is int and value >= 0):
            labels.append(str(value))
    if len(labels) < max(len(values), 1):
        raise InputError(f"{where}: expected a name, or a whole number from 0")
    if len(set(labels)) < len(labels):
        raise InputError(
            f"{where}, one of them twice: expected the names or numbers of its classes"
        )
    return labels


def whole(labels: Sequence[list[str]]) -> None:
    """Numbers that were written with a fraction of zero (`1.0`) as whole ones, where all are numbers."""
    if all(_WHOLE.fullmatch(label) for own in labels for label in own):
        for own in labels:
            own[:] = dict.fromkeys(label.partition(".")[0] for label in own)


def check_given(labels: Sequence[Sequence[str]], where: str) -> None:
    """Raise `InputError` where all labels are numbers but for what stands for a missing one, and where every
    image has all labels."""
    found = {label for own in labels for label in own}
    if len(found) > 1 and all(len(own) == len(found) for own in labels):
        raise InputError(
            f"{where}: every image has all labels ({', '.join(sorted(found)[:3])}): expected the names or "
            "numbers of its classes"
        )
    missing = sorted(label for label in found if label.lower() in _MISSING)
    numbers = found.difference(missing)
    if missing and numbers and all(label.isascii() and label.isdigit() for label in numbers):
        count = sum(missing[0] in own for own in labels)
        raise InputError(
            f"{where}: {counted(count)} with label {missing[0]!r}, where others have numbers: expected a "
            "label for each"
        )


def numbered(labels: Sequence[Sequence[str]], order: Sequence[str], multilabel: bool) -> Labels:
    """Class numbers int64 [N], or uint8 multi-hot [N, C] of several labels an image."""
    number: Mapping[str, int] = {label: i for i, label in enumerate(order)}
    if not multilabel:
        return np.array([number[own[0]] for own in labels], np.int64)
    hot = np.zeros((len(labels), len(order)), np.uint8)
    for row, own in zip(hot, labels, strict=True):
        row[[number[label] for label in own]] = 1
    return hot


def doubtful(order: Sequence[str], names: Sequence[str]) -> list[str]:
    """Sentences where the text tower is to read numbers alone of classes, or what may stand for no label."""
    said = []
    if list(order) == list(names) and all(map(_NUMBER.fullmatch, order)):
        said.append(
            f"classes have numbers for names ('{order[0]}', '{order[1]}', ...): {CLASSNAMES_FILE}, or the "
            "suite's column names, gives them others"
        )
    missing = [name for name in names if name.lower() in _MISSING]
    if missing:
        said.append(f"label {missing[0]!r} counts as a class of this name")
    return said
