"""A prompt file as a classifier: logits, probabilities and scores of images.

N images, C classes, S image side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mvlpt_core.backbone.tokens import tokenizer
from mvlpt_core.contract import outcomes
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import write_atomic
from mvlpt_core.contract.intervals import Interval, score_interval
from mvlpt_core.contract.methods import METHODS, Method, VisualMethod
from mvlpt_core.contract.metrics import METRICS
from mvlpt_core.contract.tensors import START, read_tensors
from mvlpt_core.features import encode_texts
from mvlpt_core.prompts.file import KIND, check_finite
from mvlpt_core.prompts.modules import Towers, Vectors, make_prompt
from mvlpt_core.tasks.base import Place, read_files
from mvlpt_core.tasks.decode import AS_IT_IS, Decoding
from mvlpt_core.tasks.prepare import image_transform
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.problem import Classes, make_classifier
from mvlpt_core.tuning.scoring import pool_logits
from mvlpt_core.use.backbone import OpenBackbone, backbone_of
from mvlpt_core.use.task import OpenTask

# Of a prompt's header, beside what every prompt file has.
_KEYS = ("method", "settings", "backbone", "backbone_digest", "status")
_USE = {"tasks": dict, "suffix": str, "preprocess": dict, "tuned_with": dict}
# What these mappings hold at least; each task's too.
_WITHIN = {
    "preprocess": {"size", "interpolation", "resize_mode"},
    "tuned_with": {"method", "tuning"},
}
_TASK = {"classnames", "templates", "metric", "multilabel"}
_MEMORY_GB = 3.0
_BATCH = 256

T = TypeVar("T")


@dataclass(frozen=True)
class PromptModel:
    """A prompt in front of its backbone, with the classes of one task.

    `header` is the file's: with what and on what the prompt was tuned. `temperature` divides the logits
    before they become probabilities; 1 where it was not calibrated.
    """

    path: Path
    header: dict[str, Any]
    backbone: OpenBackbone
    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    metric: str
    multilabel: bool
    decoding: Decoding
    temperature: float
    classifier: Classifier
    vectors: Vectors

    @property
    def method(self) -> str:
        return str(self.header["method"])

    @property
    def calibrated(self) -> bool:
        """Whether probabilities were fitted to validation images."""
        return "calibration" in self.header and self.temperature != 1

    @torch.no_grad()
    def class_weights(self) -> NDArray[np.float32]:
        """The classes as the text tower sees them behind the prompt, [C, D], rows of length 1."""
        return self.classifier.text(self.vectors)[0].float().cpu().numpy()

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, C] of images that are at the backbone's size, uint8 [N, S, S, 3]."""
        pool = Pool(torch.from_numpy(np.ascontiguousarray(images)), torch.zeros(len(images)))
        found: Tensor = pool_logits(self.classifier, self.vectors, pool)
        return found[0].float().cpu().numpy()

    def logits_of(self, images: Iterable[Image.Image]) -> NDArray[np.float32]:
        """Logits [N, C] of RGB images of any size, a few of which are held at once."""
        transform = image_transform(self.header["preprocess"])
        parts = [
            self.logits(np.stack([transform(image) for image in some])) for some in _batches(images)
        ]
        return np.concatenate(parts or [np.empty((0, len(self.classnames)), np.float32)])

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities [N, C] of logits: of one softmax, or where the prompt was tuned with the binary
        loss on images of several classes, of each class for itself."""
        scaled = torch.from_numpy(np.asarray(logits, np.float64)) / self.temperature
        binary = self.header["tuned_with"]["tuning"]["multilabel_loss"] == "binary"
        found = scaled.sigmoid() if self.multilabel and binary else scaled.softmax(-1)
        return found.numpy()

    def predict(self, files: Sequence[str | Path], top: int = 1) -> list[dict[str, Any]]:
        """The `top` classes of each image file, best first: file, rank, class, probability.

        Raises `InputError` for a file that is missing or does not decode.
        """
        places = [Place(str(file)) for file in files]
        found = self.probabilities(
            self.logits_of(load(self.decoding) for _, load in read_files(places))
        )
        best = np.argsort(-found, axis=1, kind="stable")[:, :top]
        return [
            {"file": place.file, "rank": rank, "class": self.classnames[c], "probability": row[c]}
            for place, row, order in zip(places, found, best, strict=True)
            for rank, c in enumerate(order.tolist(), 1)
        ]

    def on(self, task: OpenTask) -> PromptModel:
        """The same prompt with the classes of another task, whose templates stand where its method reads
        them; images are read as for the task where that says how, else as for the prompt."""
        about = _About(
            task.classnames,
            task.source.templates,
            task.row.metric,
            task.source.multilabel,
            task.source.decoding if task.source.decoding != AS_IT_IS else self.decoding,
        )
        return _with_classes(self, about)

    def evaluate(self, task: OpenTask) -> Score:
        """The score on a task's test images, with its classes in place of the prompt's own."""
        model = self.on(task)
        split = replace(task.source.split("test"), decoding=model.decoding)
        logits = np.empty((len(split.labels), len(model.classnames)), np.float32)
        for some in _batches(split.images(range(len(split.labels)))):
            logits[[index for index, _ in some]] = model.logits_of(image for _, image in some)
        raw = outcomes.encode(logits, task.row.metric)
        return scored(task.row.metric, raw, split.labels, task.name)


@dataclass(frozen=True)
class Score:
    """A score (0 to 1) on `n` images, its interval over images, and the outcomes that it is made of (as
    `contract.metrics.weighted_scores` takes them)."""

    metric: str
    interval: Interval
    n: int
    outcomes: NDArray[Any]

    def __str__(self) -> str:
        value, low, high = (100 * part for part in self.interval)
        return f"{self.metric} {value:.1f} [{low:.1f}, {high:.1f}] on {self.n} images"


def scored(metric: str, raw: bytes, labels: NDArray[Any], where: str) -> Score:
    """The score of stored outcomes (`contract.outcomes`), those of `where`."""
    found = outcomes.decode(raw, outcomes.kind(metric), len(labels), where)
    return Score(metric, score_interval(metric, found, labels), len(labels), found)


def _batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    waiting = iter(items)
    while some := tuple(islice(waiting, _BATCH)):
        yield some


@dataclass(frozen=True)
class _About:
    """Of a task: what its classifier is made of."""

    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    metric: str
    multilabel: bool
    decoding: Decoding


def read_header(path: str | Path) -> dict[str, Any]:
    """The header of a prompt file that can be used by itself.

    Raises `InputError`, naming the file, for one that is no prompt, diverged, or that an earlier version
    left without its classes.
    """
    return _read(path)[0]


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and tensors of a prompt file that can be used by itself."""
    header, tensors = read_tensors(path, KIND, _KEYS)
    if header["status"] != "ok":
        raise InputError(f"prompt file '{path}': its tuning diverged: expected one that finished")
    check_finite(path, header, tensors)
    absent = [key for key in _USE if key not in header]
    if absent:
        raise InputError(
            f"prompt file '{path}' has no {', '.join(absent)}: expected one of this version: run its "
            "study again"
        )
    tasks = header["tasks"].values() if isinstance(header["tasks"], dict) else ()
    if not (
        tasks
        and all(isinstance(header[key], kind) for key, kind in _USE.items())
        and all(keys <= set(header[key]) for key, keys in _WITHIN.items())
        and all(isinstance(task, dict) and set(task) >= _TASK for task in tasks)
        and all(task["metric"] in tuple(METRICS) for task in tasks)
        and header["method"] in tuple(METHODS)
    ):
        raise InputError(f"prompt file '{path}' has a header that no version writes: make it anew")
    return header, tensors


def load(
    path: str | Path,
    backbone: OpenBackbone | str | Path | None = None,
    *,
    task: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> PromptModel:
    """Open a prompt file to predict with, by itself: what it needs is written in it.

    `backbone` is found beside a study's prompts, or by the name in the file, where none is given. `task`
    says whose classes are meant where the prompt was tuned on several. Raises `InputError`, naming the
    file, for one that is not whole, of another backbone, or without that task.
    """
    path = Path(path)
    header, state = _read(path)
    if not isinstance(backbone, OpenBackbone):
        backbone = backbone_of(header, path, backbone, device, precision)
    tasks = header["tasks"]
    if (task is None and len(tasks) > 1) or (task is not None and task not in tasks):
        raise InputError(
            f"prompt file '{path}' was tuned on {', '.join(tasks)}: expected one of them as the task"
        )
    own = tasks[task or next(iter(tasks))]
    settings = METHODS[header["method"]](**header["tuned_with"]["method"])
    towers = backbone.towers
    prompt = make_prompt(settings, Towers.of(towers), 1)
    begun = {name: torch.from_numpy(value) for name, value in state.items()}
    begun = {name: value for name, value in begun.items() if not name.startswith(START)}
    prompt.fill(0, begun, f"prompt file '{path}'")
    prompt.requires_grad_(False)
    vectors = prompt()
    about = _About(
        tuple(own["classnames"]),
        tuple(own["templates"]),
        own["metric"],
        own["multilabel"],
        Decoding(*own.get("decoding", AS_IT_IS)),
    )
    return PromptModel(
        path,
        header,
        backbone,
        about.classnames,
        about.templates,
        about.metric,
        about.multilabel,
        about.decoding,
        header.get("calibration", {}).get("temperature", 1.0),
        _classifier(backbone, settings, header["suffix"], about),
        vectors,
    )


def save(prompt: PromptModel, path: str | Path) -> Path:
    """Copy the file of an open prompt to `path`, whole or not at all."""
    write_atomic(path, prompt.path.read_bytes())
    return Path(path)


def _with_classes(model: PromptModel, about: _About) -> PromptModel:
    if (about.classnames, about.templates) == (model.classnames, model.templates):
        return replace(model, decoding=about.decoding)
    settings = METHODS[model.method](**model.header["tuned_with"]["method"])
    return replace(
        model,
        classnames=about.classnames,
        templates=about.templates,
        metric=about.metric,
        multilabel=about.multilabel,
        decoding=about.decoding,
        temperature=1.0,  # it was fitted to other classes
        classifier=_classifier(model.backbone, settings, model.header["suffix"], about),
    )


def _classifier(backbone: OpenBackbone, settings: Method, suffix: str, about: _About) -> Classifier:
    towers = backbone.towers
    if isinstance(settings, VisualMethod):
        own = settings.class_text
        fixed = encode_texts(
            towers, about.classnames, about.templates if own == "templates" else [own]
        )
    else:
        fixed = torch.empty(0)  # the prompt makes the texts
    tokenize = tokenizer(towers.text.clean)
    classes = Classes(
        tuple(tuple(tokenize(name)) for name in about.classnames),
        tuple(tokenize(suffix)),
        tuple(f"class '{name}'" for name in about.classnames),
        fixed,
    )
    return make_classifier(towers, settings, _MEMORY_GB, [classes])
