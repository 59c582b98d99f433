"""What a pass costs: bytes that it keeps, and operations that it cannot avoid.

A multiply and an add count as two operations. Symbols: R runs, B images, P visual context vectors, T image
tokens (class token and patches), W width, L layers; a layer holds 12 W^2 weights: queries, keys, values
3 W^2, output W^2, MLP 8 W^2. A product's backward pass through a frozen weight costs as much as its forward
pass; attention's costs twice its forward pass. Norms, activations, softmax and copies are not counted:
they are what the share of the matrix rate is lost to.
"""

from __future__ import annotations

from mvlpt_core.backbone.layers import attention_dtype
from mvlpt_core.backbone.textlayout import TextLayout
from mvlpt_core.backbone.towers import Backbone

# Floats that autograd keeps for a token and layer, in units of the width: in attention q, k, v and the
# joined k, v (5) and the output (1); besides two norms (2), two residual sums (2), MLP before and after
# its activation (8).
_OF_ATTENTION, _OTHERS = 6, 12


def image_bytes(backbone: Backbone, batch: int, n_ctx: int) -> int:
    """Bytes that one run's image pass keeps for its backward pass."""
    tower = backbone.image
    tokens = batch * (tower.position.shape[0] + n_ctx)
    return tokens * len(tower.blocks) * _layer_bytes(backbone, tower.width)


def text_bytes(backbone: Backbone, tokens: int) -> int:
    """Bytes that one run's text pass over `tokens` keeps for its backward pass."""
    tower = backbone.text
    return tokens * len(tower.blocks) * _layer_bytes(backbone, tower.width)


def _layer_bytes(backbone: Backbone, width: int) -> int:
    """Bytes that a layer keeps for a token."""
    attention = attention_dtype(backbone.device, backbone.matrix_dtype).itemsize
    return width * (_OF_ATTENTION * attention + _OTHERS * backbone.matrix_bytes)


def text_tokens_that_fit(backbone: Backbone, memory_gb: float) -> int:
    """Packed text tokens of one run whose activations fill half of `memory_gb`."""
    return max(256, int(memory_gb * 0.5e9 / text_bytes(backbone, 1)))


def runs_that_fit(
    backbone: Backbone, memory_gb: float, *, batch: int, n_ctx: int, text_tokens: int
) -> int:
    """Runs whose activations fit into `memory_gb`, at least 1.

    `batch` is 0 where no image is encoded while tuning, `text_tokens` 0 where no text is.
    """
    per_run = image_bytes(backbone, batch, n_ctx) + text_bytes(backbone, text_tokens)
    return max(1, int(memory_gb * 1e9 / max(per_run, 1)))


def step(
    backbone: Backbone, runs: int, layout: TextLayout | None, images: int, n_ctx: int
) -> float:
    """Forward and backward pass of `runs` side by side: the text tower over `layout`, where a prompt reaches
    it, and the image tower over `images`, where `n_ctx` vectors do."""
    total = text_step(backbone, runs, layout) if layout else 0.0
    return total + (image_step(backbone, runs, images, n_ctx) if n_ctx else 0.0)


def image_step(backbone: Backbone, runs: int, images: int, n_ctx: int) -> float:
    """Forward and backward pass of the image tower under deep prompts, all runs on the same images.

    Left out because no prompt can change it: the stem, the first layer's backward pass through
    queries, keys and values (and its forward pass is shared by the runs), every prompt row but its
    keys and values, and all rows but the class token behind the last layer's keys and values.
    """
    tower = backbone.image
    width, layers, tokens = tower.width, len(tower.blocks), tower.position.shape[0]
    stem = 2 * images * (tokens - 1) * width * tower.patch.weight.shape[1]
    total = float(stem)
    for layer in range(layers):
        first, last = layer == 0, layer == layers - 1
        queries = 1 if last else tokens
        inputs = 2 * width**2 * images * (2 * tokens + queries)
        total += inputs if first else 2 * runs * inputs
        total += 2 * runs * 2 * 2 * width**2 * n_ctx  # the prompts' keys and values
        total += 2 * runs * images * queries * 2 * 9 * width**2  # output and MLP
        total += 3 * runs * images * 4 * queries * (tokens + n_ctx) * width  # attention
    return total + 2 * runs * images * 2 * width * tower.projection.weight.shape[0]


def text_step(backbone: Backbone, runs: int, layout: TextLayout) -> float:
    """Forward and backward pass of the text tower over the packed classes, without padding.

    The last layer takes only the end-of-text rows beyond its keys and values.
    """
    tower = backbone.text
    width, layers = tower.width, len(tower.blocks)
    total = 0.0
    for chunk in layout.chunks:
        rows, classes = len(chunk.tokens), len(chunk.end_rows)
        for layer in range(layers):
            last = layer == layers - 1
            queries = classes if last else rows
            total += 2 * 2 * width**2 * (2 * rows + 10 * queries)
            pairs = 0 if last else chunk.prefix**2
            for b in chunk.buckets:
                own = 1 if last else b.length
                pairs += b.classes * own * (chunk.prefix + b.length)
            total += 3 * 4 * pairs * width
        total += 2 * 2 * classes * width * tower.projection.weight.shape[0]
    return runs * total


def image_forward(backbone: Backbone, images: int, n_ctx: int) -> float:
    """Forward pass alone of one run's deep prompts over `images`: what scoring a split costs."""
    tower = backbone.image
    width, layers, tokens = tower.width, len(tower.blocks), tower.position.shape[0]
    total = 2.0 * images * (tokens - 1) * width * tower.patch.weight.shape[1]
    for layer in range(layers):
        queries = 1 if layer == layers - 1 else tokens
        total += 2 * width**2 * (images * (2 * tokens + queries) + 2 * n_ctx)
        total += images * queries * 2 * 9 * width**2
        total += images * 4 * queries * (tokens + n_ctx) * width
    return total + images * 2 * width * tower.projection.weight.shape[0]
