"""What the frozen backbone says about a task: features, class texts and the zero-shot score.

N pool images, M test images, C classes, D feature size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone, cached_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import write_atomic
from mvlpt_core.contract.rows import run_rows, write_rows
from mvlpt_core.prompts.modules import Vectors
from mvlpt_core.tasks.prepare import Prepared, load_prepared
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.scoring import evaluate, pool_logits

_SUFFIX = "."  # follows every class name between context vectors, as in CoOp


@dataclass(frozen=True)
class Features:
    """The part of a features file that tuning needs, on the backbone's device."""

    train: Tensor  # [N, D]
    test: Tensor  # [M, D]
    visual_text: Tensor  # [C, D] the fixed class texts of the visual method
    names: tuple[tuple[int, ...], ...]  # vocabulary ids of each class name
    suffix: tuple[int, ...]


def extract(
    backbone_dir: Path,
    prepared: Sequence[Path],
    features: Sequence[Path],
    zero_shot: Sequence[Path],
    *,
    device: str = "auto",
    precision: str = "auto",
    class_text: str = "templates",
    provenance: Mapping[str, str],
) -> None:
    """Encode each prepared task once; write its features and its zero-shot score.

    `class_text` is the text of the visual method's classes: `templates` for the task's own, or one
    template such as "a photo of a {c}.".
    """
    backbone = cached_backbone(backbone_dir, device, precision)
    if class_text != "templates" and "{c}" not in class_text:
        raise InputError(f"methods.visual.class_text is '{class_text}'; expected '{{c}}' in it.")
    for source, out, scores in zip(prepared, features, zero_shot, strict=True):
        task = load_prepared(source)
        tensors, meta = _encode_task(backbone, task, class_text)
        write_atomic(out, save(tensors, metadata={"task": json.dumps(meta, sort_keys=True)}))
        _score_zero_shot(backbone, task, tensors, scores, provenance)


def _encode_task(
    backbone: Backbone, task: Prepared, class_text: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tokenize = _tokenizer()
    names = [tokenize(name) for name in task.classnames]
    text = _encode_templates(backbone, task.classnames, task.templates)
    visual_text = text.clone()  # safetensors refuses two names for one memory
    if class_text != "templates":
        visual_text = _encode_templates(backbone, task.classnames, [class_text])
    train, test = (encode_images(backbone, x) for x in (task.images, task.test_images))
    classifier = Classifier(backbone, text_features=text)
    padded = torch.full((len(names), max(map(len, names))), -1, dtype=torch.int64)
    for row, ids in zip(padded, names, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    tensors = {
        "train_features": train,
        "train_labels": torch.from_numpy(np.asarray(task.labels).copy()),
        "test_features": test,
        "test_labels": torch.from_numpy(np.asarray(task.test_labels).copy()),
        "class_features": _encode_templates(backbone, task.classnames, ["{c}"]),
        "text_features": text,
        "visual_text_features": visual_text,
        "train_logits": pool_logits(classifier, Vectors(), _feature_pool(train))[0],
        "zero_shot_logits": pool_logits(classifier, Vectors(), _feature_pool(test))[0],
    }
    # Features are kept in fp32 whatever the precision of the products.
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    tensors["tokens"] = padded
    meta = {
        "name": task.name,
        "classnames": task.classnames,
        "templates": task.templates,
        "metric": task.metric,
        "multilabel": task.multilabel,
        "shots": task.shots,
        "image_size": task.image_size,
        "source_digest": task.source_digest,
        "logit_scale": float(backbone.logit_scale),
        "suffix": tokenize(_SUFFIX),
        "backbone_digest": backbone.digest,
    }
    return {k: v.cpu().contiguous() for k, v in tensors.items()}, meta


def _feature_pool(features: Tensor) -> Pool:
    return Pool(features, torch.zeros(len(features), dtype=torch.int64))


def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()

    def tokenize(text: str) -> list[int]:
        # The tokenizer's own cleaning, without start, end and padding.
        return list(tokenizer.encode(tokenizer.clean_fn(text)))

    return tokenize


def _encode_templates(backbone: Backbone, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Class features [C, D]: the normalised mean over templates of normalised text features."""
    tokenize = _tokenizer()
    tower = backbone.text
    total = torch.zeros(0)
    for i, template in enumerate(templates):
        # A text longer than the tower's context is cut, as open_clip's tokenizer does.
        texts = [tokenize(template.replace("{c}", n))[: tower.context_length - 2] for n in names]
        layout = text_layout(
            texts,
            sos=tower.sos,
            eos=tower.eos,
            context_length=tower.context_length,
            max_tokens=1 << 15,
            device=backbone.device,
        )
        with torch.no_grad():
            encoded = tower(layout)[0]
        total = encoded if i == 0 else total + encoded
    return F.normalize(total, dim=-1)


@torch.no_grad()
def encode_images(backbone: Backbone, images: NDArray[np.uint8], batch: int = 256) -> Tensor:
    """L2-normalised features [N, D] of uint8 images [N, S, S, 3]."""
    parts = [
        backbone.image(torch.from_numpy(np.array(images[i : i + batch])).to(backbone.device))[0]
        for i in range(0, len(images), batch)
    ]
    return torch.cat(parts)


def _score_zero_shot(
    backbone: Backbone,
    task: Prepared,
    tensors: Mapping[str, Tensor],
    path: Path,
    provenance: Mapping[str, str],
) -> None:
    classifier = Classifier(backbone, text_features=tensors["text_features"].to(backbone.device))
    labels = np.asarray(task.test_labels)
    pool = Pool(tensors["test_features"].to(backbone.device), targets(labels).to(backbone.device))
    found = evaluate(classifier, Vectors(), pool, labels, task.metric, step=0, split="test")
    rows = run_rows(
        [found],
        0,
        alive=True,
        selected_step=0,
        metric=task.metric,
        cell={
            "method": "zero_shot",
            "source": "",
            "target": task.name,
            "seed": 0,
            "shots": 0,
        },
        provenance={**provenance, "backbone": backbone.name},
    )
    write_rows(path, rows)


def targets(labels: NDArray[np.generic]) -> Tensor:
    """Tuning targets of task labels: class numbers [N], or multi-hot rows [N, C] scaled to sum to 1.

    Sharing the weight of an image among its classes keeps one softmax over the classes, which suits
    CLIP's logits: they are large for every class, so that a sigmoid a class would start saturated.
    """
    if labels.ndim == 1:
        return torch.from_numpy(labels.astype(np.int64))
    weights = torch.from_numpy(labels.astype(np.float32))
    return weights / weights.sum(1, keepdim=True).clamp(min=1)


def load_features(path: Path, backbone: Backbone) -> Features:
    """Read the tuning part of a features file; `InputError` if it belongs to another backbone."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["task"])
            tensors = {
                key: file.get_tensor(key)
                for key in ("train_features", "test_features", "visual_text_features", "tokens")
            }
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"'{path}' is not a features file of this project ({error}).") from error
    if meta["backbone_digest"] != backbone.digest:
        raise InputError(f"'{path}' was made with another backbone; delete it and run again.")

    def on_device(key: str) -> Tensor:
        return tensors[key].to(backbone.device, backbone.dtype)

    names = tuple(tuple(t for t in row if t >= 0) for row in tensors["tokens"].tolist())
    return Features(
        train=on_device("train_features"),
        test=on_device("test_features"),
        visual_text=on_device("visual_text_features"),
        names=names,
        suffix=tuple(meta["suffix"]),
    )
