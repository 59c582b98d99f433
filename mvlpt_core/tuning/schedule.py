"""How long a run is, its learning rate at every step, when it is evaluated, and its batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mvlpt_core.contract.seeds import number
from mvlpt_core.contract.settings import Joint, Tuning


@dataclass(frozen=True)
class Schedule:
    """Everything about a run's steps that is known before it begins.

    `rates`: the learning rate of every step; `evaluations`: the numbers of steps after which to
    evaluate, 0 and the last among them; `batch`: images a step; `per_epoch`: batches an epoch.
    """

    rates: tuple[float, ...]
    evaluations: tuple[int, ...]
    batch: int
    per_epoch: int

    @property
    def steps(self) -> int:
        return len(self.rates)


def schedule(tuning: Tuning, lr: float, n_images: int, n_tasks: int = 1) -> Schedule:
    """The schedule of a run on `n_images` training images of `n_tasks` tasks.

    The learning rate is held at `warmup_lr` for `warmup` epochs (or steps), then follows a cosine:
    lr * (1 + cos(pi * e / E)) / 2 at epoch (or step) e of E, as in the published code. A smaller last
    batch of an epoch is dropped, but an epoch always has one batch. Several tasks together get, task by
    task, the budget of each alone: `steps` and its warm-up count once a task, epochs do so by
    themselves.
    """
    per_epoch = max(1, n_images // tuning.batch_size)
    if tuning.steps is not None:
        unit, end, warmup = 1, tuning.steps * n_tasks, tuning.warmup * n_tasks
    else:
        assert tuning.epochs is not None
        unit, end, warmup = per_epoch, tuning.epochs, tuning.warmup
    steps = unit * end
    rates = []
    for step in range(steps):
        now = step // unit
        cosine = lr * (1 + math.cos(math.pi * now / end)) / 2
        rates.append(tuning.warmup_lr if now < warmup else cosine)
    parts = range(1, tuning.evaluations + 1)
    stops = {max(1, round(steps * i / tuning.evaluations)) for i in parts}
    return Schedule(tuple(rates), (0, *sorted(stops)), min(tuning.batch_size, n_images), per_epoch)


def batch_order(n_images: int, plan: Schedule, seed: int, size: int | None = None) -> Tensor:
    """Image indices of every batch [steps, batch]: fresh shuffles, one after the other.

    `size` is the batch where it is not the schedule's own: images of one of several tasks. Images
    that do not fill a batch are left out of their shuffle; a batch larger than the images takes
    several shuffles.
    """
    size = plan.batch if size is None else size
    generator = torch.Generator().manual_seed(seed)
    used = max(1, n_images // size) * size if size <= n_images else n_images
    needed = plan.steps * size
    shuffles = [
        torch.randperm(n_images, generator=generator)[:used] for _ in range(-(-needed // used))
    ]
    return torch.cat(shuffles)[:needed].view(plan.steps, size)


def joint_order(
    sizes: Sequence[int], plan: Schedule, joint: Joint, group: str, seed: int
) -> Tensor:
    """Indices [steps, batch] into the training images of several tasks, one task behind the other.

    `proportional` shuffles the union; `balanced` takes the same number of images of each task for
    every batch, the tasks taking turns where the batch does not divide.
    """
    if len(sizes) == 1 or joint.sampling == "proportional":
        return batch_order(sum(sizes), plan, number("order", group, seed))
    k = len(sizes)
    flat = torch.empty(plan.steps * plan.batch, dtype=torch.int64)
    first = 0
    for i, size in enumerate(sizes):
        stream = batch_order(size, plan, number("order", group, i, seed), -(-plan.batch // k))
        turns = flat[i::k]
        turns.copy_(stream.flatten()[: len(turns)] + first)
        first += size
    return flat.view(plan.steps, plan.batch)
