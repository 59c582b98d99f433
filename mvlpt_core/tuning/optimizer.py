"""SGD with momentum and AdamW: torch's own update rules without its optimiser classes.

The classes import torch's compiler when they are made, 7 s of processor time that every training job
of a study would pay; the functions behind them do not. Both rules work element by element, so a leading
runs axis keeps runs apart.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd


class Optimizer:
    """Updates `parameters` in place from their gradients; `kind` is `sgd` or `adamw`."""

    def __init__(
        self, parameters: Iterable[Tensor], kind: str, momentum: float, weight_decay: float
    ) -> None:
        self.parameters = list(parameters)
        self.kind, self.momentum, self.weight_decay = kind, momentum, weight_decay
        self.velocity: list[Tensor | None] = [None] * len(self.parameters)
        moments = self.parameters if kind == "adamw" else []
        self.mean = [torch.zeros_like(p) for p in moments]
        self.square = [torch.zeros_like(p) for p in moments]
        self.count = [torch.zeros((), device=p.device) for p in moments]

    def forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        assert len(gradients) == len(self.parameters), "every parameter of a prompt has a gradient"
        if self.kind == "sgd":
            sgd(
                self.parameters,
                gradients,
                self.velocity,
                lr=lr,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
        else:
            adamw(
                self.parameters,
                gradients,
                self.mean,
                self.square,
                [],
                self.count,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=lr,
                weight_decay=self.weight_decay,
                eps=1e-8,
                maximize=False,
            )
