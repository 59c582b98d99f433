"""The plain way to prompt a CLIP: open_clip's own modules, one prompt, both towers at every step.

The benchmarks time it and the tests check the fast engine against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def plain_image(model: Any, x: Tensor, prompt: Tensor | None = None) -> Tensor:
    """L2-normalised features [B, D] of pixels [B, 3, S, S].

    Prompts are [L, P, W] (deep), [1, P, W] (shallow) or each image's own [B, L, P, W].
    """
    visual = model.visual
    x = visual._embeds(x)
    if prompt is not None and prompt.dim() == 3:
        prompt = prompt.expand(len(x), -1, -1, -1)
    n = 0 if prompt is None else prompt.shape[2]
    for i, block in enumerate(visual.transformer.resblocks):
        if prompt is not None and i < prompt.shape[1]:
            x = torch.cat([x[:, :1], prompt[:, i], x[:, 1 + (n if i else 0) :]], 1)
        x = block(x)
    return F.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)


def plain_text(
    model: Any,
    names: Sequence[Sequence[int]],
    context: Tensor | None = None,
    position: str = "middle",
    suffix: Sequence[int] = (),
) -> Tensor:
    """L2-normalised class features [C, D], every class padded to the tower's full context length.

    `position` is the name's place among the vectors of `context` [n, W].
    """
    text = getattr(model, "text", model)
    table = text.token_embedding.weight
    length, vocabulary = text.positional_embedding.shape[0], len(table)
    rows, ends = [], []
    for name in names:
        parts = [table[list(name)]]
        if context is not None:
            half = len(context) // 2
            parts = {
                "front": [*parts, context],
                "end": [context, *parts],
                "middle": [context[:half], *parts, context[half:]],
            }[position]
        row = torch.cat(
            [table[[vocabulary - 2]], *parts, table[list(suffix)], table[[vocabulary - 1]]]
        )
        ends.append(len(row) - 1)
        rows.append(torch.cat([row, table[[0]].expand(length - len(row), -1)]))
    x = torch.stack(rows) + text.positional_embedding
    x = text.ln_final(text.transformer(x, attn_mask=text.attn_mask))
    return F.normalize(x[torch.arange(len(x)), ends] @ text.text_projection, dim=-1)
