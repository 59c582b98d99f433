"""Prompt vectors and images to logits and losses, for R prompts at once.

R runs, B images, C classes, N images of a pool, D feature size, S image side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mvlpt_core.backbone.textlayout import TextLayout
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.prompts.modules import Vectors


@dataclass(frozen=True)
class Pool:
    """Images to tune on or to score.

    `inputs` are uint8 images [N, S, S, 3], which may wait in mapped host memory for their turn, or,
    where no prompt reaches the image tower, frozen L2-normalised features [N, D]. `targets` are
    class numbers [N] or class weights [N, C] that sum to 1 a row (multi-label). `allowed` [N, C]
    marks the classes an image may be given: others are excluded with -inf, so that one run can draw
    its batches from tasks with different classes.
    """

    inputs: Tensor
    targets: Tensor
    allowed: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor) -> Pool:
        """The images `index`, [B] shared by all runs or [R, B] with each run's own."""
        here = index.to(self.targets.device)
        allowed = None if self.allowed is None else self.allowed[here]
        return Pool(self.inputs[index.to(self.inputs.device)], self.targets[here], allowed)


@dataclass(frozen=True)
class Classifier:
    """One task's classes in front of the frozen backbone.

    `layout` places the class names around the prompt's context vectors (text, unified);
    `text_features` [C, D] stand in where the prompt leaves the text tower alone (visual).
    """

    backbone: Backbone
    layout: TextLayout | None = None
    text_features: Tensor | None = None

    def text(self, vectors: Vectors) -> Tensor:
        """Class features [R or 1, C, D]."""
        if vectors.text is None:
            assert self.text_features is not None
            return self.text_features[None]
        assert self.layout is not None
        return self.backbone.text(self.layout, vectors.text)

    def image(self, vectors: Vectors, inputs: Tensor) -> Tensor:
        """Image features [R or 1, B, D]."""
        if inputs.dtype == torch.uint8:
            return self.backbone.image(inputs.to(self.backbone.device), vectors.visual)
        return inputs if inputs.dim() == 3 else inputs[None]

    def logits(self, text: Tensor, image: Tensor) -> Tensor:
        """Scaled cosines [R, B, C]."""
        return self.backbone.logit_scale * image @ text.mT


def losses(logits: Tensor, batch: Pool) -> Tensor:
    """Mean cross entropy of each run, [R], from logits [R, B, C].

    Multi-label targets are class weights, so the same formula serves: -sum_c t_c log p_c.
    """
    runs, images, _classes = logits.shape
    if batch.allowed is not None:
        logits = logits.masked_fill(~batch.allowed, -torch.inf)
    if batch.targets.dtype == torch.int64:
        targets = batch.targets.expand(runs, images)
        flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return flat.view(runs, images).mean(1)
    log_p = F.log_softmax(logits, -1)
    if batch.allowed is not None:
        log_p = log_p.masked_fill(~batch.allowed, 0)  # weight 0 times -inf is not 0
    return -(batch.targets * log_p).sum(-1).mean(1)
