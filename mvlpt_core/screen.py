"""What each source's prompt promises for a target before any run from it: one forward and backward pass.

L is the target's mean loss on the images that tuning sees, p the prompt that a source's tuning left, q the
target's own random start. Of each pair: the loss L(p), beside L(q); the norm of the gradient at p; the fall
of the loss on the way from q to p were L linear, -<grad L(q), p - q>; and how far the source's tuning moved
its prompt. Gradients and distances are in the prompt's parameters, as tuning changes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from mvlpt_core.backbone import cost
from mvlpt_core.backbone.device import cached_backbone
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.methods import Method
from mvlpt_core.contract.rows import SCREEN, finite, write_rows
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.contract.tensors import START, read_tensors
from mvlpt_core.jobs import portions, start_of
from mvlpt_core.prompts.file import KIND
from mvlpt_core.prompts.modules import Prompt, Towers, Vectors, make_prompt
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from mvlpt_core.tuning.memory import within_memory
from mvlpt_core.tuning.optimizer import FIRST_SCALE
from mvlpt_core.tuning.problem import Problem, TaskFiles, open_problem
from mvlpt_core.tuning.schedule import schedule


def screen_tasks(
    backbone: str | Path,
    *,
    files: Mapping[str, TaskFiles],
    prompts: Mapping[str, Path],
    out: Mapping[str, Path],
    settings: Method,
    tuning: Tuning,
    shots: int,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    memory_gb: float,
    provenance: Mapping[str, str],
) -> None:
    """Write of each target of `out` a row a source of `prompts` (schema `rows.SCREEN`).

    `files` says what to read of each target, `prompts` where each source's tuned prompt lies. Sources
    share every pass, in portions where memory asks for it; a pair's numbers do not depend on the others. A
    loss or gradient that is not finite is null. Raises `InputError`, naming the file, for what does not fit.
    """
    clip = cached_backbone(Path(backbone).parent, device, precision)
    # No checkpoint is chosen, so that no validation images are needed.
    tuning = tuning.model_copy(update={"checkpoint": "last"})
    method = make_prompt(settings, Towers.of(clip), 1).method
    distances = {source: _distance(path) for source, path in prompts.items()}
    for target, path in out.items():
        problem = open_problem(
            target,
            [target],
            files,
            clip,
            settings=settings,
            tuning=tuning,
            joint=Joint(),
            memory_gb=memory_gb,
        )
        found = _points(problem, clip, settings, tuning.batch_size, prompts, seed)
        begin = found.pop(RANDOM)
        pair, run = _operations(problem, clip, settings, tuning, len(prompts))
        shared = {
            **{"method": method, "target": target, "shots": shots, "seed": seed},
            **{"n": len(problem.pool), "operations": pair, "run_operations": run},
            "start_loss": finite(begin.loss),
        }
        write_rows(
            path,
            [
                {
                    **provenance,
                    **shared,
                    "source": source,
                    "loss": finite(own.loss),
                    "gradient": finite(float(own.gradient.norm())),
                    "toward": finite(-float(begin.gradient @ (own.prompt - begin.prompt))),
                    "distance": finite(distances[source]),
                    "backbone": clip.name,
                }
                for source, own in found.items()
            ],
            SCREEN,
        )


@dataclass(frozen=True)
class _Point:
    """A prompt [P], the loss there, and its gradient [P]."""

    prompt: Tensor
    loss: float
    gradient: Tensor


def _points(
    problem: Problem,
    clip: Backbone,
    settings: Method,
    batch: int,
    prompts: Mapping[str, Path],
    seed: int,
) -> dict[str, _Point]:
    """The loss and its gradient at the target's random start and at each source's prompt."""

    def side_by_side(portion: Sequence[str]) -> list[_Point]:
        prompt = make_prompt(settings, Towers.of(clip), len(portion))
        for run, start in enumerate(portion):
            paths = [prompts[start]] if start in prompts else None
            start_of(clip, prompt.method, problem.group, start, seed, paths)(prompt, run)
        found, gradients = first_order(problem.classifier, prompt, problem.pool, batch)
        slopes = torch.cat([gradients[name].flatten(1) for name, _ in prompt.named_parameters()], 1)
        places = torch.cat([value.detach().flatten(1) for value in prompt.parameters()], 1)
        return [
            _Point(place, float(loss), slope)
            for place, loss, slope in zip(places.cpu(), found.cpu(), slopes.cpu(), strict=True)
        ]

    found: dict[str, _Point] = {}
    for portion, points in chain.from_iterable(
        within_memory(together, side_by_side)
        for together in portions([RANDOM, *prompts], problem.runs_at_once)
    ):
        found |= zip(portion, points, strict=True)
    return found


def first_order(
    classifier: Classifier, prompt: Prompt, pool: Pool, batch: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean loss on `pool` [R] of each run of `prompt`, and its gradient in each parameter [R, ...].

    Prompt and text tower are passed once; images pass in portions of `batch`, whose gradients add up.
    """
    prompt.zero_grad()
    made = prompt()
    held = Vectors(_apart(made.text), _apart(made.visual))
    text = classifier.text(held)
    texts = text.detach().requires_grad_(text.requires_grad)
    # As tuning does: small gradients would vanish in half precision.
    scale = FIRST_SCALE if classifier.backbone.matrix_dtype == torch.float16 else 1.0
    total = torch.zeros(prompt.runs, device=pool.targets.device)
    for index in torch.arange(len(pool)).split(batch):
        some = pool.take(index)
        logits = classifier.logits(texts, classifier.image(held, some.inputs))
        found = losses(logits, some) * (len(index) / len(pool))  # [R]
        (scale * found).sum().backward()
        total += found.detach()
    if texts.grad is not None:
        text.backward(texts.grad)
    pairs = ((made.text, held.text), (made.visual, held.visual))
    reached = [(a, b.grad) for a, b in pairs if a is not None and b is not None]
    torch.autograd.backward([a for a, _ in reached], [slope for _, slope in reached])
    return total, {
        name: value.grad / scale
        for name, value in prompt.named_parameters()
        if value.grad is not None
    }


def _apart(made: Tensor | None) -> Tensor | None:
    """The same values, from which gradients go no further."""
    return None if made is None else made.detach().requires_grad_()


def _distance(path: Path) -> float:
    """How far the tuning that left a prompt moved it."""
    _, tensors = read_tensors(path, KIND)
    moved = [
        torch.from_numpy(value - tensors[START + name]).flatten()
        for name, value in tensors.items()
        if not name.startswith(START)
    ]
    return float(torch.cat(moved).norm())


def _operations(
    problem: Problem, clip: Backbone, settings: Method, tuning: Tuning, sources: int
) -> tuple[float, float]:
    """Operations of a pair's share of the screening, and of the steps of its run (scoring left out), all
    sources side by side."""
    images, n_ctx, layout = len(problem.pool), settings.visual_ctx, problem.classifier.layout
    plan = schedule(tuning, settings.lr, images, 1)
    here = cost.step(clip, sources + 1, layout, images, n_ctx)
    return here / sources, plan.steps * cost.step(
        clip, sources, layout, plan.batch, n_ctx
    ) / sources
