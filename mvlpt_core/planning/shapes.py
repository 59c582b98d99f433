"""A backbone's shapes without its weights, and towers of that shape filled with noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mvlpt_core.backbone.named import open_clip_folder
from mvlpt_core.backbone.towers import Backbone, build_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line

_NOISE = 0.02  # standard deviation of random weights: activations stay finite in any precision


def read_shapes(name: str) -> dict[str, Any]:
    """open_clip's description of a model (`embed_dim`, `vision_cfg`, `text_cfg`).

    `name` is one of open_clip's own, `local-dir:<folder>` or `hf-hub:<owner/name>`, whose description
    is looked for in the hub client's cache alone. open_clip is not imported: that takes longer than
    the rest of a plan. Raises `InputError` where there is none, or for an image tower that is no ViT.
    """
    path = _description(name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found = dict(found.get("model_cfg", found))
        vision, text = found["vision_cfg"], found["text_cfg"]
        layers = vision["layers"]
        if not isinstance(layers, int) or "patch_size" not in vision or "width" not in text:
            raise ValueError("its image tower is no ViT")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"backbone '{name}': its shapes are not in {path} ({first_line(error)}): expected "
            "open_clip's description of a ViT CLIP"
        ) from None
    return found


def _description(name: str) -> Path:
    scheme, colon, rest = name.partition(":")
    if scheme == "local-dir" and colon:
        return Path(rest) / "open_clip_config.json"
    if scheme == "hf-hub" and colon:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(rest, "open_clip_config.json")
        if isinstance(cached, str):
            return Path(cached)
        raise InputError(
            f"backbone '{name}': its description is not in the hub's cache: expected it there, or "
            "one of open_clip's own names"
        )
    # Tags trained with QuickGELU change the activation and no shape.
    path = open_clip_folder() / "model_configs" / f"{name}.json"
    if not path.is_file():
        raise InputError(
            f"backbone '{name}': unknown model name: expected one of open_clip's such as 'ViT-B-16'"
        )
    return path


def random_backbone(
    shapes: Mapping[str, Any],
    device: torch.device | str,
    dtype: torch.dtype,
    *,
    compiled: bool = False,
) -> Backbone:
    """Towers of the given shapes with random weights; on the device `meta` they take no memory."""
    vision, text, features = shapes["vision_cfg"], shapes["text_cfg"], shapes["embed_dim"]
    side, patch, width = vision["image_size"], vision["patch_size"], vision["width"]
    sizes: dict[str, tuple[int, ...]] = {
        "image.patch": (width, 3 * patch**2),
        "image.class": (width,),
        "image.position": ((side // patch) ** 2 + 1, width),
        "image.projection": (features, width),
        "text.embedding": (text["vocab_size"], text["width"]),
        "text.position": (text["context_length"], text["width"]),
        "text.projection": (features, text["width"]),
        **dict(_norm("image.ln_pre", width)),
    }
    for tower, cfg in (("image", vision), ("text", text)):
        sizes |= dict(_tower(tower, cfg["width"], cfg["layers"]))
    where = torch.device(device)
    weights = {name: torch.empty(size, device=where) for name, size in sizes.items()}
    if where.type != "meta":  # there, drawing would import torch's compiler for nothing
        generator = torch.Generator(where).manual_seed(0)
        for weight in weights.values():
            weight.normal_(0, _NOISE, generator=generator)
    weights["logit_scale"] = torch.full((), 100.0, device=where)
    config = {
        "name": "random weights",
        "weights_sha256": "random",
        "preprocess": {"mean": [0.5] * 3, "std": [0.25] * 3},
        "image": {
            **_about(vision, vision["width"] // vision.get("head_width", 64)),
            "patch": patch,
        },
        "text": {
            **_about(text, text["heads"]),
            "sos": text["vocab_size"] - 2,
            "eos": text["vocab_size"] - 1,
        },
    }
    return build_backbone(weights, config, where, dtype, compiled=compiled)


def image_side(backbone: Backbone) -> int:
    """Pixels along a side of the images that the tower takes."""
    tower = backbone.image
    return round((tower.position.shape[0] - 1) ** 0.5) * tower.patch_size


def weight_bytes(backbone: Backbone) -> int:
    """Bytes of a backbone's weights as they are stored: fp32."""
    width, features = backbone.image.width, backbone.image.projection.weight.shape[0]
    tensors: list[Tensor] = [
        backbone.image.patch.weight,
        backbone.image.position,
        backbone.text.embedding,
        backbone.text.position,
    ]
    total = sum(tensor.numel() for tensor in tensors) + features * (width + backbone.text.width)
    for tower in (backbone.image, backbone.text):
        total += 12 * tower.width**2 * len(tower.blocks)
    return 4 * total


def _about(cfg: Mapping[str, Any], heads: int) -> dict[str, Any]:
    return {
        "width": cfg["width"],
        "heads": heads,
        "layers": cfg["layers"],
        "activation": "silu",
        "eps": 1e-5,
    }


def _norm(key: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{key}.weight", (width,)
    yield f"{key}.bias", (width,)


def _tower(tower: str, width: int, layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and sizes of a tower's layers, as `backbone.convert` writes them."""
    yield from _norm(f"{tower}.ln_post", width)
    for i in range(layers):
        key = f"{tower}.blocks.{i}"
        yield from _norm(f"{key}.ln_1", width)
        yield from _norm(f"{key}.ln_2", width)
        for name, out, into in (
            ("qkv", 3 * width, width),
            ("out", width, width),
            ("fc", 4 * width, width),
            ("proj", width, 4 * width),
        ):
            yield f"{key}.{name}.weight", (out, into)
            yield f"{key}.{name}.bias", (out,)
