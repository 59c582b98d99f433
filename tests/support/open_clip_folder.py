"""A small random model as a folder that open_clip's `local-dir:` takes."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from support.engine_reference import random_clip

VISION = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}


def write_open_clip(
    folder: Path,
    *,
    weights: str = "open_clip_model.safetensors",
    quick_gelu: bool = False,
    tokenizer: dict[str, Any] | None = None,
) -> str:
    """Write the folder; returns its name. `tokenizer` are its tokenizer_kwargs."""
    text = TEXT | ({"tokenizer_kwargs": tokenizer} if tokenizer else {})
    model_config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text}
    model_config |= {"quick_gelu": True} if quick_gelu else {}
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_config, "preprocess_cfg": preprocess})
    )
    model = random_clip(vision=VISION, text=TEXT, embed_dim=16)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / weights)
    return f"local-dir:{folder}"
