"""A small random open_clip model, the backbone converted from it, and class names for it."""

from __future__ import annotations

import math
from typing import Any

import torch
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor, nn

from mvlpt_core.backbone.convert import convert_model
from mvlpt_core.backbone.towers import Backbone, build_backbone

SOS, EOS, DOT = 98, 99, 97
CONTEXT = 20
NAMES = [[5, 6], [7], [8, 9, 10], [11], [12, 13], [14, 15, 16, 17], [18]]


def small_clip_weights(**options: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Converted fp32 weights and configuration of `random_clip`."""
    weights, config = convert_model(random_clip(**options), "small")
    config["preprocess"] = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
    config["weights_sha256"] = "small"
    return weights, config


def small_clip(**options: Any) -> tuple[nn.Module, Backbone]:
    """An open_clip model and the backbone converted from it, both in fp64 from the same fp32 numbers."""
    weights, config = small_clip_weights(**options)
    backbone = build_backbone(weights, config, torch.device("cpu"), torch.float64)
    return random_clip(**options).double(), backbone


def random_clip(
    *,
    quick_gelu: bool = False,
    custom: bool = False,
    layer_scale: float | None = None,
    layers: int = 3,
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    embed_dim: int = 32,
) -> nn.Module:
    torch.manual_seed(0)
    vision = vision or {
        "layers": layers,
        "width": 64,
        "head_width": 32,
        "patch_size": 8,
        "image_size": 24,
        "ls_init_value": layer_scale,
    }
    text = text or {
        "context_length": CONTEXT,
        "vocab_size": 100,
        "width": 48,
        "heads": 2,
        "layers": layers,
    }
    kind: Any = CustomTextCLIP if custom else CLIP
    model = kind(embed_dim, vision, text, quick_gelu=quick_gelu).eval()
    with (
        torch.no_grad()
    ):  # biases and norms start at 0 and 1: give the conversion something to lose
        for name, value in model.named_parameters():
            if name.endswith("bias") or ".ln_" in name or name.startswith("ln_"):
                value.add_(torch.randn_like(value) * 0.1)
    return model


def random_images(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 24, 24, 3), generator=generator, dtype=torch.uint8)


def pixels(images: Tensor, backbone: Backbone) -> Tensor:
    """[B, 3, S, S] as open_clip takes them."""
    return ((images.double() / 255 - backbone.image.mean) / backbone.image.std).permute(0, 3, 1, 2)


def plain_lr(lr: float, warmup: int, warmup_lr: float, now: int, end: int) -> float:
    return warmup_lr if now < warmup else lr * 0.5 * (1 + math.cos(math.pi * now / end))
