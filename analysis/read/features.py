"""What tasks and prompts look like: their feature files and prompt files, for similarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.tensors import START, read_tensors

PROMPT_TENSORS = ("text", "visual")


@dataclass(frozen=True)
class TaskFeatures:
    """A task as the frozen backbone sees it.

    images [N, D]: features of the few-shot images, rows of length 1; labels [N] class numbers or
    [N, C] multi-hot; names [C, D]: features of the bare class names; text [C, D]: mean over
    templates; logit_scale: factor of cosines in the classifier.
    """

    name: str
    classnames: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    text: np.ndarray
    logit_scale: float


@dataclass(frozen=True)
class SourcePrompt:
    """A group's own prompt: its tensors by name, or none if its run diverged; and what tuning changed of
    each, where the file tells what it began as."""

    method: str
    task: str
    seed: int
    tensors: dict[str, np.ndarray]
    change: dict[str, np.ndarray]


def read_tasks(
    test_files: Sequence[str | Path], sample_files: Sequence[str | Path]
) -> list[TaskFeatures]:
    """One task for each file of test features, with all its samples' images.

    Raises `InputError`, naming the file, for one that is not whole, a task given twice, and a task
    without a sample.
    """
    samples: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for path in sample_files:
        header, tensors = _read(path, ("train_features", "train_labels"), ("name",))
        own = tensors["train_features"].astype(float), tensors["train_labels"]
        samples.setdefault(header["name"], []).append(own)
    found: dict[str, TaskFeatures] = {}
    for path in test_files:
        header, tensors = _read(
            path, ("class_features", "text_features"), ("name", "classnames", "logit_scale")
        )
        name, classes = header["name"], len(header["classnames"])
        if name in found:
            raise InputError(f"{path}: features of task '{name}' are given twice: expected once")
        if name not in samples:
            raise InputError(f"task '{name}' has no features of a sample: expected one or more")
        images, labels = (np.concatenate(parts) for parts in zip(*samples[name], strict=True))
        for key in ("class_features", "text_features"):
            expected = (classes, images.shape[1])
            if tensors[key].shape != expected:
                raise InputError(f"{path}: '{key}' is {tensors[key].shape}: expected {expected}")
        found[name] = TaskFeatures(
            name,
            tuple(header["classnames"]),
            images,
            labels,
            tensors["class_features"].astype(float),
            tensors["text_features"].astype(float),
            float(header["logit_scale"]),
        )
    return list(found.values())


def read_prompt(path: str | Path) -> SourcePrompt:
    """A prompt's context vectors; raises `InputError` naming the file if it is not one."""
    header, tensors = read_tensors(path, "prompt", ("method", "group", "seed", "status"))
    own = {name: tensors[name] for name in PROMPT_TENSORS if name in tensors}
    if not own:
        raise InputError(f"{path}: holds none of {', '.join(PROMPT_TENSORS)}: expected a prompt")
    finite = all(np.isfinite(tensor).all() for tensor in own.values())
    diverged = header["status"] != "ok" or not finite
    change = {
        name: tensor - tensors[START + name]
        for name, tensor in own.items()
        if START + name in tensors and not diverged
    }
    return SourcePrompt(
        header["method"], header["group"], int(header["seed"]), {} if diverged else own, change
    )


def _read(
    path: str | Path, wanted: tuple[str, ...], keys: tuple[str, ...]
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    header, tensors = read_tensors(path, "task", keys)
    for name in wanted:
        if name not in tensors:
            raise InputError(f"{path}: '{name}' is missing: expected a task's features")
    return header, tensors
