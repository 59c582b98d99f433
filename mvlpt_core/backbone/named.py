"""What can be told of a backbone by its name, from files alone: open_clip takes seconds to import."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path

from mvlpt_core.contract.errors import InputError


def model_label(name: str, pretrained: str) -> str:
    """How messages speak of a backbone."""
    return f"backbone '{name}'" + (f" with pretrained '{pretrained}'" if pretrained else "")


def located_backbone(name: str) -> str:
    """open_clip's name of a backbone; the folder of a `local-dir:` one below here, or else beside this
    package, where the testbed's lies."""
    scheme, _, folder = name.partition(":")
    beside = Path(__file__).resolve().parents[2] / folder
    if scheme == "local-dir" and not Path(folder).exists() and beside.exists():
        return f"{scheme}:{beside}"
    return name


def open_clip_folder() -> Path:
    """Where open_clip is installed, not imported."""
    spec = find_spec("open_clip")
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places or ["."])))


def check_named(name: str, pretrained: str) -> None:
    """Raise `InputError` for a model name, a tag or a folder that open_clip cannot load.

    What lies on the hub is not looked at.
    """
    label = model_label(name, pretrained)
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise InputError(
                f"{label}: '{folder}/open_clip_config.json' is not there; expected a folder written "
                "by open_clip (open_clip_config.json beside open_clip_model.safetensors)."
            )
        if not (folder / "open_clip_model.safetensors").is_file():
            # open_clip would fall back to pickled weights: we read no pickle.
            raise InputError(
                f"{label}: '{folder}/open_clip_model.safetensors' is not there; expected weights in "
                "the safetensors format."
            )
        return
    if name.startswith("hf-hub:"):
        return
    shapes = open_clip_folder() / "model_configs" / f"{name}.json"
    if not shapes.is_file():
        raise InputError(
            f"{label}: unknown model name; expected one of open_clip's names such as 'ViT-B-16', "
            "or a name that starts with 'hf-hub:' or 'local-dir:'."
        )
    if not isinstance(json.loads(shapes.read_text(encoding="utf-8"))["vision_cfg"]["layers"], int):
        raise InputError(f"{label}: its image tower is no ViT; expected one such as 'ViT-B-16'.")
    tags = _tags(name)
    if Path(pretrained).is_file():
        if Path(pretrained).suffix != ".safetensors":
            raise InputError(f"{label}: a weights file must be in the safetensors format.")
    elif "/" in pretrained or "." in pretrained:
        raise InputError(f"{label}: there is no such file; expected weights in safetensors format.")
    elif not pretrained or pretrained not in tags:
        raise InputError(
            f"{label}: backbone.pretrained must be one of {', '.join(tags) or '(none known)'} or a "
            "weights file."
        )


def _tags(name: str) -> list[str]:
    """The tags of a model's weights, read off the tables in open_clip's source."""
    source = (open_clip_folder() / "pretrained.py").read_text(encoding="utf-8")
    tables: dict[str, dict[str, ast.expr]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            tables[node.targets[0].id] = _entries(node.value)
    # A name's variant with QuickGELU shares the weights of tags that were trained so.
    entry = tables["_PRETRAINED"].get(name.removesuffix("-quickgelu"))
    return list(tables.get(entry.id, {})) if isinstance(entry, ast.Name) else []


def _entries(value: ast.expr) -> dict[str, ast.expr]:
    """Keys and values of `{...}` or `dict(...)` with literal keys."""
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return {str(k.value): v for k, v in pairs if isinstance(k, ast.Constant)}
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "dict":
        return {word.arg: word.value for word in value.keywords if word.arg}
    return {}
