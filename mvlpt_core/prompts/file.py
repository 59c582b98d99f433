"""Prompt files: safetensors with the prompt's method, settings and provenance in the header.

Nothing is ever unpickled, and loading is strict: method, settings, backbone, names and shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import write_atomic

_KEY = "prompt"


def save_prompt(path: Path, state: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write one prompt (tensors without a runs axis); the file appears whole or not at all."""
    write_atomic(path, save(dict(state), metadata={_KEY: json.dumps(header, sort_keys=True)}))


def load_prompt(
    path: Path, *, method: str, settings: Mapping[str, Any], backbone_digest: str
) -> dict[str, Tensor]:
    """The tensors of a prompt that fits; raises `InputError` naming the file and what differs."""
    if not path.is_file():
        raise InputError(f"prompt file '{path}' is not there.")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise InputError(
            f"prompt file '{path}' cannot be read as safetensors ({error})."
        ) from error
    if header is None:
        raise InputError(
            f"prompt file '{path}' has no '{_KEY}' header; expected one written by this project."
        )
    if header["method"] != method:
        raise InputError(
            f"prompt file '{path}' holds a {header['method']} prompt; expected {method}."
        )
    if header["backbone_digest"] != backbone_digest:
        raise InputError(
            f"prompt file '{path}' was tuned on backbone '{header['backbone']}' with other weights; a "
            "prompt only fits the backbone that it was tuned on."
        )
    for key, value in settings.items():
        if header["settings"].get(key) != value:
            raise InputError(
                f"prompt file '{path}' was tuned with {method}.{key} = {header['settings'].get(key)!r}; "
                f"expected {value!r}."
            )
    return state
