"""Seconds of the real step and the real scoring on this machine, on random data of a study's shapes.

What is timed is the code that jobs run (`tuning.loop.tune`, `tuning.scoring`), with random weights:
values change no time. Shapes that would take too long are made smaller, runs first, then images, then
classes, and seconds go on in proportion to operations from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mvlpt_core.backbone.cost import image_forward
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.methods import Method
from mvlpt_core.contract.settings import Tuning
from mvlpt_core.planning.counts import Counter, TaskSize
from mvlpt_core.planning.shapes import image_side
from mvlpt_core.prompts.modules import Prompt, Towers, make_prompt
from mvlpt_core.prompts.starts import random
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.loop import tune
from mvlpt_core.tuning.schedule import batch_order, schedule
from mvlpt_core.tuning.scoring import evaluation, pool_logits

_BUDGET_S = 2.0  # of one measurement
_TASK = "measured"


@dataclass(frozen=True)
class Speed:
    """Seconds of a piece of work by its operations: straight lines between measured points.

    Below the first point the line goes on to the overhead that the first two show; beyond the last,
    seconds grow in proportion.
    """

    points: tuple[tuple[float, float], ...]

    @staticmethod
    def of_rate(rate: float) -> Speed:
        """Seconds at `rate` operations a second, without overhead."""
        return Speed(((rate, 1.0),))

    def seconds(self, operations: float) -> float:
        (first, least), (last, most) = self.points[0], self.points[-1]
        if operations >= last or len(self.points) == 1:
            return most * operations / last
        if operations <= first:
            second, more = self.points[1]
            slope = max(0.0, (more - least) / (second - first))
            overhead = max(0.0, least - slope * first)
            return overhead + (least - overhead) * operations / first
        x, y = zip(*self.points, strict=True)
        return float(np.interp(operations, x, y))

    @property
    def rate(self) -> float:
        """Operations a second at the largest point."""
        return self.points[-1][0] / self.points[-1][1]


@dataclass(frozen=True)
class Shape:
    """What a step or a scoring is measured at."""

    runs: int
    batch: int
    classes: int
    images: int


class Stopwatch:
    """Seconds of some work.

    With one thread on a CPU they are the process's own, so that other work on the machine does not
    count; else of the clock, after the device has finished.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        self.device = device
        self.clock: Callable[[], float] = time.perf_counter
        if device.type == "cpu" and threads == 1:
            self.clock = time.process_time

    def seconds(self, work: Callable[[], object]) -> float:
        began = self._now()
        work()
        return self._now() - began

    def repeated(self, work: Callable[[], object], budget: float) -> float:
        """Median seconds of as many repeats as fit into `budget`, one to nine, after a warm-up that
        counts where it fills the budget alone."""
        first = self.seconds(work)
        if first >= budget:
            return first
        count = int(min(9, max(1, budget // max(first, 1e-6))))
        return float(np.median([self.seconds(work) for _ in range(count)]))

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock()


class Bench:
    """A method's step and scoring, timed at chosen shapes."""

    def __init__(
        self, counter: Counter, backbone: Backbone, settings: Method, watch: Stopwatch
    ) -> None:
        """`backbone` has weights and a device; `counter` is the study's."""
        self.counter, self.backbone, self.settings = counter, backbone, settings
        self.watch = watch

    def speeds(self, shapes: Sequence[Shape], tokens: int) -> tuple[Speed, Speed]:
        """Speeds of the step and of scoring at `shapes` and at a tiny one, class names of `tokens`."""
        whole = sorted(set(shapes), key=lambda shape: self._step(shape, tokens)[0])
        top = whole[-1]
        tiny = Shape(1, min(2, top.batch), min(4, top.classes), min(4, top.images))
        steps, scores = (
            dict([self._timed_step(tiny, tokens)]),
            dict([self._timed_score(tiny, tokens)]),
        )
        for shape in whole:
            steps |= [self._timed_step(self._fitting(shape, steps, tokens, False), tokens)]
            scores |= [self._timed_score(self._fitting(shape, scores, tokens, True), tokens)]
        return Speed(tuple(sorted(steps.items()))), Speed(tuple(sorted(scores.items())))

    def _fitting(
        self, shape: Shape, known: dict[float, float], tokens: int, scoring: bool
    ) -> Shape:
        """The shape, made smaller until the rate known so far says that it takes `_BUDGET_S`."""
        operations, seconds = max(known.items())
        allowed = operations / seconds * _BUDGET_S
        count = self._score if scoring else self._step
        for field in ("runs", "images" if scoring else "batch", "classes"):
            while count(shape, tokens)[0] > allowed and getattr(shape, field) > 1:
                smaller = max(1, int(0.7 * getattr(shape, field)))
                if field == "classes":
                    smaller = max(2, smaller)
                    if shape.classes == 2:
                        break
                shape = replace(shape, **{field: smaller})
        return shape

    def _sized(self, shape: Shape, tokens: int) -> Counter:
        size = TaskSize(shape.classes, shape.images, name_tokens=tokens)
        return Counter(
            self.counter.study, self.counter.runs, [], {_TASK: size}, self.counter.backbone
        )

    def _step(self, shape: Shape, tokens: int) -> tuple[float, Counter]:
        counter = self._sized(shape, tokens)
        layout = counter.layout(self.settings, [_TASK]) if self.settings.text_ctx else None
        return counter.step(self.settings, layout, shape.runs, shape.batch), counter

    def _score(self, shape: Shape, tokens: int) -> tuple[float, Counter]:
        counter = self._sized(shape, tokens)
        return counter.score(self.settings, [_TASK], shape.runs, shape.images), counter

    def _timed_step(self, shape: Shape, tokens: int) -> tuple[float, float]:
        operations, counter = self._step(shape, tokens)
        classifier, prompt = self._classifier(counter), self._prompt(shape.runs)
        pool = self._pool(shape.batch, shape.classes)
        # The budget's own steps, of which the first is a warm-up.
        one, many = self._tuned(classifier, prompt, pool, 1), 0
        steps = int(min(20, max(2, _BUDGET_S / max(one, 1e-4))))
        if one < _BUDGET_S:
            many = steps
        seconds = self._tuned(classifier, prompt, pool, many) / many if many else one
        return operations, seconds

    def _tuned(self, classifier: Classifier, prompt: Prompt, pool: Pool, steps: int) -> float:
        tuning = Tuning(
            steps=steps,
            batch_size=len(pool),
            optimizer=self.counter.study.tuning.optimizer,
            warmup=0,
            curve_images=0,
        )
        plan = schedule(tuning, self.settings.lr, len(pool))
        order = batch_order(len(pool), plan, seed=0)
        return self.watch.seconds(
            lambda: tune(
                classifier,
                prompt,
                pool,
                order,
                plan,
                tuning,
                lambda vectors, step: (),
                dropout_seeds=[0] * prompt.runs,
            )
        )

    def _timed_score(self, shape: Shape, tokens: int) -> tuple[float, float]:
        operations, counter = self._score(shape, tokens)
        classifier, prompt = self._classifier(counter), self._prompt(shape.runs)
        pool = self._pool(shape.images, shape.classes)
        labels = pool.targets.cpu().numpy()

        def score() -> None:
            with torch.no_grad():
                vectors = prompt()
            evaluation(
                pool_logits(classifier, vectors, pool),
                pool,
                labels,
                "accuracy",
                step=0,
                split="test",
                target=_TASK,
                runs=list(range(shape.runs)),
            )

        return operations, self.watch.repeated(score, _BUDGET_S)

    def _classifier(self, counter: Counter) -> Classifier:
        if not self.settings.text_ctx:
            classes = counter.sizes[_TASK].classes
            width = self.backbone.image.projection.weight.shape[0]
            fixed = torch.randn(classes, width, device=self.backbone.device)
            return Classifier(self.backbone, None, fixed.to(self.backbone.dtype))
        return Classifier(
            self.backbone, counter.layout(self.settings, [_TASK], self.backbone.device)
        )

    def _prompt(self, runs: int) -> Prompt:
        prompt = make_prompt(self.settings, Towers.of(self.backbone), runs)
        for run in range(runs):
            random(run)(prompt, run)
        return prompt

    def _pool(self, images: int, classes: int) -> Pool:
        device = self.backbone.device
        targets = torch.arange(images, device=device) % classes
        if self.settings.visual_ctx:
            return Pool(_pixels(self.backbone, images).to(device), targets)
        width = self.backbone.image.projection.weight.shape[0]
        return Pool(torch.randn(images, width, device=device).to(self.backbone.dtype), targets)


def frozen_speed(backbone: Backbone, watch: Stopwatch) -> Speed:
    """Speed of the image tower without a prompt."""
    points: dict[float, float] = {}
    for images in (1, 4, 16, 64, 256):
        pixels = _pixels(backbone, images).to(backbone.device)
        with torch.no_grad():
            seconds = watch.seconds(lambda pixels=pixels: backbone.image(pixels))  # type: ignore[misc]
            if seconds < _BUDGET_S / 8:
                seconds = watch.repeated(lambda pixels=pixels: backbone.image(pixels), seconds * 3)  # type: ignore[misc]
        points[image_forward(backbone, images, 0)] = seconds
        if seconds > _BUDGET_S / 8:  # four times as many would take too long
            break
    return Speed(tuple(sorted(points.items())))


def _pixels(backbone: Backbone, images: int) -> torch.Tensor:
    side = image_side(backbone)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (images, side, side, 3), dtype=torch.uint8, generator=generator)
