"""The one training loop: R prompts tuned side by side on one pool of images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mvlpt_core.contract.errors import InputError
from mvlpt_core.prompts.modules import Prompt, Vectors
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from mvlpt_core.tuning.optimizer import Optimizer

OPTIMIZERS = ("sgd", "adamw")
CHECKPOINTS = ("last", "best_val")


@dataclass(frozen=True)
class Tuning:
    """Budget and optimiser. Give `epochs` (the paper's way) or `steps`, not both.

    The learning rate is held at `warmup_lr` for `warmup` epochs (or steps), then follows a cosine:
    lr * (1 + cos(pi * e / E)) / 2 at epoch (or step) e of E, as in the published code.
    """

    lr: float
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 32
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: int = 1
    warmup_lr: float = 1e-5
    checkpoint: str = "last"
    evaluations: int = 1

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise InputError("tuning needs either 'epochs' or 'steps', and not both.")
        for key in ("epochs", "steps", "batch_size", "evaluations"):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(
                    f"tuning.{key} is {value!r}; expected a whole number of at least 1."
                )
        for key in ("lr", "warmup_lr", "weight_decay", "momentum", "warmup"):
            if not 0 <= getattr(self, key) < math.inf:
                raise InputError(f"tuning.{key} is {getattr(self, key)!r}; expected 0 or more.")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(
                f"tuning.optimizer is '{self.optimizer}'; expected one of {', '.join(OPTIMIZERS)}."
            )
        if self.checkpoint not in CHECKPOINTS:
            raise InputError(
                f"tuning.checkpoint is '{self.checkpoint}'; expected one of {', '.join(CHECKPOINTS)}."
            )

    def batches(self, n_images: int) -> int:
        """Batches of an epoch; a smaller last batch is dropped, but a pool always gives one."""
        return max(1, n_images // self.batch_size)

    def total_steps(self, n_images: int) -> int:
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * self.batches(n_images)

    def lr_at(self, step: int, n_images: int) -> float:
        """The learning rate of `step`, counted from 0."""
        if self.steps is not None:
            now, end = step, self.steps
        else:
            assert self.epochs is not None
            now, end = step // self.batches(n_images), self.epochs
        if now < self.warmup:
            return self.warmup_lr
        return self.lr * (1 + math.cos(math.pi * now / end)) / 2

    def evaluation_steps(self, n_images: int) -> list[int]:
        """Steps after which to evaluate, evenly spread, the last one at the end."""
        total = self.total_steps(n_images)
        return sorted(
            {max(1, round(total * i / self.evaluations)) for i in range(1, self.evaluations + 1)}
        )


def parse_tuning(tuning: Mapping[str, Any], lr: float) -> Tuning:
    """`Tuning` from a mapping; an unknown key is an `InputError`."""
    unknown = set(tuning) - set(Tuning.__dataclass_fields__) | ({"lr"} & set(tuning))
    if unknown:
        raise InputError(
            f"tuning has the unknown key '{min(unknown)}'; expected "
            f"{', '.join(k for k in Tuning.__dataclass_fields__ if k != 'lr')} (lr stands with the method)."
        )
    return Tuning(lr=lr, **tuning)


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from names and numbers, the same on every machine."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def batch_order(n_images: int, tuning: Tuning, seed: int) -> Tensor:
    """Image indices of every batch, [steps, batch]: fresh shuffles, one after the other."""
    size = min(tuning.batch_size, n_images)
    per_epoch = tuning.batches(n_images)
    steps = tuning.total_steps(n_images)
    generator = torch.Generator().manual_seed(seed)
    shuffles = [
        torch.randperm(n_images, generator=generator)[: per_epoch * size]
        for _ in range(math.ceil(steps / per_epoch))
    ]
    return torch.cat(shuffles).view(-1, size)[:steps]


@dataclass
class Evaluation:
    """Scores of R prompts on one split after `step` steps; `outcomes` per run, see `scoring`."""

    step: int
    split: str
    scores: list[float]
    losses: list[float]
    outcomes: list[bytes | None]
    n: int


@dataclass
class Tuned:
    """What `tune` found. `alive[r]` is False where run r's loss stopped being finite."""

    evaluations: list[Evaluation]
    alive: list[bool]
    selected: list[int]  # the step whose prompt the checkpoint rule chose
    states: list[dict[str, Tensor]] = field(repr=False)  # that prompt, one per run


Evaluate = Callable[[Vectors, int], Sequence[Evaluation]]


def tune(
    classifier: Classifier,
    prompt: Prompt,
    pool: Pool,
    order: Tensor,
    tuning: Tuning,
    evaluate: Evaluate,
    *,
    n_images: int,
    dropout_seeds: Sequence[int],
) -> Tuned:
    """Tune all runs of `prompt` on `pool` in the given `order` [steps, B] or [R, steps, B].

    Runs share every forward and backward pass and nothing else: parameters, optimiser state, data
    order and loss are per run, so a run's numbers do not depend on its neighbours, and a run whose
    loss stops being finite (`alive` False) leaves the others alone. `evaluate(vectors, step)` is
    called at step 0 and at `tuning.evaluation_steps`; rows of split `val` choose under `best_val`.
    `n_images` is the number of training images of a run, which sets the length of an epoch.
    """
    steps = order.shape[-2]
    optimizer = Optimizer(
        prompt.parameters(), tuning.optimizer, tuning.momentum, tuning.weight_decay
    )
    generators = [torch.Generator().manual_seed(seed) for seed in dropout_seeds]
    order = order.to(pool.targets.device)
    stops = set(tuning.evaluation_steps(n_images))
    alive = torch.ones(prompt.runs, dtype=torch.bool, device=pool.targets.device)
    keeper = _Keeper(prompt, tuning.checkpoint)
    with torch.no_grad():
        evaluations = list(evaluate(prompt(), 0))
    for step in range(steps):
        batch = pool.take(order[..., step, :])
        vectors = _drop(prompt(), prompt.dropout, batch, generators)
        logits = classifier.logits(
            classifier.text(vectors), classifier.image(vectors, batch.inputs)
        )
        run_losses = losses(logits, batch)  # [R]
        alive &= run_losses.detach().isfinite()
        optimizer.forget_gradients()
        run_losses.sum().backward()
        optimizer.step(tuning.lr_at(step, n_images))
        if step + 1 in stops:
            with torch.no_grad():
                found = list(evaluate(prompt(), step + 1))
            keeper.consider(step + 1, found)
            evaluations += found
    for evaluation in evaluations:
        if evaluation.step == steps and evaluation.split == "test":
            alive &= torch.tensor(evaluation.losses, device=alive.device).isfinite()
    return Tuned(evaluations, alive.tolist(), keeper.steps, keeper.states)


class _Keeper:
    """The checkpoint rule: the last prompt, or the first of those with the best validation score."""

    def __init__(self, prompt: Prompt, rule: str) -> None:
        self.prompt, self.rule = prompt, rule
        self.best = [-math.inf] * prompt.runs
        self.steps = [0] * prompt.runs
        self.states: list[dict[str, Tensor]] = [{} for _ in range(prompt.runs)]

    def consider(self, step: int, found: Sequence[Evaluation]) -> None:
        val = [e for e in found if e.split == "val"]
        if self.rule == "best_val" and not val:
            raise InputError(
                "tuning.checkpoint 'best_val' needs validation images; raise shots or val_share, or "
                "choose 'last'."
            )
        for run in range(self.prompt.runs):
            score = val[0].scores[run] if self.rule == "best_val" else float(step)
            # `not <=` lets the first evaluation of a diverged run (score NaN) be kept once.
            if score > self.best[run] or not self.states[run]:
                self.best[run] = score if score == score else -math.inf
                self.steps[run] = step
                self.states[run] = self.prompt.state_of(run)


def _drop(
    vectors: Vectors, rate: float, batch: Pool, generators: Sequence[torch.Generator]
) -> Vectors:
    """Dropout on visual prompts, a mask for each image and layer as in VPT, drawn per run."""
    if rate == 0 or vectors.visual is None:
        return vectors
    visual = vectors.visual  # [R, L, P, W]
    images = batch.targets.shape[-1 if batch.targets.dtype == torch.int64 else -2]
    _, layers, tokens, width = visual.shape
    keep = torch.stack(
        [torch.rand(layers, images, tokens, width, generator=g) >= rate for g in generators]
    )
    return Vectors(vectors.text, visual[:, :, None] * keep.to(visual) / (1 - rate))
