"""How many runs fit side by side, and how many text tokens a pass may hold."""

from __future__ import annotations

from mvlpt_core.backbone.towers import Backbone

# Floats that autograd keeps for a token and layer, in units of the width: two norms (2), q, k, v and
# the joined k, v (5), attention output (1), two residual sums (2), MLP before and after its
# activation (8).
_WIDTHS_A_LAYER = 18


def image_bytes(backbone: Backbone, batch: int, n_ctx: int) -> int:
    """Bytes that one run's image pass keeps for its backward pass."""
    tower = backbone.image
    tokens = batch * (tower.position.shape[0] + n_ctx)
    return tokens * len(tower.blocks) * tower.width * _WIDTHS_A_LAYER * backbone.matrix_bytes


def text_bytes(backbone: Backbone, tokens: int) -> int:
    """Bytes that one run's text pass over `tokens` keeps for its backward pass."""
    tower = backbone.text
    return tokens * len(tower.blocks) * tower.width * _WIDTHS_A_LAYER * backbone.matrix_bytes


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
