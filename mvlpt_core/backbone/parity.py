"""Whether a converted backbone sees and reads as open_clip does, with the very weights at hand.

A block, an activation or a tokenizer that the conversion does not know would go unnoticed otherwise: every
score would be a little off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.tokens import tokenizer
from mvlpt_core.backbone.towers import build_backbone
from mvlpt_core.contract.errors import InputError

_TOLERANCE = 1e-4  # of a feature of length 1
_IMAGES = 2
# Case, accents, digits, punctuation and more words than fit: what cleanings differ in, and the cut.
_TEXTS = (
    "a photo of a cat.",
    "A photo of a Boxer, a type_of dog!",
    "Café No. 42 & Söhne's «menu» (1967)",
    "word " * 100,
)


@torch.no_grad()
def check_parity(
    model: Any, theirs: Any, weights: dict[str, Tensor], config: dict[str, Any], label: str
) -> None:
    """Compare features of open_clip's `model`, with its tokenizer `theirs`, and of what it was converted to,
    of a few images and texts; raises `InputError` where they differ."""
    ours = build_backbone(
        weights, {**config, "weights_sha256": ""}, torch.device("cpu"), torch.float32
    )
    side, mean, std = (config["preprocess"][key] for key in ("size", "mean", "std"))
    drawn = np.random.default_rng(0).integers(0, 256, (_IMAGES, side, side, 3), dtype=np.uint8)
    images = torch.from_numpy(drawn)
    pixels = (images.float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    tower, tokenize = ours.text, tokenizer(ours.text.clean)
    layout = text_layout(
        [tokenize(text)[: tower.context_length - 2] for text in _TEXTS],
        sos=tower.sos,
        eos=tower.eos,
        context_length=tower.context_length,
    )
    tokens = theirs(list(_TEXTS), context_length=tower.context_length)
    pairs = {
        "image": (model.encode_image(pixels.permute(0, 3, 1, 2)), ours.image(images)[0]),
        "text": (model.encode_text(tokens), tower(layout)[0]),
    }
    for name, (expected, found) in pairs.items():
        if not bool(found.isfinite().all()):
            raise InputError(
                f"backbone '{label}' gives {name} features that are no numbers; expected finite weights"
            )
        apart = float((F.normalize(expected, dim=-1) - found).abs().max())
        if not apart <= _TOLERANCE:
            raise InputError(
                f"backbone '{label}' is not supported: its {name} features differ from open_clip's by "
                f"{apart:.2g}; expected at most {_TOLERANCE}"
            )
