"""What a group's prompt is tuned on: one task, or several joined, each scored with its own classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core.backbone.cost import runs_that_fit, text_tokens_that_fit
from mvlpt_core.backbone.textlayout import TextLayout, text_layout
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.settings import Joint, Method, Tuning
from mvlpt_core.features import (
    TestFeatures,
    load_class_texts,
    load_sample_features,
    load_test_features,
    targets,
)
from mvlpt_core.prompts.modules import Vectors
from mvlpt_core.tasks.fewshot import sample_test
from mvlpt_core.tasks.prepare import Sample, TestSplit, load_sample, load_test
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


@dataclass(frozen=True)
class Task:
    """One task of a group: its own classes, its few-shot sample and what it is scored on."""

    name: str
    metric: str
    classifier: Classifier
    sample: Pool
    labels: NDArray[Any]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: Pool
    test_labels: NDArray[Any]
    curve: NDArray[np.int64]  # the fixed sample of the test split that curves are scored on

    def scored(self, vectors: Vectors, step: int, split: str, runs: list[int]) -> Evaluation:
        """The runs' scores on `test`, or on the validation part (`val`)."""
        pool, labels = self.test, self.test_labels
        if split == "val":
            pool, labels = self.sample.take(_index(self.val, pool)), self.labels[self.val]
        logits = pool_logits(self.classifier, vectors, pool)
        return self._measured(logits, pool, labels, step, split, runs)

    def tested(
        self, vectors: Vectors, step: int, whole: bool, runs: list[int]
    ) -> Iterator[Evaluation]:
        """Rows of the test split: `test` if the `whole` of it is wanted, `curve` of its sample."""
        index = _index(self.curve, self.test)
        if whole:
            logits = pool_logits(self.classifier, vectors, self.test)
            yield self._measured(logits, self.test, self.test_labels, step, "test", runs)
            logits = logits[:, index]
        elif len(index):
            logits = pool_logits(self.classifier, vectors, self.test.take(index))
        if len(index):
            labels = self.test_labels[self.curve]
            yield self._measured(logits, self.test.take(index), labels, step, "curve", runs)

    def _measured(
        self,
        logits: Tensor,
        pool: Pool,
        labels: NDArray[Any],
        step: int,
        split: str,
        runs: list[int],
    ) -> Evaluation:
        return evaluation(
            logits, pool, labels, self.metric, step=step, split=split, target=self.name, runs=runs
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
        return [len(task.train) for task in self.tasks]

    def evaluate(
        self, vectors: Vectors, step: int, last: int, validate: bool, runs: list[int]
    ) -> Iterator[Evaluation]:
        """What is due at an evaluation: the whole test split at step 0 and at the last step, its
        fixed sample at every one, and the validation part if it chooses the checkpoint."""
        for task in self.tasks:
            yield from task.tested(vectors, step, step in (0, last), runs)
            if validate and step > 0 and len(task.val):
                yield task.scored(vectors, step, "val", runs)


def open_problem(
    group: str,
    names: Sequence[str],
    files: dict[str, TaskFiles],
    backbone: Backbone,
    *,
    settings: Method,
    tuning: Tuning,
    joint: Joint,
    memory_gb: float,
) -> Problem:
    """Load what tuning a group's prompt needs. Raises `InputError`, naming the file or task, for
    files that do not fit one another or a class name that does not fit the text tower."""
    opened = [
        _open_task(name, files[name], backbone, settings, tuning, memory_gb) for name in names
    ]
    tasks = tuple(task for task, _ in opened)
    classifier, pool = tasks[0].classifier, _joined(tasks, joint)
    if len(tasks) > 1:
        classifier = _joined_classifier(opened, backbone, settings, memory_gb)
    layout = classifier.layout
    text_tokens = 0 if layout is None else max(len(chunk.tokens) for chunk in layout.chunks)
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
            text_tokens=text_tokens,
        ),
    )


@dataclass(frozen=True)
class _Classes:
    """A task's classes as text: names' tokens and how to call each, or fixed features [C, D]."""

    names: tuple[tuple[int, ...], ...]
    suffix: tuple[int, ...]
    called: tuple[str, ...]
    fixed: Tensor


def _open_task(
    name: str,
    files: TaskFiles,
    backbone: Backbone,
    settings: Method,
    tuning: Tuning,
    memory_gb: float,
) -> tuple[Task, _Classes]:
    test, sample = load_test(files.test), load_sample(files.sample)
    for path, found in ((files.test, test.name), (files.sample, sample.name)):
        if found != name:
            raise InputError(f"{path}: holds images of task '{found}': expected '{name}'")
    frozen = load_test_features(files.test_features, backbone, name)
    fixed = frozen.text
    if files.class_texts is not None:
        fixed = load_class_texts(files.class_texts, backbone, name)
    called = tuple(f"class '{c}' of task {name}" for c in test.classnames)
    classes = _Classes(frozen.names, frozen.suffix, called, fixed)
    curve = np.arange(0)
    if tuning.curve_images:
        curve = sample_test(test.labels, tuning.curve_images, name)
    task = Task(
        name,
        test.metric,
        _classifier(backbone, settings, [classes], memory_gb),
        *_pools(backbone, settings, test, frozen, sample, files),
        curve,
    )
    return task, classes


def _pools(
    backbone: Backbone,
    settings: Method,
    test: TestSplit,
    frozen: TestFeatures,
    sample: Sample,
    files: TaskFiles,
) -> tuple[Pool, NDArray[Any], NDArray[np.int64], NDArray[np.int64], Pool, NDArray[Any]]:
    """Sample and test split as pools: images where a prompt reaches the image tower, else features."""
    if settings.visual_ctx:
        few, many = (
            torch.from_numpy(np.array(images)).to(backbone.device)
            for images in (sample.images, test.images)
        )
    else:
        few = load_sample_features(files.sample_features, backbone, test.name)
        many = frozen.test
    return (
        Pool(few, _goal(sample.labels, backbone)),
        sample.labels,
        sample.train,
        sample.val,
        Pool(many, _goal(test.labels, backbone)),
        test.labels,
    )


def _goal(labels: NDArray[Any], backbone: Backbone) -> Tensor:
    goal = targets(labels).to(backbone.device)
    return goal.to(backbone.dtype) if goal.is_floating_point() else goal


def _classifier(
    backbone: Backbone, settings: Method, classes: Sequence[_Classes], memory_gb: float
) -> Classifier:
    """All classes given, one task behind the other, in front of the backbone."""
    if not settings.text_ctx:
        return Classifier(backbone, None, torch.cat([own.fixed for own in classes]))
    layout: TextLayout = text_layout(
        [name for own in classes for name in own.names],
        sos=backbone.text.sos,
        eos=backbone.text.eos,
        suffix=classes[0].suffix,
        n_ctx=settings.text_ctx,
        position=settings.position,  # type: ignore[union-attr]
        context_length=backbone.text.context_length,
        max_tokens=text_tokens_that_fit(backbone, memory_gb),
        device=backbone.device,
        where=[name for own in classes for name in own.called],
    )
    return Classifier(backbone, layout)


def _joined_classifier(
    opened: Sequence[tuple[Task, _Classes]],
    backbone: Backbone,
    settings: Method,
    memory_gb: float,
) -> Classifier:
    return _classifier(backbone, settings, [classes for _, classes in opened], memory_gb)


def _joined(tasks: Sequence[Task], joint: Joint) -> Pool:
    """The training images of all tasks with targets over all classes, one task behind the other."""
    pools = [task.sample.take(_index(task.train, task.sample)) for task in tasks]
    if len(pools) == 1:
        return pools[0]
    counts = [_classes_of(task) for task in tasks]
    total, offset = sum(counts), np.cumsum([0, *counts])
    goals, allowed = [], []
    weighted = any(pool.targets.is_floating_point() for pool in pools)
    for pool, count, first in zip(pools, counts, offset, strict=False):
        goal = pool.targets + int(first) if not weighted else pool.targets
        if weighted:
            own = pool.targets
            if not own.is_floating_point():
                own = torch.nn.functional.one_hot(own, count).to(pools[0].inputs.device)
            goal = own.new_zeros(len(pool), total, dtype=torch.float32)
            goal[:, first : first + count] = own.to(goal.dtype)
        mask = torch.zeros(len(pool), total, dtype=torch.bool, device=pool.inputs.device)
        mask[:, first : first + count] = True
        goals.append(goal)
        allowed.append(mask)
    return Pool(
        torch.cat([pool.inputs for pool in pools]),
        torch.cat(goals),
        torch.cat(allowed) if joint.label_space == "per_task" else None,
    )


def _classes_of(task: Task) -> int:
    if task.classifier.text_features is not None:
        return len(task.classifier.text_features)
    assert task.classifier.layout is not None
    return len(task.classifier.layout.order)


def _index(index: NDArray[np.int64], pool: Pool) -> Tensor:
    return torch.from_numpy(np.asarray(index).copy()).to(pool.targets.device)
