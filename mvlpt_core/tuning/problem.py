"""What a group's prompt is tuned on: one task, or several joined, each scored with its own classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core.backbone.cost import runs_that_fit, text_tokens_that_fit
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.methods import Method, VisualMethod
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.features import (
    load_class_texts,
    load_sample_features,
    load_test_features,
    targets,
)
from mvlpt_core.prompts.modules import Vectors
from mvlpt_core.tasks.fewshot import sample_test
from mvlpt_core.tasks.prepare import load_sample, load_test
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.scoring import Evaluation, evaluation, pool_logits


@dataclass(frozen=True)
class TaskFiles:
    """The files that tuning on a task reads; `class_texts` where the visual method has a sentence."""

    test: Path
    sample: Path
    test_features: Path
    sample_features: Path
    class_texts: Path | None = None

    @staticmethod
    def of(at: Layout, task: str, shots: object, seed: object, *, texts: bool) -> TaskFiles:
        """Those of a task of a study; with its class texts where `texts`."""
        return TaskFiles(
            test=Path(at.test(task)[0]),
            sample=Path(at.sample(task, shots, seed)[0]),
            test_features=Path(at.test_features(task)),
            sample_features=Path(at.sample_features(task, shots, seed)),
            class_texts=Path(at.class_texts(task)) if texts else None,
        )


@dataclass(frozen=True)
class Labelled:
    """Images as a pool to tune on or to score, and their labels as a metric takes them."""

    pool: Pool
    labels: NDArray[np.integer]  # class numbers [N] or multi-hot [N, C]

    def take(self, index: NDArray[np.int64]) -> Labelled:
        """The images `index`."""
        return Labelled(self.pool.take(torch.from_numpy(index)), self.labels[index])


@dataclass(frozen=True)
class Task:
    """One task of a group: its own classes, its few-shot sample and what it is scored on."""

    name: str
    metric: str
    classifier: Classifier
    train: Labelled
    val: Labelled
    test: Labelled
    curve: NDArray[np.int64]  # the fixed sample of the test split that curves are scored on

    def scored(self, vectors: Vectors, step: int, split: str, runs: list[int]) -> Evaluation:
        """The runs' scores on the whole of `test` or `val`."""
        images = {"test": self.test, "val": self.val}[split]
        logits = pool_logits(self.classifier, vectors, images.pool)
        return self._measured(logits, images, step, split, runs)

    def tested(
        self, vectors: Vectors, step: int, whole: bool, runs: list[int]
    ) -> Iterator[Evaluation]:
        """Scores on the test split, `test` where the `whole` of it is wanted, and on its fixed
        sample, `curve`: from the same logits where both are."""
        sample = self.test.take(self.curve)
        if whole:
            logits = pool_logits(self.classifier, vectors, self.test.pool)
            yield self._measured(logits, self.test, step, "test", runs)
            logits = logits[:, torch.from_numpy(self.curve).to(logits.device)]
        elif len(self.curve):
            logits = pool_logits(self.classifier, vectors, sample.pool)
        if len(self.curve):
            yield self._measured(logits, sample, step, "curve", runs)

    def _measured(
        self, logits: Tensor, images: Labelled, step: int, split: str, runs: list[int]
    ) -> Evaluation:
        return evaluation(
            logits,
            images.pool,
            images.labels,
            self.metric,
            step=step,
            split=split,
            target=self.name,
            runs=runs,
        )


@dataclass(frozen=True)
class Problem:
    """A group, ready to tune: the tasks joined to one pool and one set of classes."""

    group: str
    tasks: tuple[Task, ...]
    classifier: Classifier
    pool: Pool  # the training images of all tasks, one task behind the other
    runs_at_once: int

    @property
    def sizes(self) -> list[int]:
        """Training images of each task."""
        return [len(task.train.pool) for task in self.tasks]

    def evaluate(
        self, vectors: Vectors, step: int, last: int, validate: bool, runs: list[int]
    ) -> Iterator[Evaluation]:
        """What is due at an evaluation: the whole test split at step 0 and at the last step, its
        fixed sample at every one, and the validation part if it chooses the checkpoint."""
        for task in self.tasks:
            yield from task.tested(vectors, step, step in (0, last), runs)
            if validate and step > 0:
                yield task.scored(vectors, step, "val", runs)


def open_problem(
    group: str,
    names: Sequence[str],
    files: Mapping[str, TaskFiles],
    backbone: Backbone,
    *,
    settings: Method,
    tuning: Tuning,
    joint: Joint,
    memory_gb: float,
) -> Problem:
    """Load what tuning a group's prompt needs.

    Raises `InputError`, naming the file or task, for files that do not fit one another, a task
    without training images, or without validation images where they choose the checkpoint, and a
    class name that does not fit the text tower.
    """
    make = partial(make_classifier, backbone, settings, memory_gb)
    opened = [_open_task(name, files[name], backbone, settings, tuning, make) for name in names]
    tasks = tuple(task for task, _ in opened)
    if len(tasks) == 1:
        classifier, pool = tasks[0].classifier, tasks[0].train.pool
    else:
        classifier = make([classes for _, classes in opened])
        pool = _joined([(task.train.pool, len(own.names)) for task, own in opened], joint)
    layout = classifier.layout
    return Problem(
        group,
        tasks,
        classifier,
        pool,
        runs_that_fit(
            backbone,
            memory_gb,
            batch=tuning.batch_size if settings.visual_ctx else 0,
            n_ctx=settings.visual_ctx,
            text_tokens=max(len(chunk.tokens) for chunk in layout.chunks) if layout else 0,
        ),
    )


@dataclass(frozen=True)
class Classes:
    """A task's classes as text: names' tokens and how to call each, or fixed features [C, D]."""

    names: tuple[tuple[int, ...], ...]
    suffix: tuple[int, ...]
    called: tuple[str, ...]
    fixed: Tensor


def make_classifier(
    backbone: Backbone, settings: Method, memory_gb: float, classes: Sequence[Classes]
) -> Classifier:
    """All classes given, one task behind the other, in front of the backbone."""
    if isinstance(settings, VisualMethod):
        return Classifier(backbone, None, torch.cat([own.fixed for own in classes]))
    layout = text_layout(
        [name for own in classes for name in own.names],
        sos=backbone.text.sos,
        eos=backbone.text.eos,
        suffix=classes[0].suffix,
        n_ctx=settings.text_ctx,
        position=settings.position,
        context_length=backbone.text.context_length,
        max_tokens=text_tokens_that_fit(backbone, memory_gb),
        device=backbone.device,
        where=[name for own in classes for name in own.called],
    )
    return Classifier(backbone, layout)


def _open_task(
    name: str,
    files: TaskFiles,
    backbone: Backbone,
    settings: Method,
    tuning: Tuning,
    make: Callable[[Sequence[Classes]], Classifier],
) -> tuple[Task, Classes]:
    test, sample = load_test(files.test), load_sample(files.sample)
    for path, found in ((files.test, test.name), (files.sample, sample.name)):
        if found != name:
            raise InputError(f"{path}: holds images of task '{found}': expected '{name}'")
    if not len(sample.train):
        raise InputError(f"{files.sample}: task '{name}' has no training images: expected some")
    if tuning.checkpoint == "best_val" and not len(sample.val):
        raise InputError(
            f"{files.sample}: task '{name}' has no validation images, which tuning.checkpoint "
            "'best_val' needs: expected more shots, a larger val_share, or checkpoint 'last'"
        )
    frozen = load_test_features(files.test_features, backbone, name)
    classes = Classes(
        frozen.names,
        frozen.suffix,
        tuple(f"class '{c}' of task {name}" for c in test.classnames),
        frozen.text
        if files.class_texts is None
        else load_class_texts(files.class_texts, backbone, name),
    )
    if settings.visual_ctx:
        # Few images are tuned on at every step; many wait in the file's memory map.
        few = torch.from_numpy(sample.images).to(backbone.device)
        many = torch.from_numpy(test.images)
        # The views wait as well: there may be many of each image.
        views = torch.from_numpy(sample.views) if len(sample.views) else None
    else:
        many = frozen.test
        few, views = load_sample_features(files.sample_features, backbone, name)
    if (0 if views is None else len(views)) != tuning.stored_views:
        raise InputError(
            f"{files.sample}: task '{name}' has {0 if views is None else len(views)} augmented views "
            f"of its training images: expected {tuning.stored_views} (tuning.augment, tuning.views)"
        )
    make_pool = partial(_pool, backbone, tuning)
    drawn = Labelled(make_pool(few, sample.labels), sample.labels)
    train = drawn.take(sample.train)
    train = Labelled(replace(train.pool, views=views), train.labels)
    limit = tuning.curve_images
    task = Task(
        name,
        test.metric,
        make([classes]),
        train,
        drawn.take(sample.val),
        Labelled(make_pool(many, test.labels), test.labels),
        sample_test(test.labels, limit, name) if limit else np.arange(0),
    )
    return task, classes


def _pool(backbone: Backbone, tuning: Tuning, inputs: Tensor, labels: NDArray[np.integer]) -> Pool:
    goal = targets(labels).to(backbone.device)
    if goal.dim() == 1:
        return Pool(inputs, goal)
    binary = None
    if tuning.multilabel_loss == "binary":
        binary = torch.ones(len(goal), dtype=torch.bool, device=goal.device)
    return Pool(inputs, goal.to(backbone.dtype), binary=binary)


def _joined(parts: Sequence[tuple[Pool, int]], joint: Joint) -> Pool:
    """Pools, each with its number of classes, as one with targets over all classes.

    Where one of them is multi-label, all targets become class weights: a class number is the weight
    1 of its class, so that every image counts alike.
    """
    total = sum(count for _, count in parts)
    kinds = {pool.targets.dtype for pool, _ in parts}
    weights = next((kind for kind in kinds if kind.is_floating_point), None)
    binary = None
    if any(pool.binary is not None for pool, _ in parts):
        binary = torch.cat(
            [
                torch.zeros(len(pool), dtype=torch.bool, device=pool.targets.device)
                if pool.binary is None
                else pool.binary
                for pool, _ in parts
            ]
        )
    goals, allowed, first = [], [], 0
    for pool, count in parts:
        mask = torch.zeros(len(pool), total, dtype=torch.bool, device=pool.targets.device)
        mask[:, first : first + count] = True
        allowed.append(mask)
        if weights is None:
            goals.append(pool.targets + first)
        else:
            single = not pool.targets.is_floating_point()
            own = F.one_hot(pool.targets, count) if single else pool.targets
            goals.append(F.pad(own.to(weights), (first, total - first - count)))
        first += count
    views = [pool.views for pool, _ in parts if pool.views is not None]  # of all tasks or of none
    return Pool(
        torch.cat([pool.inputs for pool, _ in parts]),
        torch.cat(goals),
        torch.cat(allowed) if joint.label_space == "per_task" else None,
        binary,
        torch.cat(views, 1) if views else None,
    )
