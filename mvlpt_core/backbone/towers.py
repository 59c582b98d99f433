"""The frozen CLIP: both towers, joined to prompts, computing nothing that a prompt cannot change.

Capital letters in shape comments: R runs (independent prompts side by side), B images, C classes,
T tokens, P prompt tokens, W width, D feature size, H heads.

What is left out, compared with running open_clip's towers on prompted tokens (all exact):

- deep visual prompts are replaced at every layer, so a layer needs only their keys and values, once
  per run instead of once per image; no query, no MLP, no output row;
- all runs see the same images: the first layer's queries, keys and values are computed once;
- in the last layer only the class token (image) or end-of-text token (text) goes on;
- text tokens before the first class-dependent one are one shared prefix (see `textlayout`);
- no weight needs a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mvlpt_core.backbone.fused import fused
from mvlpt_core.backbone.layers import Block, Linear, Norm, tail
from mvlpt_core.backbone.textlayout import Chunk, TextLayout
from mvlpt_core.backbone.tokens import LOWER


@dataclass(frozen=True)
class ImageTower:
    patch: Linear
    patch_size: int
    class_token: Tensor  # [W]
    position: Tensor  # [1 + patches, W]
    ln_pre: Norm | None
    blocks: tuple[Block, ...]
    ln_post: Norm
    projection: Linear
    mean: Tensor  # [3]
    std: Tensor  # [3]

    @property
    def width(self) -> int:
        return self.class_token.shape[0]

    def stem(self, images: Tensor) -> Tensor:
        """uint8 images [.., S, S, 3] to the first layer's tokens [.., 1 + patches, W]."""
        p = self.patch_size
        side = images.shape[-2]
        n = side // p
        x = (images.to(self.mean.dtype) / 255 - self.mean) / self.std
        x = x.reshape(-1, n, p, n, p, 3).permute(0, 1, 3, 5, 2, 4).reshape(-1, n * n, 3 * p * p)
        x = self.patch(x)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], 1) + self.position
        if self.ln_pre is not None:
            x = self.ln_pre(x)
        return x.reshape(*images.shape[:-3], *x.shape[-2:])

    def __call__(self, images: Tensor, prompt: Tensor | None = None) -> Tensor:
        """L2-normalised features [R, B, D] of uint8 images [B, S, S, 3] or [R, B, S, S, 3].

        `prompt` is [R, L, P, W], or [R, L, B, P, W] where each image has prompts of its own (dropout).
        L = number of layers: deep prompts, fresh at every layer; L = 1: shallow, the prompt tokens
        travel through the tower. Without a prompt R is 1 or the images' own.
        """
        with torch.no_grad():
            x = self.stem(images if images.dim() == 5 else images[None])  # [1 or R, B, T, W]
        if prompt is not None:
            if prompt.dim() == 4:
                prompt = prompt[:, :, None]  # one prompt for all images: [R, L, 1, P, W]
            if prompt.shape[1] == 1 and len(self.blocks) > 1:
                tokens = prompt[:, 0].expand(-1, x.shape[1], -1, -1)
                x = torch.cat([x.expand(len(tokens), -1, -1, -1), tokens.to(x.dtype)], 2)
                prompt = None
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x = _image_block(block, x, None if prompt is None else prompt[:, i], i == last)
        return F.normalize(self.projection(self.ln_post(x[:, :, 0])).to(self.mean.dtype), dim=-1)


def _image_block(block: Block, x: Tensor, prompt: Tensor | None, last: bool) -> Tensor:
    """x [1 or R, B, T, W]; prompt [R, 1 or B, P, W] gives keys and values only."""
    h = block.ln_1(x)
    if last:
        q = block.q(h[:, :, :1])
        k, v = block.kv(h).chunk(2, -1)
        x = x[:, :, :1]
    else:
        q, k, v = block.qkv(h).chunk(3, -1)
    if prompt is not None:
        kp, vp = block.kv(block.ln_1(prompt)).chunk(2, -1)
        runs, batch = len(prompt), x.shape[1]
        k = torch.cat([k.expand(runs, -1, -1, -1), kp.expand(-1, batch, -1, -1)], 2)
        v = torch.cat([v.expand(runs, -1, -1, -1), vp.expand(-1, batch, -1, -1)], 2)
        q = q.expand(runs, -1, -1, -1)
    return block.finish(x, block.attend(q, k, v))


@dataclass(frozen=True)
class TextTower:
    embedding: Tensor  # [V, W]
    position: Tensor  # [context length, W]
    blocks: tuple[Block, ...]
    ln_post: Norm
    projection: Linear
    sos: int
    eos: int
    clean: str  # how its texts are cleaned before they become tokens

    @property
    def width(self) -> int:
        return self.embedding.shape[1]

    @property
    def context_length(self) -> int:
        return self.position.shape[0]

    def __call__(self, layout: TextLayout, context: Tensor | None = None) -> Tensor:
        """L2-normalised class features [R, C, D].

        `context` is [R, n_ctx, W]; None for plain text (R = 1). With several chunks in the layout
        and a gradient wanted, a chunk's activations are recomputed in the backward pass, so that
        memory holds one chunk at a time.
        """
        parts = []
        for chunk in layout.chunks:
            if context is not None and context.requires_grad and len(layout.chunks) > 1:
                parts.append(checkpoint(self._chunk, chunk, context, use_reentrant=False))
            else:
                parts.append(self._chunk(chunk, context))
        features = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return F.normalize(features.index_select(1, layout.order), dim=-1)

    def _chunk(self, chunk: Chunk, context: Tensor | None) -> Tensor:
        x = self.embedding[chunk.tokens] * chunk.is_token + self.position[chunk.positions]  # [T, W]
        # A product with a 0/1 matrix and not an index: its backward is a product too, which is
        # deterministic on every device.
        placed = 0 if context is None else chunk.selection.to(x.dtype) @ context.to(x.dtype)
        x = (x + placed).expand(1 if context is None else len(context), -1, -1)
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x = _text_block(block, x, chunk, i == last)
        return self.projection(self.ln_post(x)).to(self.position.dtype)  # [R, C, D]


def _text_block(block: Block, x: Tensor, chunk: Chunk, last: bool) -> Tensor:
    """x [R, T, W]: the shared prefix, then all classes' own tokens, packed without padding.

    A class attends to the prefix and to itself. Classes of equal length are neighbours, so a bucket
    of them is a plain slice. In the last layer only the end-of-text rows go on: [R, C, W].
    """
    runs, _, width = x.shape
    # Split and not sliced: a slice's backward pass fills a tensor of the whole stream with zeros.
    spans = [chunk.prefix, *(bucket.stop - bucket.start for bucket in chunk.buckets)]
    h = block.ln_1(x)
    if last:
        queries = block.q(h.index_select(1, chunk.end_rows)).split(
            [bucket.classes for bucket in chunk.buckets], 1
        )
        shared, *own = (part.chunk(2, -1) for part in block.kv(h).split(spans, 1))
        x = x.index_select(1, chunk.end_rows)
        parts = []
    else:
        shared, *own = (part.chunk(3, -1) for part in block.qkv(h).split(spans, 1))
        parts = [block.attend(shared[0], shared[1], shared[2], chunk.prefix_mask)]
    for i, bucket in enumerate(chunk.buckets):
        shape = (runs, bucket.classes, bucket.length, width)

        def joined(which: int, own: Any = own[i], shape: Any = shape) -> Tensor:
            prefix = shared[which][:, None].expand(-1, shape[1], -1, -1)
            return torch.cat([prefix, own[which].reshape(shape)], 2)

        k, v = joined(-2), joined(-1)
        if last:
            attended = block.attend(queries[i][:, :, None], k, v)
        else:
            attended = block.attend(own[i][0].reshape(shape), k, v, bucket.mask)
        parts.append(attended.flatten(1, 2))
    return block.finish(x, torch.cat(parts, 1))


@dataclass(frozen=True)
class Backbone:
    """Both frozen towers on one device. `digest` identifies the weights."""

    image: ImageTower
    text: TextTower
    logit_scale: Tensor
    device: torch.device
    name: str
    digest: str
    activation_known: bool = (
        True  # not of weights from a file, which are read as their model's name says
    )

    @property
    def dtype(self) -> torch.dtype:
        """Precision of features and of everything but the large matrix products."""
        return self.image.mean.dtype

    @property
    def matrix_bytes(self) -> int:
        """Bytes of a number in the large matrix products: 4, or 2 in bf16 and fp16."""
        return self.matrix_dtype.itemsize

    @property
    def activation(self) -> str:
        """The name of the MLPs' activation."""
        return "QuickGELU" if self.text.blocks[0].activation == "silu" else "GELU"

    @property
    def matrix_dtype(self) -> torch.dtype:
        """Precision of the large matrix products."""
        return self.image.patch.weight.dtype


def build_backbone(
    weights: dict[str, Tensor],
    config: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    *,
    compiled: bool = False,
) -> Backbone:
    """Assemble the towers from converted weights; matrices in `dtype`, the rest in at least fp32; layers
    `compiled` behind their attention."""
    rest = torch.float64 if dtype == torch.float64 else torch.float32
    behind = fused(tail, device) if compiled else tail

    def get(key: str, kind: torch.dtype = rest) -> Tensor:
        return weights[key].to(device=device, dtype=kind)

    def norm(key: str, eps: float) -> Norm:
        return Norm(get(f"{key}.weight"), get(f"{key}.bias"), eps)

    def linear(key: str) -> Linear:
        return Linear(get(f"{key}.weight", dtype), get(f"{key}.bias", dtype))

    def blocks(tower: str) -> tuple[Block, ...]:
        c = config[tower]
        w = c["width"]
        made = []
        for i in range(c["layers"]):
            key = f"{tower}.blocks.{i}"
            qkv = linear(f"{key}.qkv")
            made.append(
                Block(
                    ln_1=norm(f"{key}.ln_1", c["eps"]),
                    qkv=qkv,
                    q=qkv.rows(0, w),
                    kv=qkv.rows(w, 3 * w),
                    out=linear(f"{key}.out"),
                    ln_2=norm(f"{key}.ln_2", c["eps"]),
                    fc=linear(f"{key}.fc"),
                    proj=linear(f"{key}.proj"),
                    heads=c["heads"],
                    activation=c["activation"],
                    tail=behind,
                )
            )
        return tuple(made)

    image, text = config["image"], config["text"]
    preprocess = config["preprocess"]
    image_tower = ImageTower(
        patch=Linear(get("image.patch", dtype), None),
        patch_size=image["patch"],
        class_token=get("image.class"),
        position=get("image.position"),
        ln_pre=norm("image.ln_pre", image["eps"]) if "image.ln_pre.weight" in weights else None,
        blocks=blocks("image"),
        ln_post=norm("image.ln_post", image["eps"]),
        projection=Linear(get("image.projection", dtype), None),
        mean=torch.tensor(preprocess["mean"], device=device, dtype=rest),
        std=torch.tensor(preprocess["std"], device=device, dtype=rest),
    )
    bias = get("text.projection_bias", dtype) if "text.projection_bias" in weights else None
    text_tower = TextTower(
        embedding=get("text.embedding"),
        position=get("text.position"),
        blocks=blocks("text"),
        ln_post=norm("text.ln_post", text["eps"]),
        projection=Linear(get("text.projection", dtype), bias),
        sos=text["sos"],
        eos=text["eos"],
        clean=text.get("clean", LOWER),
    )
    return Backbone(
        image=image_tower,
        text=text_tower,
        logit_scale=get("logit_scale"),
        device=device,
        name=config["name"],
        digest=config["weights_sha256"],
        activation_known=config.get("activation_known", True),
    )
