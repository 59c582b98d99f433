"""Tune one task's prompt from another prompt or from scratch, as a study's run does, and keep it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import check_writable
from mvlpt_core.contract.intervals import Interval, gain_interval
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.methods import METHODS, Method, VisualMethod
from mvlpt_core.contract.rows import read_rows
from mvlpt_core.contract.schema import checked
from mvlpt_core.contract.settings import Joint, Study, Tuning
from mvlpt_core.contract.tensors import START, read_tensors
from mvlpt_core.features import encode_class_texts, encode_sample, encode_test
from mvlpt_core.jobs import tune_pack
from mvlpt_core.prompts.file import KIND, save_prompt
from mvlpt_core.tasks.names import Room, check_names
from mvlpt_core.tasks.prepare import load_sample, load_test, prepare_sample, prepare_test
from mvlpt_core.tuning.problem import TaskFiles
from mvlpt_core.use.backbone import OpenBackbone, backbone_of
from mvlpt_core.use.calibrate import temperature
from mvlpt_core.use.model import PromptModel, Score, load, read_header, scored
from mvlpt_core.use.task import OpenTask

_log = logging.getLogger(__name__)

# What a study's sample does where it does not say otherwise.
VAL_SHARE: float = Study.model_fields["val_share"].default
SHOTS: int = Study.model_fields["shots"].default[0]
SEED: int = Study.model_fields["seeds"].default[0]


@dataclass(frozen=True)
class TunedPrompt:
    """A prompt that was tuned on `task`: the classifier `model`, its file `path`, and its scores on the
    test images: the frozen backbone's (`zero_shot`), of the `start` as it was, and `after`, with what
    tuning `added`."""

    path: Path
    task: str
    model: PromptModel
    zero_shot: float
    start: Score
    after: Score
    added: Interval
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """How a prompt is tuned: what a study's configuration says of a run."""

    method: str
    settings: Method
    tuning: Tuning
    shots: int
    seed: int
    val_share: float = VAL_SHARE


def recipe(
    like: str | Path | None = None,
    *,
    method: str | None = None,
    settings: Mapping[str, Any] | None = None,
    tuning: Mapping[str, Any] | None = None,
    shots: int | None = None,
    seed: int | None = None,
    val_share: float | None = None,
) -> Recipe:
    """What is given, completed by how the prompt `like` was tuned, else by the defaults of a study.

    Raises `InputError` for a method that is none, or that the prompt is not of, and for a setting that
    is none.
    """
    known = read_header(like) if like is not None else {}
    if method is not None and method not in METHODS:
        raise InputError(f"method is '{method}': expected one of {', '.join(METHODS)}")
    if known and method not in (None, known["method"]):
        raise InputError(
            f"prompt file '{like}' holds a {known['method']} prompt: expected {method}"
        )
    was = known.get("tuned_with", {"method": {}, "tuning": {}})
    budget = dict(was["tuning"])
    if tuning and {"steps", "epochs"} & set(tuning):
        budget |= {"steps": None, "epochs": None}
    name = known.get("method", method or "text")
    return Recipe(
        name,
        checked(METHODS[name], {**was["method"], **(settings or {})}, f"method {name}"),
        checked(Tuning, {**budget, **(tuning or {})}, "tuning"),
        shots if shots is not None else known.get("shots", SHOTS),
        seed if seed is not None else known.get("seed", SEED),
        VAL_SHARE if val_share is None else val_share,
    )


def tune(
    task: OpenTask,
    backbone: OpenBackbone | None = None,
    start: str | Path | TunedPrompt = RANDOM,
    *,
    like: str | Path | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> TunedPrompt:
    """Tune a prompt on `task` from `start` (`random`, a prompt file, or what was tuned before) and keep
    it as `out` (by default `<task>_<method>_from_<start>.safetensors` here).

    The `options` are those of `recipe`: method, settings, tuning, shots, seed, val_share; what is not
    given is as the start was tuned, or the prompt file `like`. A `backbone` is needed without these
    alone. With a study's name for the task and its settings, scores are those of the study's run. Raises
    `InputError`, one sentence, for what does not fit.
    """
    file = start.path if isinstance(start, TunedPrompt) else start
    known = like if file == RANDOM else file
    how = recipe(known, **options)
    backbone = _backbone(known, backbone)
    target = _target(task, how, file, out)
    with tempfile.TemporaryDirectory() as folder:
        files = _prepared(task, backbone, how, Path(folder))
        return _tuned(task, backbone, how, file, target, files)


def _backbone(known: str | Path | None, backbone: OpenBackbone | None) -> OpenBackbone:
    """The backbone given, or that of a prompt file."""
    if backbone is None:
        if known is None:
            raise InputError(
                "a prompt from random needs a backbone: expected one, or a prompt file"
            )
        backbone = backbone_of(read_header(known), Path(known), None)
    return backbone


def _origin(file: str | Path) -> str:
    """The group that a start was tuned on, or random."""
    return RANDOM if file == RANDOM else str(read_header(file)["group"])


def _target(task: OpenTask, how: Recipe, file: str | Path, out: str | Path | None) -> Path:
    """Where the tuned prompt goes."""
    origin = _origin(file)
    target = Path(out or f"{task.name}_{how.method}_from_{origin}.safetensors")
    if target.suffix != ".safetensors":
        raise InputError(
            f"the prompt's file is {target}: expected a name that ends in .safetensors"
        )
    check_writable(target.parent)
    return target


def _tuned(
    task: OpenTask,
    backbone: OpenBackbone,
    how: Recipe,
    file: str | Path,
    target: Path,
    files: TaskFiles,
) -> TunedPrompt:
    """Tune from the prompt in `file`, or from random, on prepared `files`."""
    origin, prepared = _origin(file), files.test.parent
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows, kept = work / "run.parquet", work / "run.safetensors"
        run = (task.name, origin)
        tune_pack(
            backbone.about,
            groups={task.name: [task.name]},
            files={task.name: files},
            prompts={} if file == RANDOM else {run: [Path(file)]},
            scores={run: rows},
            kept={run: kept},
            settings=how.settings,
            tuning=how.tuning,
            joint=Joint(),
            shots=how.shots,
            seed=how.seed,
            device=backbone.device,
            precision=backbone.precision,
            memory_gb=Study.model_fields["memory_gb"].default,
            provenance={},
        )
        _keep(kept, files.sample, backbone, target)
        found = read_rows([rows]).to_pylist()
        zero = read_rows([prepared / "zero_shot.parquet"]).to_pylist()[0]["score"]
        labels = np.array(load_test(files.test).labels)
    before = _score(next(r for r in found if r["step"] == 0 and r["split"] == "test"), labels)
    after = _score(next(r for r in found if r["selected"]), labels)
    added = gain_interval(after.metric, before.outcomes, after.outcomes, labels, task=task.name)
    return TunedPrompt(target, task.name, load(target, backbone), zero, before, after, added, found)


def _prepared(task: OpenTask, backbone: OpenBackbone, how: Recipe, work: Path) -> TaskFiles:
    """The files that tuning reads, made in the folder `work`; the zero-shot score beside them."""
    test, sample = work / "test.safetensors", work / "sample.safetensors"
    files = TaskFiles(
        test, sample, work / "test_features.safetensors", work / "sample_features.safetensors"
    )
    row, about = task.row, backbone.about
    _log.info("task %s: reading its images", task.name)
    tower, n_ctx = backbone.towers.text, how.settings.text_ctx
    room = Room(tower.context_length, n_ctx, "number of context vectors", tower.clean)
    for warning in check_names(task.classnames, f"task {task.name}", room):
        _log.warning("%s", warning)
    prepare_test(row, task.root, backbone.preprocess, max_test=None, out=test)
    prepare_sample(
        row.task,
        row.kind,
        row.location,
        task.root,
        backbone.preprocess,
        shots=how.shots,
        seed=how.seed,
        val_share=how.val_share,
        short_classes="use_all",
        views=how.tuning.stored_views,
        out=sample,
        **row.reading,
    )
    drawn = load_sample(sample)
    _log.info(
        "task %s: %d classes; %d images to tune on, %d held out, %d to test",
        task.name,
        len(task.classnames),
        len(drawn.train),
        len(drawn.val),
        len(load_test(test).labels),
    )
    options: dict[str, Any] = {"device": backbone.device, "precision": backbone.precision}
    encode_test(about, [test], [files.test_features], [work / "zero_shot.parquet"], **options)
    encode_sample(about, [sample], [files.sample_features], **options)
    sentence = how.settings.class_text if isinstance(how.settings, VisualMethod) else "templates"
    if sentence != "templates":
        texts = work / "class_texts.safetensors"
        encode_class_texts(about, [test], [texts], sentence, **options)
        return TaskFiles(test, sample, files.test_features, files.sample_features, texts)
    return files


def _keep(kept: Path, sample: Path, backbone: OpenBackbone, target: Path) -> None:
    """Write the tuned prompt to its place, with a temperature where the held-out images tell one."""
    header, tensors = read_tensors(kept, KIND)
    if header["status"] != "ok":
        raise InputError(
            "the tuning diverged: its loss is no number: expected a smaller learning rate (lr)"
        )
    drawn = load_sample(sample)
    labels = drawn.labels[drawn.val]
    found = None
    if len(labels):
        found = temperature(load(kept, backbone).logits(drawn.images[drawn.val]), labels)
    if found is not None:
        header["calibration"] = {"temperature": found, "images": len(labels)}
    states = {name: torch.from_numpy(value) for name, value in tensors.items()}
    save_prompt(
        target,
        {name: value for name, value in states.items() if not name.startswith(START)},
        header,
        {n.removeprefix(START): value for n, value in states.items() if n.startswith(START)},
    )


def _score(row: Mapping[str, Any], labels: np.ndarray) -> Score:
    return scored(row["metric"], row["outcomes"], labels, row["target"])


def transfer(
    source: TunedPrompt | str | Path,
    task: OpenTask,
    backbone: OpenBackbone | None = None,
    *,
    out: str | Path | None = None,
    **options: Any,
) -> Transfer:
    """Tune on `task` from `source` and from scratch, alike in all else, and compare: the gain of the
    transfer.

    `options` as `tune`'s; `out` is where the transferred prompt goes, the other is not kept.
    """
    file = source.path if isinstance(source, TunedPrompt) else source
    known = None if file == RANDOM else file
    how = recipe(known, **options)
    backbone = _backbone(known, backbone)
    target = _target(task, how, file, out)
    with tempfile.TemporaryDirectory() as folder:
        files = _prepared(task, backbone, how, Path(folder))
        moved = _tuned(task, backbone, how, file, target, files)
        own = Path(folder) / "scratch.safetensors"
        scratch = _tuned(task, backbone, how, RANDOM, own, files)
        labels = np.asarray(task.source.split("test").labels)
    gain = gain_interval(
        moved.after.metric,
        scratch.after.outcomes,
        moved.after.outcomes,
        labels,
        task=task.name,
    )
    return Transfer(moved, scratch.after, gain)


@dataclass(frozen=True)
class Transfer:
    """A prompt tuned from a source, the score of the one `scratch` was tuned to, and what the source
    gains."""

    prompt: TunedPrompt
    scratch: Score
    gain: Interval
