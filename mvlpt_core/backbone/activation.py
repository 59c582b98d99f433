"""A backbone read with its other activation: which one its weights were trained with, a file does not say."""

from __future__ import annotations

from dataclasses import replace

from mvlpt_core.backbone.layers import QUICK_GELU, Block, Linear
from mvlpt_core.backbone.towers import Backbone


def with_other_activation(backbone: Backbone) -> Backbone:
    """The same weights with QuickGELU in place of GELU, or the other way round."""
    factor = QUICK_GELU if backbone.activation == "GELU" else 1 / QUICK_GELU
    name = "silu" if backbone.activation == "GELU" else "gelu_none"

    def swapped(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        return tuple(
            replace(
                block,
                fc=_scaled(block.fc, factor),
                proj=replace(block.proj, weight=block.proj.weight / factor),
                activation=name,
            )
            for block in blocks
        )

    return replace(
        backbone,
        image=replace(backbone.image, blocks=swapped(backbone.image.blocks)),
        text=replace(backbone.text, blocks=swapped(backbone.text.blocks)),
    )


def _scaled(linear: Linear, factor: float) -> Linear:
    bias = None if linear.bias is None else linear.bias * factor
    return Linear(linear.weight * factor, bias)
