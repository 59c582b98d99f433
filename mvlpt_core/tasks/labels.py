"""Labels as data give them, by names or numbers, one or several an image, and the classes that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.base import check_classnames, read_lines
from mvlpt_core.tasks.folder import CLASSNAMES_FILE, listed_classes

Labels = NDArray[np.integer]


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


def numbered(labels: Sequence[Sequence[str]], order: Sequence[str], multilabel: bool) -> Labels:
    """Class numbers int64 [N], or uint8 multi-hot [N, C] of several labels an image."""
    number: Mapping[str, int] = {label: i for i, label in enumerate(order)}
    if not multilabel:
        return np.array([number[own[0]] for own in labels], np.int64)
    hot = np.zeros((len(labels), len(order)), np.uint8)
    for row, own in zip(hot, labels, strict=True):
        row[[number[label] for label in own]] = 1
    return hot


def unnamed(order: Sequence[str], names: Sequence[str]) -> list[str]:
    """A sentence where numbers are all that the text tower is to read of classes."""
    if list(order) != list(names) or not order[0].isdigit():
        return []
    return [
        f"classes have numbers for names ('{order[0]}', '{order[1]}', ...): {CLASSNAMES_FILE}, or the "
        "suite's column names, gives them others"
    ]
