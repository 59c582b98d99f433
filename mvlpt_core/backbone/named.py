"""What can be told of a backbone by its name, from files alone: open_clip takes seconds to import."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, held

QUICK = "-quickgelu"  # ends the names of open_clip's models with that activation
CLIP_SIZE = 224  # pixels of a side


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


def check_named(name: str, pretrained: str) -> list[str]:
    """Raise `InputError` for a model name, a tag or a folder that open_clip cannot load; else warnings.

    What lies on the hub is not looked at.
    """
    label = model_label(name, pretrained)
    scheme = name.partition(":")[0]
    if scheme in ("local-dir", "hf-hub") and pretrained:
        # open_clip would leave it aside.
        raise InputError(
            f"{label}: a '{scheme}:' model has its own weights; expected no backbone.pretrained beside it"
        )
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise InputError(
                f"{label}: '{folder}/open_clip_config.json' is not there; expected a folder written "
                "by open_clip (open_clip_config.json beside open_clip_model.safetensors)"
            )
        if not (folder / "open_clip_model.safetensors").is_file():
            # open_clip would fall back to pickled weights: we read no pickle.
            raise InputError(
                f"{label}: '{folder}/open_clip_model.safetensors' is not there; expected weights in "
                "the safetensors format"
            )
        _check_weights(folder / "open_clip_model.safetensors", label)
        return []
    if name.startswith("hf-hub:"):
        return []
    shapes = open_clip_folder() / "model_configs" / f"{name}.json"
    if not shapes.is_file():
        found = held(name)
        given = f" ('{name}' holds {found})" if Path(name).is_file() and found else ""
        if Path(name).is_dir():
            given = f" (is the folder meant, 'local-dir:{name}'?)"
        raise InputError(
            f"{label}: unknown model name{given}; expected one of open_clip's names such as 'ViT-B-16', "
            "or a name that starts with 'hf-hub:' or 'local-dir:'"
        )
    if not isinstance(json.loads(shapes.read_text(encoding="utf-8"))["vision_cfg"]["layers"], int):
        raise InputError(f"{label}: its image tower is no ViT; expected one such as 'ViT-B-16'")
    tags = _tags(name)
    if Path(pretrained).is_file():
        _check_weights(Path(pretrained), label)
        activation = "QuickGELU" if name.endswith(QUICK) else "GELU"
        return [
            f"{label}: a weights file does not say its activation; read with {activation}, as the model's "
            f"name says (OpenAI's weights want one that ends in {QUICK}); the log of the zero-shot job "
            "gives the score with either"
        ]
    if Path(pretrained).suffix or "/" in pretrained:
        raise InputError(f"{label}: there is no such file; expected weights in safetensors format")
    if pretrained not in tags:
        absent = "no such tag or file; " if pretrained else ""
        raise InputError(
            f"{label}: {absent}backbone.pretrained must be "
            + (f"one of {', '.join(tags)} or " if tags else "")
            + "the path of weights in safetensors format"
        )
    return []


def _check_weights(path: Path, label: str) -> None:
    """Raise `InputError` for a file of weights in another format; its header alone is read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        found = held(path)
        reason = f"it holds {found}" if found else first_line(error)
        raise InputError(
            f"{label}: '{path}' is not in the safetensors format ({reason}); expected weights as "
            "safetensors.torch.save_file(state_dict, path) writes them"
        ) from None


def text_settings(name: str) -> dict[str, Any]:
    """`text_cfg` of open_clip's configuration of a model; empty where none is at hand."""
    return dict(_settings(name, "text_cfg").get("text_cfg", {}))


def image_settings(name: str) -> dict[str, Any]:
    """Size, interpolation and resize mode of a model's images, as `convert` notes them, by open_clip's
    configuration of it; a tag of weights may say otherwise. CLIP's own where none is at hand."""
    found = _settings(name, "vision_cfg")
    own = found.get("preprocess_cfg", {})
    size = own.get("size") or found.get("vision_cfg", {}).get("image_size", CLIP_SIZE)
    return {
        "size": int(size if isinstance(size, int) else size[0]),
        "interpolation": own.get("interpolation", "bicubic"),
        "resize_mode": own.get("resize_mode", "shortest"),
    }


def _settings(name: str, needed: str) -> dict[str, Any]:
    """The parts of open_clip's configuration of a model; empty where none is at hand."""
    if name.startswith("hf-hub:"):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name.removeprefix("hf-hub:"), "open_clip_config.json")
        path = Path(cached) if isinstance(cached, str) else None
    elif name.startswith("local-dir:"):
        path = Path(name.removeprefix("local-dir:"), "open_clip_config.json")
    else:
        path = open_clip_folder() / "model_configs" / f"{name}.json"
    if path is None or not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        own = {"preprocess_cfg": config.get("preprocess_cfg", {})}
        found = {**config.get("model_cfg", config), **own}
        return {key: dict(found[key]) for key in (needed, "preprocess_cfg")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no {needed} can be read from it ({first_line(error)}): expected a model's "
            "configuration as open_clip writes it"
        ) from None


def _tags(name: str) -> list[str]:
    """The tags of a model's weights, read off the tables in open_clip's source."""
    source = (open_clip_folder() / "pretrained.py").read_text(encoding="utf-8")
    tables: dict[str, dict[str, ast.expr]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            tables[node.targets[0].id] = _entries(node.value)
    # A name's variant with QuickGELU shares the weights of tags that were trained so.
    entry = tables["_PRETRAINED"].get(name.removesuffix(QUICK))
    return list(tables.get(entry.id, {})) if isinstance(entry, ast.Name) else []


def _entries(value: ast.expr) -> dict[str, ast.expr]:
    """Keys and values of `{...}` or `dict(...)` with literal keys."""
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return {str(k.value): v for k, v in pairs if isinstance(k, ast.Constant)}
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "dict":
        return {word.arg: word.value for word in value.keywords if word.arg}
    return {}
