"""Convert an open_clip model once into the plain folder that every other job reads.

open_clip is slow to import and may reach for the network, so exactly one job touches it. What it
leaves behind is `backbone.safetensors` (weights in our own names, layer scale and QuickGELU's
factor folded in) and `backbone.json` (shapes, preprocessing, provenance).
"""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import torch
from torch import Tensor, nn

from mvlpt_core.backbone.layers import QUICK_GELU
from mvlpt_core.backbone.named import check_named, model_label
from mvlpt_core.backbone.parity import check_parity
from mvlpt_core.backbone.tokens import CLEANINGS
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import write_atomic

_REASON = 400  # letters of another's error: the names of a few missing keys are among them

_WEIGHTS = "backbone.safetensors"
_CONFIG = "backbone.json"


def convert_backbone(name: str, pretrained: str, out_dir: Path, found: str | None = None) -> None:
    """Load `name` with open_clip and write the converted folder.

    `name` follows open_clip: `ViT-B-16` with a `pretrained` tag, `hf-hub:org/model`, or
    `local-dir:folder`. `found` is what open_clip is given instead: where a folder lies differs from
    one installation to another, and what is written must not. Raises `InputError` when the model
    cannot be loaded, is not a ViT CLIP, or would not give open_clip's own features.
    """
    found = found or name
    model, preprocess = load_open_clip(found, pretrained)
    label = f"{name}/{pretrained}" if pretrained else name
    weights, config = convert_model(model, label)
    tokenizer, clean = _tokenizer(found, label, weights["text.embedding"].shape[0])
    config["text"]["clean"] = clean
    config["preprocess"] = _preprocess(preprocess)
    config["open_clip"] = {"name": name, "pretrained": pretrained}
    config["activation_known"] = not Path(pretrained).is_file()
    check_parity(model, tokenizer, weights, config, label)
    write_backbone(weights, config, out_dir)


def load_open_clip(name: str, pretrained: str) -> tuple[nn.Module, dict[str, Any]]:
    """The open_clip model in eval mode and its preprocessing settings."""
    label = model_label(name, pretrained)
    check_named(name, pretrained)
    if not name.startswith("local-dir:") and not Path(pretrained).is_file():
        _fail_fast_offline()
    import open_clip

    # A tag trained with QuickGELU needs it, whatever the model's name says.
    tag: dict[str, Any] = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    try:
        # weights_only refuses pickled code; require_pretrained: random weights are no backbone.
        model = open_clip.create_model(
            name,
            pretrained=pretrained or None,
            weights_only=True,
            require_pretrained=True,
            force_quick_gelu=bool((tag or {}).get("quick_gelu", False)),
        )
    except (
        Exception
    ) as error:  # open_clip and the hub raise many kinds; the user needs one sentence
        reason = _reason(error)
        if _is_network_error(error):
            from huggingface_hub.constants import HF_HUB_CACHE

            hub = (tag or {}).get("hf_hub") or name.removeprefix("hf-hub:")
            raise InputError(
                f"{label}: the weights '{hub.strip('/')}' are not in the hub's cache '{HF_HUB_CACHE}' "
                f"and could not be fetched ({reason}): expected a network once, a filled cache "
                "(HF_HOME), or a 'local-dir:' folder"
            ) from error
        raise InputError(f"{label}: open_clip could not load it ({reason}).") from error
    config = getattr(model.visual, "preprocess_cfg", None)
    if config is None:
        raise InputError(f"{label}: it has no preprocessing settings; expected a ViT CLIP.")
    return model.eval(), dict(config)


def _reason(error: BaseException) -> str:
    """Another's error in a line."""
    text = " ".join(str(error).split())[:_REASON]
    return f"no {text}" if isinstance(error, KeyError) else text or type(error).__name__


def _fail_fast_offline() -> None:
    """Where the hub's host has no address and no proxy stands between, the hub's client is to look into
    its cache alone: it would try again for a minute."""
    from huggingface_hub import constants

    if getproxies():
        return
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, 443)
    except OSError:
        constants.HF_HUB_OFFLINE = True


def _tokenizer(name: str, label: str, vocabulary: int) -> tuple[Any, str]:
    """open_clip's tokenizer of the model, which must be CLIP's own byte-pair encoding, and how it cleans
    texts before."""
    from open_clip import get_tokenizer
    from open_clip.tokenizer import SimpleTokenizer, get_clean_fn

    try:
        tokenizer = get_tokenizer(name)
    except Exception as error:  # as at loading
        raise InputError(
            f"backbone '{label}': open_clip could not make its tokenizer ({_reason(error)})"
        ) from error
    if not isinstance(tokenizer, SimpleTokenizer) or tokenizer.vocab_size != vocabulary:
        raise InputError(
            f"backbone '{label}' has the tokenizer {type(tokenizer).__name__} and {vocabulary} tokens; "
            "expected CLIP's own (SimpleTokenizer, 49408 tokens)"
        )
    cleans = {get_clean_fn(name): name for name in CLEANINGS}
    if tokenizer.clean_fn not in cleans or tokenizer.reduction_fn is not None:
        raise InputError(
            f"backbone '{label}' cleans or shortens its texts in a way of its own; expected one of "
            f"open_clip's cleanings ({', '.join(CLEANINGS)}) and no reduction_mask"
        )
    return tokenizer, cleans[tokenizer.clean_fn]


def _is_network_error(error: BaseException | None) -> bool:
    while error is not None:
        words = f"{type(error).__module__}.{type(error).__name__} {error}".lower()
        if any(
            w in words for w in ("connect", "offline", "resolve", "timeout", "http", "localentry")
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _preprocess(config: dict[str, Any]) -> dict[str, Any]:
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise InputError(f"backbone image size is {height} x {width}; expected a square.")
    return {
        "size": int(height),
        "interpolation": config.get("interpolation", "bicubic"),
        "resize_mode": config.get("resize_mode", "shortest"),
        "mean": [float(v) for v in config["mean"]],
        "std": [float(v) for v in config["std"]],
    }


def convert_model(model: Any, label: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights in this project's names and the shapes needed to use them.

    Takes both layouts that open_clip builds: `CLIP` (text tower flattened into the model) and
    `CustomTextCLIP` (a `text` module). Raises `InputError` for anything but a ViT CLIP: a class token
    for the image, a causal text tower pooled at the end-of-text token.
    """
    from open_clip.transformer import ResidualAttentionBlock, TextTransformer, VisionTransformer

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise InputError(f"backbone '{label}' is not a ViT CLIP that can be prompted: {what}")

    visual: Any = model.visual
    need(isinstance(visual, VisionTransformer), f"its image tower is a {type(visual).__name__}")
    need(
        visual.attn_pool is None and visual.pool_type == "tok", "its image tower has no class token"
    )
    need(visual.proj is not None, "its image tower has no output projection")
    text: Any = getattr(model, "text", model)
    need(
        isinstance(text, TextTransformer) or hasattr(model, "token_embedding"),
        f"its text tower is a {type(text).__name__}",
    )
    pool = text.text_pool_type if text is model else text.pool_type
    eos = text.text_eos_id if text is model else text.eos_id
    need(
        pool in ("argmax", "eos"),
        f"its text is pooled by '{pool}' and not at the end-of-text token",
    )
    need(text.attn_mask is not None, "its text tower is not causal")
    need(getattr(text, "cls_emb", None) is None, "its text tower has a class token of its own")
    need(text.text_projection is not None, "its text tower has no output projection")
    for tower in (visual.transformer, text.transformer):
        for block in tower.resblocks:
            need(
                type(block) is ResidualAttentionBlock,
                f"it has blocks of type {type(block).__name__}",
            )

    weights: dict[str, Tensor] = {}

    def put(key: str, value: Tensor) -> None:
        weights[key] = value.detach().to(torch.float32).contiguous().clone()

    def put_norm(key: str, norm: nn.Module) -> None:
        put(f"{key}.weight", norm.weight)  # type: ignore[arg-type]
        put(f"{key}.bias", norm.bias)  # type: ignore[arg-type]

    image_config = _put_tower("image", visual.transformer, put, put_norm)
    width = image_config["width"]
    put("image.patch", visual.conv1.weight.reshape(width, -1))
    put("image.class", visual.class_embedding)
    put("image.position", visual.positional_embedding)
    if isinstance(visual.ln_pre, nn.LayerNorm):
        put_norm("image.ln_pre", visual.ln_pre)
    put_norm("image.ln_post", visual.ln_post)
    put("image.projection", visual.proj.T)
    patch_h, patch_w = visual.patch_size
    need(patch_h == patch_w, "its patches are not square")
    image_config["patch"] = int(patch_h)

    text_config = _put_tower("text", text.transformer, put, put_norm)
    put("text.embedding", text.token_embedding.weight)
    put("text.position", text.positional_embedding)
    put_norm("text.ln_post", text.ln_final)
    if isinstance(text.text_projection, nn.Linear):
        put("text.projection", text.text_projection.weight)
        if text.text_projection.bias is not None:
            put("text.projection_bias", text.text_projection.bias)
    else:
        put("text.projection", text.text_projection.T)
    # open_clip's CLIP tokenizer always ends with the highest id, which is what `argmax` finds.
    vocabulary = text.token_embedding.weight.shape[0]
    text_config["sos"], text_config["eos"] = vocabulary - 2, vocabulary - 1
    if pool == "eos":
        need(eos == vocabulary - 1, "its end-of-text token is not the last of its vocabulary")

    put("logit_scale", model.logit_scale.exp().reshape(()))
    config = {"name": label, "image": image_config, "text": text_config}
    return weights, config


def _put_tower(prefix: str, tower: Any, put: Any, put_norm: Any) -> dict[str, Any]:
    from open_clip.transformer import LayerScale, QuickGELU

    first = tower.resblocks[0]
    activation = first.mlp.gelu
    quick = isinstance(activation, QuickGELU)
    if not quick and not isinstance(activation, nn.GELU):
        raise InputError(
            f"backbone activation {type(activation).__name__} is unknown; expected a GELU"
        )
    for i, block in enumerate(tower.resblocks):
        key = f"{prefix}.blocks.{i}"
        scale = [m.gamma if isinstance(m, LayerScale) else None for m in (block.ls_1, block.ls_2)]
        outer = 1.0 / QUICK_GELU if quick else 1.0
        inner = QUICK_GELU if quick else 1.0
        put_norm(f"{key}.ln_1", block.ln_1)
        put_norm(f"{key}.ln_2", block.ln_2)
        put(f"{key}.qkv.weight", block.attn.in_proj_weight)
        put(f"{key}.qkv.bias", block.attn.in_proj_bias)
        put(f"{key}.fc.weight", block.mlp.c_fc.weight * inner)
        put(f"{key}.fc.bias", block.mlp.c_fc.bias * inner)
        for name, linear, gamma, factor in (
            ("out", block.attn.out_proj, scale[0], 1.0),
            ("proj", block.mlp.c_proj, scale[1], outer),
        ):
            weight, bias = linear.weight * factor, linear.bias
            if gamma is not None:
                weight, bias = weight * gamma[:, None], bias * gamma
            put(f"{key}.{name}.weight", weight)
            put(f"{key}.{name}.bias", bias)
    return {
        "width": int(first.attn.embed_dim),
        "heads": int(first.attn.num_heads),
        "layers": len(tower.resblocks),
        "activation": "silu" if quick else f"gelu_{activation.approximate}",
        "eps": float(first.ln_1.eps),
    }


def write_backbone(weights: dict[str, Tensor], config: dict[str, Any], out_dir: Path) -> None:
    """Write the converted folder; each file appears whole or not at all."""
    from safetensors.torch import save

    data = save(weights)
    config = {**config, "weights_sha256": hashlib.sha256(data).hexdigest()}
    text = json.dumps(config, indent=1, sort_keys=True).encode()
    write_atomic(out_dir / _WEIGHTS, data)
    write_atomic(out_dir / _CONFIG, text)
