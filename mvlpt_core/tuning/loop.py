"""The one training loop: R prompts tuned side by side on one pool of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mvlpt_core.backbone.ahead import on_device
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.settings import Tuning
from mvlpt_core.prompts.modules import Prompt, State, Vectors
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from mvlpt_core.tuning.optimizer import Optimizer
from mvlpt_core.tuning.recorded import Recorder, recorded
from mvlpt_core.tuning.schedule import Schedule
from mvlpt_core.tuning.scoring import Evaluation

Evaluate = Callable[[Vectors, int], Iterable[Evaluation]]
Say = Callable[[int, Tensor], None]


@dataclass
class Tuned:
    """What `tune` found. `alive[r]` is False where run r's loss stopped being finite."""

    evaluations: list[Evaluation]
    alive: list[bool]
    lasted: list[int]  # the steps whose loss was finite, up to the first one that was not
    selected: list[int]  # the step whose prompt the checkpoint rule chose
    states: list[State] = field(repr=False)  # that prompt, one per run


def tune(
    classifier: Classifier,
    prompt: Prompt,
    pool: Pool,
    order: Tensor,
    plan: Schedule,
    tuning: Tuning,
    evaluate: Evaluate,
    *,
    dropout_seeds: Sequence[int],
    say: Say = lambda step, losses: None,
    record: Recorder | None = None,
) -> Tuned:
    """Tune all runs of `prompt` on `pool` in the given `order` [steps, B] or [R, steps, B].

    Runs share every forward and backward pass and nothing else: parameters, optimiser state, data
    order and loss are per run, so a run's numbers do not depend on its neighbours, and a run whose
    loss stops being finite (`alive` False) leaves the others alone. `evaluate(vectors, step)` is
    called at the schedule's evaluations; its rows of split `val` choose under `best_val`. `record`
    records the passes of steps that encode no image, to replay them.
    """
    optimizer = Optimizer(
        prompt.parameters(),
        tuning.optimizer,
        tuning.momentum,
        tuning.weight_decay,
        scaled=classifier.backbone.matrix_dtype == torch.float16,
    )
    generators = [torch.Generator().manual_seed(seed) for seed in dropout_seeds]
    indices = order.to(pool.targets.device)
    images = on_device(_images(pool, order, plan), classifier.backbone.device)
    stops = set(plan.evaluations)
    alive = torch.ones(prompt.runs, dtype=torch.bool, device=pool.targets.device)
    lasted = torch.zeros(prompt.runs, dtype=torch.int64, device=alive.device)
    keeper = _Keeper(prompt, tuning.checkpoint, plan.steps)

    def passes(batch: Pool) -> Tensor:
        """The runs' losses [R]; gradients are left in the prompt."""
        vectors = _drop(prompt(), prompt.settings.dropout, batch, generators)
        logits = classifier.logits(
            classifier.text(vectors), classifier.image(vectors, batch.inputs)
        )
        run_losses = losses(logits, batch)
        optimizer.backward(run_losses)
        return run_losses.detach()

    step_of: Callable[[Pool], Tensor] = passes
    with torch.no_grad():
        evaluations = list(evaluate(prompt(), 0))
    for step, (lr, inputs) in enumerate(zip(plan.rates, images, strict=True), start=1):
        batch = pool.take(indices[..., step - 1, :], inputs)
        if step == 1 and record is not None and _recordable(classifier, batch):
            step_of = recorded(passes, batch, record)
        run_losses = step_of(batch)  # [R]
        alive &= run_losses.isfinite()
        lasted += alive
        optimizer.step(lr)
        if optimizer.scale is not None:
            alive &= optimizer.scale >= 1  # a gradient that overflows unscaled is none
        say(step, run_losses)
        if step in stops:
            with torch.no_grad():
                found = list(evaluate(prompt(), step))
            keeper.consider(step, found)
            evaluations += found
    for evaluation in evaluations:
        if evaluation.step == plan.steps and evaluation.split == "test":
            alive &= torch.tensor(evaluation.losses, device=alive.device).isfinite()
    return Tuned(evaluations, alive.tolist(), lasted.tolist(), keeper.steps, keeper.states)


def _images(pool: Pool, order: Tensor, plan: Schedule) -> Iterator[Tensor]:
    """The images of every step, gathered where they lie."""
    order = order.to(pool.seen(0).inputs.device)
    for step in range(plan.steps):
        yield pool.seen(step // plan.per_epoch).inputs[order[..., step, :]]


def _recordable(classifier: Classifier, batch: Pool) -> bool:
    """Whether a step is the text tower alone, which asks for nothing of the processor; not in chunks, which
    are encoded again in the backward pass."""
    layout = classifier.layout
    return batch.inputs.dtype != torch.uint8 and layout is not None and len(layout.chunks) == 1


class _Keeper:
    """The checkpoint rule: the last prompt, or the first of those with the best validation score
    (with several tasks their mean)."""

    def __init__(self, prompt: Prompt, rule: str, last: int) -> None:
        self.prompt, self.rule, self.last = prompt, rule, last
        self.best = [-math.inf] * prompt.runs
        self.steps = [0] * prompt.runs
        self.states: list[State] = [{} for _ in range(prompt.runs)]

    def consider(self, step: int, found: Sequence[Evaluation]) -> None:
        val = [e.scores for e in found if e.split == "val"]
        if self.rule == "best_val" and not val:
            raise InputError(
                "tuning.checkpoint is 'best_val', but there are no validation images: expected more "
                "shots, a larger val_share, or checkpoint 'last'"
            )
        if self.rule == "last" and step < self.last:
            return
        for run in range(self.prompt.runs):
            score = 0.0
            if self.rule == "best_val":
                score = sum(scores[run] for scores in val) / len(val)
            # A run without a state takes the first there is, though it diverged (score NaN).
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
