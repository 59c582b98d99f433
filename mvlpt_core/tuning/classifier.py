"""Prompt vectors and images to logits and losses, for R prompts at once.

R runs, B images, C classes, N images of a pool, D feature size, S image side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    its batches from tasks with different classes. `binary` [N] marks the images, of multi-label
    tasks, whose loss takes each class for itself instead of one softmax. `views` [V, N, ..] are what
    tuning sees of the images where they are augmented.
    """

    inputs: Tensor
    targets: Tensor
    allowed: Tensor | None = None
    binary: Tensor | None = None
    views: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def seen(self, epoch: int) -> Pool:
        """The pool as tuning sees it in an epoch, counted from 0."""
        if self.views is None:
            return self
        return replace(self, inputs=self.views[epoch % len(self.views)], views=None)

    def take(self, index: Tensor, inputs: Tensor | None = None) -> Pool:
        """The images `index`, [B] shared by all runs or [R, B] with each run's own; without views.
        `inputs` are theirs, where they have been gathered already."""
        here = index.to(self.targets.device)
        if inputs is None:
            inputs = self.inputs[index.to(self.inputs.device)]
        allowed = None if self.allowed is None else self.allowed[here]
        binary = None if self.binary is None else self.binary[here]
        return Pool(inputs, self.targets[here], allowed, binary)


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
    """Mean loss of each run, [R], from logits [R, B, C]: cross entropy.

    Multi-label targets are class weights, so the same formula serves: -sum_c t_c log p_c. Images
    marked `binary` have the mean over the classes allowed of -log sigmoid(+-logit) instead.
    """
    runs, images, _classes = logits.shape
    raw = logits
    if batch.allowed is not None:
        logits = logits.masked_fill(~batch.allowed, -torch.inf)
    if batch.targets.dtype == torch.int64:
        targets = batch.targets.expand(runs, images)
        flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return flat.view(runs, images).mean(1)
    log_p = F.log_softmax(logits, -1)
    if batch.allowed is not None:
        log_p = log_p.masked_fill(~batch.allowed, 0)  # weight 0 times -inf is not 0
    found = -(batch.targets * log_p).sum(-1)
    if batch.binary is not None:
        shown = (batch.targets > 0).to(raw.dtype).expand_as(raw)
        each = F.binary_cross_entropy_with_logits(raw, shown, reduction="none")
        if batch.allowed is None:
            own = each.mean(-1)
        else:
            own = (each * batch.allowed).sum(-1) / batch.allowed.sum(-1)
        found = torch.where(batch.binary, own, found)
    return found.mean(1)
