"""Runs, steps, images, operations and bytes of a study's jobs, from its configuration alone.

Symbols as in `backbone.cost`. A job is counted once and multiplied by the seeds that it is for. What
cannot be known before (which checkpoint is chosen, the length of unseen class names) is bounded from
above or assumed, and said so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from mvlpt_core.backbone import cost
from mvlpt_core.backbone.textlayout import TextLayout, text_layout
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.methods import Method
from mvlpt_core.contract.runs import Pack, Packed, Runs
from mvlpt_core.contract.settings import Study
from mvlpt_core.planning.shapes import image_side, weight_bytes
from mvlpt_core.prompts.modules import Towers, make_prompt
from mvlpt_core.tasks.fewshot import held_out
from mvlpt_core.tuning.schedule import Schedule, schedule

KINDS = ("scratch", "cells", "sets", "from sets and means", "groups from a prompt", "replicates")
# Bytes of a run's file of rows beyond its outcomes (2 bytes a test image and whole scoring), measured on
# the testbed: schema, provenance and proof in the file's footer.
_ROW_FILE_BYTES = 8_000
_ANALYSIS_BYTES = (
    12_000_000  # tables, figures and the page of one value of shots, measured likewise
)


@dataclass(frozen=True)
class TaskSize:
    """What a plan must know of a task; `assumed` where it is known from nowhere.

    `train` is None where it is not known: then every class has as many images as the shots.
    """

    classes: int
    test: int
    train: int | None = None
    name_tokens: int = 2
    templates: int = 1
    assumed: bool = False


@dataclass(frozen=True)
class Portion:
    """Runs of one group tuned side by side.

    `step`: operations of a step on `batch` images and `classes`; `scorings`: (how often, operations)
    of each kind of evaluation; `bytes`: activations kept for the backward pass.
    """

    group: str
    runs: int
    steps: int
    batch: int
    classes: int
    step: float
    scorings: tuple[tuple[int, float], ...]
    bytes: int

    @property
    def tuning(self) -> float:
        return self.steps * self.step

    @property
    def scoring(self) -> float:
        return sum(count * operations for count, operations in self.scorings)


@dataclass(frozen=True)
class Job:
    """One tuning job for each of some `seeds`: its portions, the tasks that it opens, the runs that it
    writes."""

    method: str
    shots: int
    portions: tuple[Portion, ...]
    opened: int
    runs: int
    seeds: int


def runs_by_kind(runs: Runs, methods: int, seeds: int) -> dict[str, int]:
    """How many runs of each of `KINDS`; a cell is a task from a task's prompt, replicates are of both."""
    counts = dict.fromkeys(KINDS, 0)
    for pairs in runs.pairs.values():
        for group, start in pairs:
            counts[_kind(runs, group, start)] += methods * seeds
    counts["replicates"] = methods * sum(map(len, runs.replicates.values()))
    return counts


def _kind(runs: Runs, group: str, start: str) -> str:
    several = len(runs.members(group)) > 1
    if start == RANDOM:
        return "sets" if several else "scratch"
    if several:
        return "groups from a prompt"
    origin = runs.origins[group, start].groups
    one = origin == (start,) and len(runs.members(start)) == 1
    return "cells" if one else "from sets and means"


class Counter:
    """Counts the work of a study on tasks of the given sizes with a backbone of known shapes."""

    def __init__(
        self,
        study: Study,
        runs: Runs,
        packed: Sequence[Packed],
        sizes: Mapping[str, TaskSize],
        backbone: Backbone,
    ) -> None:
        """`packed`: every pack; `backbone` may lie on the device `meta`."""
        self.study, self.runs, self.packed = study, runs, packed
        self.sizes, self.backbone = sizes, backbone
        self._layouts: dict[tuple[str, tuple[tuple[int, int], ...]], TextLayout] = {}
        self._plans: dict[tuple[float, int, int], Schedule] = {}

    def tested(self, task: str) -> int:
        """Test images that a task is scored on."""
        limit = self.study.max_test
        return self.sizes[task].test if limit is None else min(limit, self.sizes[task].test)

    def drawn(self, task: str, shots: int) -> tuple[int, int]:
        """Images of a few-shot sample to tune on and to choose checkpoints with.

        Multi-label samples are smaller: this is their bound.
        """
        size = self.sizes[task]
        val = size.classes * held_out(shots, self.study.val_share)
        train = size.classes * shots - val
        if size.train is None or size.train >= train + val:
            return train, val
        kept = size.train * val // (train + val)
        return size.train - kept, kept

    @cached_property
    def jobs(self) -> list[Job]:
        """Every tuning job, once for all its seeds."""
        return [
            self._job(name, settings, own.pack, shots, len(own.seeds))
            for name, settings in self.study.methods.by_name().items()
            for own in self.packed
            for shots in own.shots
        ]

    def _job(self, name: str, settings: Method, pack: Pack, shots: int, seeds: int) -> Job:
        portions: list[Portion] = []
        for group in pack.groups:
            starts = sum(own == group for own, _ in pack.pairs)
            portions += self._portions(settings, group, starts, shots)
        opened = sum(len(self.runs.members(group)) for group in pack.groups)
        return Job(name, shots, tuple(portions), opened, len(pack.pairs), seeds)

    def _portions(self, settings: Method, group: str, starts: int, shots: int) -> list[Portion]:
        tasks = self.runs.members(group)
        parts = [self.drawn(task, shots) for task in tasks]
        images = sum(train for train, _ in parts)
        tuning = self.study.tuning
        plan = self._plan(settings.lr, images, len(tasks))
        layout = self.layout(settings, tasks) if settings.text_ctx else None
        kept = cost.image_bytes(self.backbone, plan.batch, settings.visual_ctx)
        kept *= bool(settings.visual_ctx)
        tokens = max(len(chunk.tokens) for chunk in layout.chunks) if layout else 0
        kept += cost.text_bytes(self.backbone, tokens)
        at_once = cost.runs_that_fit(
            self.backbone,
            self.study.memory_gb,
            batch=tuning.batch_size if settings.visual_ctx else 0,
            n_ctx=settings.visual_ctx,
            text_tokens=tokens,
        )
        count = -(-starts // at_once)
        found = []
        for i in range(count):
            runs = (i + 1) * starts // count - i * starts // count
            found.append(
                Portion(
                    group,
                    runs,
                    plan.steps,
                    plan.batch,
                    sum(self.sizes[task].classes for task in tasks),
                    self.step(settings, layout, runs, plan.batch),
                    tuple(self._scorings(settings, tasks, parts, runs, plan)),
                    runs * kept,
                )
            )
        return found

    def _plan(self, lr: float, images: int, tasks: int) -> Schedule:
        """The schedule, made once for all portions alike: it holds a rate for every step."""
        key = lr, images, tasks
        if key not in self._plans:
            self._plans[key] = schedule(self.study.tuning, lr, images, tasks)
        return self._plans[key]

    def step(self, settings: Method, layout: TextLayout | None, runs: int, batch: int) -> float:
        """Operations of one step of `runs` side by side on `batch` images."""
        return cost.step(self.backbone, runs, layout, batch, settings.visual_ctx)

    def score(self, settings: Method, tasks: Sequence[str], runs: int, images: int) -> float:
        """Operations of scoring `runs` on `images` of one of the `tasks`.

        The text tower's forward pass is half of its step; features of images are frozen where no
        prompt reaches them, and only their products with the classes are left.
        """
        classes = sum(self.sizes[task].classes for task in tasks)
        features = self.backbone.image.projection.weight.shape[0]
        total = 2.0 * runs * images * classes * features
        if settings.text_ctx:
            total += cost.text_step(self.backbone, runs, self.layout(settings, tasks)) / 2
        if settings.visual_ctx:
            total += runs * cost.image_forward(self.backbone, images, settings.visual_ctx)
        return total

    def screening(self, settings: Method, task: str, shots: int, sources: int) -> float:
        """Operations of `mvlpt_core.screen` on one task: a pass at its own start and at `sources` prompts."""
        layout = self.layout(settings, [task]) if settings.text_ctx else None
        return self.step(settings, layout, sources + 1, self.drawn(task, shots)[0])

    def _scorings(
        self,
        settings: Method,
        tasks: Sequence[str],
        parts: Sequence[tuple[int, int]],
        runs: int,
        plan: Schedule,
    ) -> list[tuple[int, float]]:
        """The whole test split at step 0 and at the end, and at the chosen checkpoint where that is
        another one (counted as if it always were); the fixed sample at the stops between."""
        # Without images to choose by (one shot) the last checkpoint is the result.
        best = self.study.tuning.checkpoint == "best_val" and any(val for _, val in parts)
        stops = len(plan.evaluations)
        found = []
        for task, (_, val) in zip(tasks, parts, strict=True):
            images = self.tested(task)
            found.append((2 + best, self.score(settings, [task], runs, images)))
            curve = min(images, self.study.tuning.curve_images)
            if stops > 2 and curve:
                found.append((stops - 2, self.score(settings, [task], runs, curve)))
            if best:
                found.append((stops - 1, self.score(settings, [task], runs, val)))
        return found

    def layout(
        self, settings: Method, tasks: Sequence[str], device: torch.device | str = "cpu"
    ) -> TextLayout:
        """Text layout of the classes of some tasks, with stand-ins for their names."""
        sizes = tuple((self.sizes[task].classes, self.sizes[task].name_tokens) for task in tasks)
        key = (f"{settings!r} on {device}", sizes)
        if key not in self._layouts:
            self._layouts[key] = text_layout(
                [[1] * tokens for classes, tokens in sizes for _ in range(classes)],
                sos=self.backbone.text.sos,
                eos=self.backbone.text.eos,
                suffix=[1],
                n_ctx=settings.text_ctx,
                position=getattr(settings, "position", "middle"),
                context_length=self.backbone.text.context_length,
                max_tokens=cost.text_tokens_that_fit(self.backbone, self.study.memory_gb),
                device=device,
            )
        return self._layouts[key]

    def frozen(self) -> tuple[int, float]:
        """Images encoded once, and the operations of that and of the class texts."""
        images = sum(self.tested(task) for task in self.sizes) + self._samples()
        total = cost.image_forward(self.backbone, images, 0)
        visual = getattr(self.study.methods.visual, "class_text", "templates") != "templates"
        for size in self.sizes.values():
            texts = size.templates + 1 + visual  # bare names and the visual method's own sentence
            layout = text_layout(
                [[1] * (size.name_tokens + 5)] * size.classes,  # a template adds some words
                sos=self.backbone.text.sos,
                eos=self.backbone.text.eos,
                context_length=self.backbone.text.context_length,
            )
            total += texts * cost.text_step(self.backbone, 1, layout) / 2
        return images, total

    def _samples(self) -> int:
        """Images of all samples, with the augmented views of those that are tuned on."""
        views = self.study.tuning.stored_views
        total = 0
        for shots in self.study.shots:
            again = {group for group, _ in self.runs.replicates.get(shots, ())}
            for task in self.sizes:
                train, val = self.drawn(task, shots)
                total += (len(self.study.seeds) + (task in again)) * (train * (1 + views) + val)
        return total

    def disk(self) -> int:
        """Bytes below the study's folder: images as the towers take them, features, rows, prompts."""
        images, _ = self.frozen()
        side = image_side(self.backbone)
        features = self.backbone.image.projection.weight.shape[0]
        classes = sum(size.classes for size in self.sizes.values())
        total = images * 3 * side**2 + 4 * features * (images + 3 * classes)
        total += weight_bytes(self.backbone) + _ANALYSIS_BYTES * len(self.study.shots)
        whole = 2 + (self.study.tuning.checkpoint == "best_val")
        towers = Towers.of(self.backbone)
        for settings in self.study.methods.by_name().values():
            with torch.device("meta"):
                prompt = make_prompt(settings, towers, 1)
            prompt_bytes = 4 * sum(p.numel() for p in prompt.parameters())
            for job in self.packed:
                for group, start in job.pack.pairs:
                    tested = sum(self.tested(task) for task in self.runs.members(group))
                    own = _ROW_FILE_BYTES + 2 * whole * tested
                    if start == RANDOM or self.study.keep_prompts == "all":
                        own += prompt_bytes
                    total += len(job.shots) * len(job.seeds) * own
        return total
