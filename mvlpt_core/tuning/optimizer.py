"""SGD with momentum and AdamW: torch's own update rules without its optimiser classes.

The classes import torch's compiler when they are made, 7 s of processor time that every training job
of a study would pay; the functions behind them do not. Both rules work element by element, so a leading
runs axis keeps runs apart.

Under fp16 a small gradient would vanish on its way through the backbone, so each run's loss is scaled
up by a power of two before the backward pass, and its gradient down after it. The scale is a run's own:
a run whose gradient overflows halves its scale and lets the step pass, as torch's GradScaler does, and
its neighbours notice nothing. Nothing is read back from the device for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

FIRST_SCALE = 2.0**10  # a mean cross entropy's gradient, 1024 times, is far from 65504


class Optimizer:
    """Updates `parameters` [R, ..] in place from their gradients; `kind` is `sgd` or `adamw`.

    With `scaled`, `scale` [R] holds the runs' loss scales; below 1 a run's gradient is not finite at all.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        kind: str,
        momentum: float,
        weight_decay: float,
        *,
        scaled: bool = False,
    ) -> None:
        self.parameters = list(parameters)
        self.kind, self.momentum, self.weight_decay = kind, momentum, weight_decay
        self.scale: Tensor | None = None
        if scaled:
            first = self.parameters[0]
            self.scale = torch.full((len(first),), FIRST_SCALE, device=first.device)
        self.velocity: list[Tensor | None] = [None] * len(self.parameters)
        moments = self.parameters if kind == "adamw" else []
        self.mean = [torch.zeros_like(p) for p in moments]
        self.square = [torch.zeros_like(p) for p in moments]
        self.count = [torch.zeros((), device=p.device) for p in moments]

    def backward(self, losses: Tensor) -> None:
        """The gradients of each run's loss [R], in place of earlier ones."""
        for parameter in self.parameters:
            parameter.grad = None
        (losses if self.scale is None else losses * self.scale).sum().backward()

    @torch.no_grad()
    def step(self, lr: float) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        assert len(gradients) == len(self.parameters), "every parameter of a prompt has a gradient"
        if self.scale is None:
            self._update(gradients, lr)
            return
        finite = torch.stack([g.flatten(1).isfinite().all(1) for g in gradients]).all(0)  # [R]
        gradients = [
            torch.where(_wide(finite, g), g / _wide(self.scale, g), 0.0) for g in gradients
        ]
        before = [value.clone() for value in self._state()]
        self._update(gradients, lr)
        for value, old in zip(self._state(), before, strict=True):
            value.copy_(torch.where(_wide(finite, value), value, old))
        # In place: a recorded backward pass reads it there.
        self.scale.copy_(torch.where(finite, self.scale, self.scale / 2))

    def _state(self) -> list[Tensor]:
        """What a step changes of each run, [R, ..]."""
        if self.kind == "sgd":
            # torch's first velocity is the gradient: what follows from a velocity of 0.
            self.velocity = [
                torch.zeros_like(p) if v is None else v
                for p, v in zip(self.parameters, self.velocity, strict=True)
            ]
        moving = [v for v in self.velocity if v is not None]
        return [*self.parameters, *moving, *self.mean, *self.square]

    def _update(self, gradients: list[Tensor], lr: float) -> None:
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


def _wide(of_runs: Tensor, like: Tensor) -> Tensor:
    """Values [R] in as many dimensions as a tensor [R, ..]."""
    return of_runs.view(-1, *[1] * (like.dim() - 1))
