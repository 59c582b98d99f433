"""Few-shot samples: which training images a seed sees, and which of them are held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.seeds import generator

SHORT_CLASSES = ("error", "use_all")


@dataclass(frozen=True)
class FewShot:
    """Indices into the labels sampled from, int64; `train` and `val` never overlap."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


def held_out(n: int, val_share: float) -> int:
    """How many of a class's `n` images are for validation.

    `val_share` of them, rounded half up, at least one of two or more, and never all. It grows by
    at most one per image, which makes a small sample part of every larger one.
    """
    if n < 2 or val_share == 0:
        return 0
    return min(max(1, math.floor(val_share * n + 0.5)), n - 1)


def sample_few_shot(
    labels: NDArray[np.integer],
    n_classes: int,
    shots: int,
    val_share: float,
    seed: int,
    *,
    task: str = "",
    classnames: Sequence[str] | None = None,
    short_classes: str = "error",
) -> FewShot:
    """Draw `shots` images a class, `val_share` of them for validation (none when `shots` is 1).

    `labels` are class numbers [N] or a multi-hot matrix [N, C]. Each class has a random order of
    its own, drawn from (task, seed, class), and gives its images in rounds, one a round; a round is
    either for training or for validation. The sample of fewer shots is therefore a prefix of the
    sample of more, in `train` and in `val`.

    Multi-label: an image counts for every class it shows. In a round, a class that has enough
    positives on that side already (thanks to other classes' images) gives none. So each class ends
    with at least `shots` positives, in fewer than `shots` x C images; a class whose positives are
    all taken before its turn gives none either. Images without any positive are never drawn.

    A class with fewer than `shots` images raises `InputError`, or with `short_classes="use_all"`
    gives all it has. A class without images raises in either case.
    """
    y = np.asarray(labels)
    _check_settings(shots, val_share, short_classes)
    multi = y.ndim == 2
    members = [np.flatnonzero(y[:, c] if multi else y == c) for c in range(n_classes)]
    counts = np.array([len(m) for m in members])
    check_counts(counts, shots, task, classnames, short_classes)
    queues = []
    for c, indices in enumerate(members):
        keys = generator("few-shot", task, seed, c).random(len(indices))
        queues.append(indices[np.argsort(keys, kind="stable")])
    taken = np.zeros(len(y), bool)
    at = np.zeros(n_classes, int)  # the next place in each class's order
    sides: tuple[list[int], list[int]] = ([], [])  # train, val
    positives = np.zeros((2, n_classes), int)
    for r in range(1, shots + 1):
        if (at == counts).all():  # of classes that are short, and of a number that may be any
            break
        side = held_out(r, val_share) - held_out(r - 1, val_share)
        need = held_out(r, val_share) if side else r - held_out(r, val_share)
        for c, queue in enumerate(queues):
            while at[c] < len(queue) and taken[queue[at[c]]]:
                at[c] += 1
            if positives[side, c] >= need or at[c] == len(queue):
                continue
            image = queue[at[c]]
            taken[image] = True
            sides[side].append(int(image))
            positives[side] += (y[image] > 0) if multi else np.arange(n_classes) == c
    return FewShot(np.array(sides[0], np.int64), np.array(sides[1], np.int64))


def sample_test(labels: NDArray[np.integer], max_test: int, task: str) -> NDArray[np.int64]:
    """Indices, ascending, of at most `max_test` test images that keep the class proportions.

    Each image gets the key (its random rank in its class + u) / class size, u uniform and drawn
    once a class; the smallest keys are taken. Depends on the task's name and not on a study's
    seeds, so that all seeds are scored on the same images; fewer are a subset of more. Multi-label
    images are drawn without regard to class.
    """
    y = np.asarray(labels)
    if len(y) <= max_test:
        return np.arange(len(y), dtype=np.int64)
    rng = generator("test", task)
    if y.ndim == 2:
        keys = rng.random(len(y))
    else:
        keys = np.empty(len(y))
        for c in np.unique(y):
            indices = np.flatnonzero(y == c)
            ranks = np.argsort(np.argsort(rng.random(len(indices)), kind="stable"), kind="stable")
            keys[indices] = (ranks + rng.random()) / len(indices)
    return np.sort(np.argsort(keys, kind="stable")[:max_test]).astype(np.int64)


def _check_settings(shots: int, val_share: float, short_classes: str) -> None:
    if shots < 1:
        raise InputError(f"shots is {shots}: expected a whole number of at least 1")
    if not 0 <= val_share < 1:
        raise InputError(f"val_share is {val_share}: expected a share of at least 0 and below 1")
    if short_classes not in SHORT_CLASSES:
        raise InputError(
            f"short_classes is {short_classes!r}: expected one of {', '.join(SHORT_CLASSES)}"
        )


def check_counts(
    counts: NDArray[np.integer],
    shots: int,
    task: str,
    classnames: Sequence[str] | None,
    short_classes: str,
) -> None:
    """Raise `InputError` where a class has too few training images for `shots`, by its `counts` [C]."""
    least = int(counts.argmin())
    n = int(counts[least])
    if n >= shots or (n > 0 and short_classes == "use_all"):
        return
    name = f"class {classnames[least]!r}" if classnames else f"class number {least}"
    where = f"task {task}" if task else "the sample"
    if n == 0:
        raise InputError(f"{name} of {where} has no training images: expected at least one")
    images = "1 training image" if n == 1 else f"{n} training images"
    raise InputError(
        f"{name} of {where} has only {images} but shots is {shots}: expected shots of at most {n}, "
        "or short_classes: use_all, which takes all that such a class has"
    )
