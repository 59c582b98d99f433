"""Read what tasks and source prompts look like: feature files and prompt files (safetensors)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from mvlpt_core.contract.errors import InputError

from .pairs import first_line

FEATURE_TENSORS = (
    "train_features",
    "train_labels",
    "test_labels",
    "class_features",
    "text_features",
)
PROMPT_TENSORS = ("text", "visual")


@dataclass(frozen=True)
class TaskFeatures:
    """A task as the frozen backbone sees it.

    images [N, D]: features of the few-shot images, rows of length 1; labels [N] class numbers or
    [N, C] multi-hot; test_labels likewise; names [C, D]: features of the bare class names;
    text [C, D]: mean over templates; logit_scale: factor of cosines in the classifier.
    """

    name: str
    classnames: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    test_labels: np.ndarray
    names: np.ndarray
    text: np.ndarray
    logit_scale: float


@dataclass(frozen=True)
class SourcePrompt:
    """A source prompt: its tensors by name, or none if its run diverged."""

    method: str
    task: str
    seed: int
    tensors: dict[str, np.ndarray]


def read_features(path: str | Path) -> TaskFeatures:
    """A features file; raises InputError naming the file if it is not one."""
    tensors, meta = read(path, "task", FEATURE_TENSORS)
    lost = [name for name in FEATURE_TENSORS if name not in tensors]
    lost += [name for name in ("name", "classnames", "logit_scale") if name not in meta]
    if lost:
        raise InputError(f"{path}: '{lost[0]}' is missing, expected a task's features file")
    size = tensors["train_features"].shape[-1]
    for name in ("class_features", "text_features"):
        expected = (len(meta["classnames"]), size)
        if tensors[name].shape != expected:
            raise InputError(f"{path}: '{name}' is {tensors[name].shape}, expected {expected}")
    return TaskFeatures(
        meta["name"],
        tuple(meta["classnames"]),
        tensors["train_features"].astype(float),
        tensors["train_labels"],
        tensors["test_labels"],
        tensors["class_features"].astype(float),
        tensors["text_features"].astype(float),
        float(meta["logit_scale"]),
    )


def read_prompt(path: str | Path) -> SourcePrompt:
    """A source prompt's context vectors; raises InputError naming the file if it is not one."""
    tensors, meta = read(path, "prompt", PROMPT_TENSORS)
    for key in ("method", "task", "seed"):
        if key not in meta:
            raise InputError(f"{path}: '{key}' is missing in the header, expected a source prompt")
    diverged = meta.get("status", "ok") != "ok" or not all(
        np.isfinite(tensor).all() for tensor in tensors.values()
    )
    if not tensors:
        raise InputError(f"{path}: holds none of {', '.join(PROMPT_TENSORS)}, expected a prompt")
    return SourcePrompt(
        meta["method"], meta["task"], int(meta["seed"]), {} if diverged else tensors
    )


def read(
    path: str | Path, key: str, wanted: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The wanted tensors that a safetensors file has, and the JSON under `key` in its header."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="numpy") as file:
            meta = json.loads((file.metadata() or {}).get(key, "{}"))
            present = set(file.keys())
            tensors = {name: file.get_tensor(name) for name in wanted if name in present}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a safetensors file ({first_line(error)})") from None
    return tensors, meta
