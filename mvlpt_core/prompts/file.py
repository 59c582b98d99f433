"""Prompt files: tensor files with the prompt's method, settings and provenance in the header.

Nothing is ever unpickled, and loading is strict: method, settings, backbone; names and shapes are
checked by the prompt that is filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.tensors import START, is_finite, read_tensors, write_tensors

KIND = "prompt"


def save_prompt(
    path: str | Path,
    state: Mapping[str, Tensor],
    header: Mapping[str, Any],
    start: Mapping[str, Tensor] | None = None,
) -> None:
    """Write one prompt (tensors without a runs axis), whole or not at all; with the `start` that its tuning
    began with, so that what tuning changed is known."""
    tensors = {name: value.numpy() for name, value in state.items()}
    tensors |= {f"{START}{name}": value.numpy() for name, value in (start or {}).items()}
    write_tensors(path, KIND, header, tensors)


def check_finite(
    path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> None:
    """Raise `InputError` for a prompt that holds a NaN or an infinity, unless it is known to have
    diverged."""
    if header["status"] == "ok" and not is_finite(tensors):
        raise InputError(
            f"prompt file '{path}' holds a NaN or an infinity: expected finite vectors"
        )


def load_prompt(
    path: str | Path, method: str, settings: Mapping[str, Any], backbone_digest: str
) -> dict[str, Tensor]:
    """The tensors of a prompt that fits; raises `InputError` naming the file and what differs."""
    keys = ("method", "settings", "backbone", "backbone_digest", "status")
    header, tensors = read_tensors(path, KIND, keys)
    where = f"prompt file '{path}'"
    if header["method"] != method:
        raise InputError(f"{where} holds a {header['method']} prompt: expected {method}")
    if header["backbone_digest"] != backbone_digest:
        raise InputError(
            f"{where} was tuned on backbone '{header['backbone']}' with other weights: expected the "
            "backbone at hand, for a prompt only fits the one that it was tuned on"
        )
    check_finite(path, header, tensors)
    if not isinstance(header["settings"], dict):
        raise InputError(f"{where} has the settings {header['settings']!r}: expected a mapping")
    for key, value in settings.items():
        found = header["settings"].get(key)
        if found != value:
            raise InputError(
                f"{where} was tuned with {method}.{key} = {found!r}: expected {value!r}"
            )
    return {
        name: torch.from_numpy(value)
        for name, value in tensors.items()
        if not name.startswith(START)
    }
