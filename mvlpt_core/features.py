"""What the frozen backbone says about a task: features, class texts and the zero-shot score.

N sample images, M test images, C classes, D feature size. Files are tensor files
(`contract.tensors`, kind "task"): of the test split `test_features` [M, D], `class_features` [C, D]
(bare names), `text_features` [C, D] (the task's templates) and `tokens` [C, longest] (vocabulary ids of
the names, -1 behind); of a sample `train_features` [N, D] and `train_labels`, and where
it has V augmented views `view_features` [V, training images, D]; of the visual method's own
class texts `text_features`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core.backbone.activation import with_other_activation
from mvlpt_core.backbone.ahead import on_device
from mvlpt_core.backbone.device import cached_backbone
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.tokens import tokenizer
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract import metrics, outcomes
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.rows import write_rows
from mvlpt_core.contract.templates import read_template
from mvlpt_core.contract.tensors import read_tensors, write_tensors
from mvlpt_core.tasks.prepare import KIND, TestSplit, load_sample, load_test

_log = logging.getLogger(__name__)

SUFFIX = "."  # follows every class name between context vectors, as in CoOp
_TEXT_TOKENS = 1 << 15  # packed text tokens of a pass without gradients
_KEYS = ("name", "backbone_digest")


@dataclass(frozen=True)
class TestFeatures:
    """The part of a test split's features that tuning needs, on the backbone's device."""

    __test__ = False  # no test case, whatever its name

    test: Tensor  # [M, D]
    text: Tensor  # [C, D] class texts in the task's own templates
    names: tuple[tuple[int, ...], ...]  # vocabulary ids of each class name
    suffix: tuple[int, ...]


def encode_test(
    backbone: str | Path,
    prepared: Sequence[str | Path],
    features: Sequence[str | Path],
    zero_shot: Sequence[str | Path] = (),
    *,
    device: str = "auto",
    precision: str = "auto",
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Encode each prepared test split and its classes; write features and, if wanted, the zero-shot
    score. `backbone` is the converted backbone's description (backbone.json)."""
    clip = cached_backbone(Path(backbone).parent, device, precision)
    for i, (source, out) in enumerate(zip(prepared, features, strict=True)):
        task = load_test(source)
        tokenize = tokenizer(clip.text.clean)
        names = [tokenize(name) for name in task.classnames]
        padded = np.full((len(names), max(map(len, names))), -1, np.int64)
        for row, ids in zip(padded, names, strict=True):
            row[: len(ids)] = ids
        tensors = {
            "test_features": encode_images(clip, task.images),
            "class_features": encode_texts(clip, task.classnames, ["{c}"]),
            "text_features": encode_texts(clip, task.classnames, task.templates),
        }
        header = {
            "name": task.name,
            "classnames": task.classnames,
            "templates": task.templates,
            "metric": task.metric,
            "multilabel": task.multilabel,
            "logit_scale": float(clip.logit_scale),
            "suffix": tokenize(SUFFIX),
            "backbone_digest": clip.digest,
        }
        write_tensors(out, KIND, header, {**_numpy(tensors), "tokens": padded})
        if zero_shot:
            _score_zero_shot(clip, task, tensors, Path(zero_shot[i]), provenance or {})
            if not clip.activation_known:
                _compare_activations(clip, task, tensors)


def encode_sample(
    backbone: str | Path,
    prepared: Sequence[str | Path],
    features: Sequence[str | Path],
    *,
    device: str = "auto",
    precision: str = "auto",
) -> None:
    """Encode the images of each prepared few-shot sample once, and their augmented views."""
    clip = cached_backbone(Path(backbone).parent, device, precision)
    for source, out in zip(prepared, features, strict=True):
        sample = load_sample(source)
        header = {
            "name": sample.name,
            "shots": sample.shots,
            "seed": sample.seed,
            "backbone_digest": clip.digest,
        }
        found = {"train_features": encode_images(clip, sample.images)}
        if sample.views.size:
            flat = encode_images(clip, sample.views.reshape(-1, *sample.images.shape[1:]))
            found["view_features"] = flat.view(*sample.views.shape[:2], -1)
        tensors = _numpy(found)
        write_tensors(out, KIND, header, {**tensors, "train_labels": sample.labels})


def encode_class_texts(
    backbone: str | Path,
    prepared: Sequence[str | Path],
    outputs: Sequence[str | Path],
    template: str,
    *,
    device: str = "auto",
    precision: str = "auto",
) -> None:
    """Encode each task's classes in one sentence with "{c}": the fixed texts of the visual method."""
    template = read_template(template, "methods.visual.class_text")
    clip = cached_backbone(Path(backbone).parent, device, precision)
    for source, out in zip(prepared, outputs, strict=True):
        task = load_test(source)
        header = {"name": task.name, "template": template, "backbone_digest": clip.digest}
        texts = encode_texts(clip, task.classnames, [template])
        write_tensors(out, KIND, header, _numpy({"text_features": texts}))


def load_test_features(path: str | Path, backbone: Backbone, task: str) -> TestFeatures:
    """Read a test split's features; `InputError` if they are another task's or backbone's."""
    header, tensors = _load(path, backbone, task, ("suffix",))
    tokens = tensors["tokens"].tolist()
    return TestFeatures(
        test=_on_device(tensors["test_features"], backbone),
        text=_on_device(tensors["text_features"], backbone),
        names=tuple(tuple(t for t in row if t >= 0) for row in tokens),
        suffix=tuple(header["suffix"]),
    )


def load_sample_features(
    path: str | Path, backbone: Backbone, task: str
) -> tuple[Tensor, Tensor | None]:
    """Features of a few-shot sample [N, D] and of its views [V, training images, D]; errors as above."""
    tensors = _load(path, backbone, task)[1]
    views = tensors.get("view_features")
    return (
        _on_device(tensors["train_features"], backbone),
        None if views is None else _on_device(views, backbone),
    )


def load_class_texts(path: str | Path, backbone: Backbone, task: str) -> Tensor:
    """The visual method's own class texts [C, D]; errors as above."""
    return _on_device(_load(path, backbone, task)[1]["text_features"], backbone)


def targets(labels: NDArray[np.generic]) -> Tensor:
    """Tuning targets of task labels: class numbers [N], or multi-hot rows [N, C] scaled to sum to 1.

    Sharing the weight of an image among its classes keeps one softmax over the classes, which suits
    CLIP's logits: they are large for every class, so that a sigmoid a class would start saturated.
    """
    if labels.ndim == 1:
        return torch.from_numpy(labels.astype(np.int64))
    weights = torch.from_numpy(labels.astype(np.float32))
    return weights / weights.sum(1, keepdim=True).clamp(min=1)


@torch.no_grad()
def encode_images(backbone: Backbone, images: NDArray[np.uint8], batch: int = 256) -> Tensor:
    """L2-normalised features [N, D] of uint8 images [N, S, S, 3]."""
    parts = (
        torch.from_numpy(np.array(images[i : i + batch])) for i in range(0, len(images), batch)
    )
    return torch.cat([backbone.image(part)[0] for part in on_device(parts, backbone.device)])


@torch.no_grad()
def encode_texts(backbone: Backbone, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Class features [C, D]: the normalised mean over templates of normalised text features."""
    tower = backbone.text
    tokenize = tokenizer(tower.clean)
    parts = []
    for template in templates:
        # A text longer than the tower's context is cut, as open_clip's tokenizer does.
        texts = [
            tokenize(template.replace("{c}", name))[: tower.context_length - 2]
            for name in classnames
        ]
        layout = text_layout(
            texts,
            sos=tower.sos,
            eos=tower.eos,
            context_length=tower.context_length,
            max_tokens=_TEXT_TOKENS,
            device=backbone.device,
        )
        parts.append(tower(layout)[0])
    return F.normalize(sum(parts[1:], parts[0]), dim=-1)


def _score_zero_shot(
    backbone: Backbone,
    task: TestSplit,
    tensors: Mapping[str, Tensor],
    path: Path,
    provenance: Mapping[str, str],
) -> None:
    """The score of the frozen backbone with the task's own templates: rows without a run."""
    logits = _zero_shot_logits(backbone, tensors)
    goal = targets(np.asarray(task.labels)).to(logits.device)
    values = logits.float().cpu().numpy()
    row = {
        "target": task.name,
        "step": 0,
        "split": "test",
        "metric": task.metric,
        "score": float(metrics.score(task.metric, values, task.labels)),
        "loss": float(F.cross_entropy(logits, goal.to(logits.dtype) if goal.ndim > 1 else goal)),
        "n": len(task.labels),
        "status": "ok",
        "selected": True,
        "outcomes": outcomes.encode(values, task.metric),
        "outcome_kind": outcomes.kind(task.metric),
        "truth": outcomes.encode_truth(task.labels),
    }
    write_rows(path, [{**row, **provenance, "backbone": backbone.name}])


def _zero_shot_logits(backbone: Backbone, tensors: Mapping[str, Tensor]) -> Tensor:
    return backbone.logit_scale * tensors["test_features"] @ tensors["text_features"].T


def _compare_activations(
    backbone: Backbone, task: TestSplit, tensors: Mapping[str, Tensor]
) -> None:
    """Log the zero-shot score with either activation: weights from a file do not say theirs."""
    other = with_other_activation(backbone)
    again = {
        "test_features": encode_images(other, task.images),
        "text_features": encode_texts(other, task.classnames, task.templates),
    }
    own, swapped = (
        float(metrics.score(task.metric, values.float().cpu().numpy(), task.labels))
        for values in (_zero_shot_logits(backbone, tensors), _zero_shot_logits(other, again))
    )
    hint = f" (are the weights {other.activation}'s?)" if swapped > own else ""
    _log.warning(
        "task %s: zero-shot %s %.1f with %s, as the backbone's name says, and %.1f with %s%s",
        *(task.name, task.metric, 100 * own, backbone.activation),
        *(100 * swapped, other.activation, hint),
    )


def _numpy(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Kept in fp32 whatever the precision of the products."""
    return {name: value.float().cpu().numpy() for name, value in tensors.items()}


def _on_device(values: NDArray[Any], backbone: Backbone) -> Tensor:
    return torch.from_numpy(values).to(backbone.device, backbone.dtype)


def _load(
    path: str | Path, backbone: Backbone, task: str, keys: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    header, tensors = read_tensors(path, KIND, (*_KEYS, *keys))
    if header["name"] != task:
        raise InputError(f"{path}: holds features of task '{header['name']}': expected '{task}'")
    if header["backbone_digest"] != backbone.digest:
        raise InputError(f"{path}: was made with another backbone: delete it, run again")
    return header, tensors
