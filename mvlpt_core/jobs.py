"""The two tuning jobs of a study: a task's own prompts, and a target's cells.

Both are the same few lines around `tuning.tune`: a scratch run starts from a fresh prompt, a
transfer run from a source's saved one, and everything else (images, order, budget) is equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core import __version__
from mvlpt_core.backbone.cost import runs_that_fit, text_tokens_that_fit
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone, cached_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.rows import run_rows, write_rows
from mvlpt_core.features import load_features, targets
from mvlpt_core.prompts.file import load_prompt, save_prompt
from mvlpt_core.prompts.modules import Prompt, Vectors, describe, make_prompt, parse_settings
from mvlpt_core.tasks.prepare import Prepared, load_prepared
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.loop import (
    Evaluation,
    Tuned,
    Tuning,
    batch_order,
    derive_seed,
    parse_tuning,
    tune,
)
from mvlpt_core.tuning.scoring import evaluate


@dataclass(frozen=True)
class Job:
    """One method on one task, ready to tune."""

    backbone: Backbone
    task: Prepared
    method: str
    settings: Any
    tuning: Tuning
    classifier: Classifier
    pool: Pool  # the few-shot pool of all seeds
    test: Pool
    runs_at_once: int
    provenance: Mapping[str, str]

    @property
    def labels(self) -> NDArray[np.generic]:
        return np.asarray(self.task.labels)

    def train_index(self, seed: int) -> Tensor:
        return torch.from_numpy(np.asarray(self.task.train[seed]).copy())

    def n_train(self, seed: int) -> int:
        return len(self.task.train[seed])

    def val_index(self, seed: int) -> Tensor:
        return torch.from_numpy(np.asarray(self.task.val[seed]).copy())

    def fresh(self, seeds: Sequence[int]) -> Prompt:
        """Prompts as a scratch run of this task starts with; the seed decides, not the company."""
        keys = [derive_seed("init", self.method, self.task.name, seed) for seed in seeds]
        return make_prompt(self.settings, keys, self.backbone, len(self.task.classnames))

    def order(self, seed: int) -> Tensor:
        """Pool indices of every batch [steps, B]: the same for every method and source."""
        train = self.train_index(seed)
        return train[
            batch_order(len(train), self.tuning, derive_seed("order", self.task.name, seed))
        ]

    def run(self, prompt: Prompt, seeds: Sequence[int]) -> Tuned:
        """Tune the runs of `prompt`, run r with the images and order of `seeds[r]`."""
        if len(set(seeds)) == 1:
            order = self.order(seeds[0])
        else:
            order = torch.stack([self.order(seed) for seed in seeds])

        def check(vectors: Vectors, step: int) -> list[Evaluation]:
            found = [self._evaluate(vectors, self.test, self.task.test_labels, step, "test")]
            if self.tuning.checkpoint == "best_val" and step > 0:
                found.append(self._validate(vectors, seeds, step))
            return found

        return tune(
            self.classifier,
            prompt,
            self.pool,
            order,
            self.tuning,
            check,
            n_images=self.n_train(seeds[0]),
            dropout_seeds=[derive_seed("dropout", self.task.name, seed) for seed in seeds],
        )

    def _evaluate(
        self, vectors: Vectors, pool: Pool, labels: Any, step: int, split: str
    ) -> Evaluation:
        return evaluate(
            self.classifier,
            vectors,
            pool,
            np.asarray(labels),
            self.task.metric,
            step=step,
            split=split,
        )

    def _validate(self, vectors: Vectors, seeds: Sequence[int], step: int) -> Evaluation:
        """Validation scores, each run on its own seed's images."""
        merged = Evaluation(step, "val", [], [], [], 0)
        for run, seed in enumerate(seeds):
            index = self.val_index(seed)
            if len(index) == 0:
                raise InputError(
                    f"task '{self.task.name}' has no validation images with {self.task.shots} shot(s), "
                    "but tuning.checkpoint is 'best_val'; raise shots or choose 'last'."
                )
            own = Vectors(
                None if vectors.text is None else vectors.text[run : run + 1],
                None if vectors.visual is None else vectors.visual[run : run + 1],
            )
            pool = self.pool.take(index.to(self.pool.targets.device))
            found = self._evaluate(own, pool, self.labels[index.numpy()], step, "val")
            merged.scores += found.scores
            merged.losses += found.losses
            merged.outcomes += found.outcomes
            merged.n = found.n
        return merged

    def write(self, path: Path, tuned: Tuned, run: int, source: str, seed: int) -> None:
        cell = {
            "method": self.method,
            "source": source,
            "target": self.task.name,
            "seed": seed,
            "shots": self.task.shots,
        }
        rows = run_rows(
            tuned.evaluations,
            run,
            alive=tuned.alive[run],
            selected_step=tuned.selected[run],
            metric=self.task.metric,
            cell=cell,
            provenance=self.provenance,
        )
        write_rows(path, rows)


def open_job(
    backbone_dir: Path,
    prepared: Path,
    features: Path,
    *,
    method: str,
    method_settings: Mapping[str, Any],
    tuning: Mapping[str, Any],
    device: str = "auto",
    precision: str = "auto",
    memory_gb: float = 4.0,
    provenance: Mapping[str, str],
) -> Job:
    """Load what tuning `method` on one task needs.

    `backbone_dir`, `prepared`, `features`: as the earlier steps wrote them; settings as in a
    study's configuration. `memory_gb` bounds a pack's activations; `provenance` goes into every
    file that the job writes. Raises `InputError` for settings that do not fit.
    """
    backbone = cached_backbone(backbone_dir, device, precision)
    settings = parse_settings(method, method_settings)
    if "lr" not in method_settings:
        raise InputError(f"methods.{method} has no 'lr'; expected a learning rate.")
    budget = parse_tuning(tuning, float(method_settings["lr"]))
    task, frozen = load_prepared(prepared), load_features(features, backbone)
    layout, text_tokens = None, 0
    if method != "visual":
        layout = text_layout(
            frozen.names,
            sos=backbone.text.sos,
            eos=backbone.text.eos,
            suffix=frozen.suffix,
            n_ctx=settings.n_ctx if method == "text" else settings.n_ctx_text,
            position=settings.position,
            class_specific=method == "text" and settings.class_specific,
            context_length=backbone.text.context_length,
            max_tokens=text_tokens_that_fit(backbone, memory_gb),
            device=backbone.device,
        )
        text_tokens = max(len(chunk.tokens) for chunk in layout.chunks)
    n_ctx = (
        0 if method == "text" else settings.n_ctx if method == "visual" else settings.n_ctx_visual
    )
    return Job(
        backbone=backbone,
        task=task,
        method=method,
        settings=settings,
        tuning=budget,
        classifier=Classifier(backbone, layout, frozen.visual_text if method == "visual" else None),
        pool=_pool(backbone, method, task.images, task.labels, frozen.train),
        test=_pool(backbone, method, task.test_images, task.test_labels, frozen.test),
        runs_at_once=runs_that_fit(
            backbone,
            memory_gb,
            batch=0 if method == "text" else budget.batch_size,
            n_ctx=n_ctx,
            text_tokens=text_tokens,
        ),
        provenance={**provenance, "backbone": backbone.name},
    )


def _pool(backbone: Backbone, method: str, images: Any, labels: Any, features: Tensor) -> Pool:
    goal = targets(np.asarray(labels)).to(backbone.device)
    if goal.is_floating_point():
        goal = goal.to(backbone.dtype)
    if method == "text":
        return Pool(features, goal)
    return Pool(torch.from_numpy(np.array(images)).to(backbone.device), goal)


def tune_sources(job: Job, outputs: Mapping[int, tuple[Path, Path]]) -> None:
    """Tune a task's own prompt from scratch, all seeds side by side.

    `outputs` gives each seed's parquet file (the scratch score) and prompt file (the source prompt).
    """
    # Runs side by side take equally many steps; a multi-label sample may differ in size by seed.
    by_size = groupby(sorted(outputs, key=lambda s: (job.n_train(s), s)), key=job.n_train)
    for seeds in (part for _, same in by_size for part in _portions(list(same), job.runs_at_once)):
        prompt = job.fresh(seeds)
        tuned = job.run(prompt, seeds)
        for run, seed in enumerate(seeds):
            scores, prompt_file = outputs[seed]
            header = {
                **describe(prompt),
                **job.provenance,
                "backbone_digest": job.backbone.digest,
                "task": job.task.name,
                "seed": seed,
                "shots": job.task.shots,
                "step": tuned.selected[run],
                "status": "ok" if tuned.alive[run] else "diverged",
                "version": __version__,
            }
            save_prompt(prompt_file, tuned.states[run], header)
            job.write(scores, tuned, run, "scratch", seed)


def tune_cells(
    job: Job,
    prompts: Mapping[tuple[str, int], Path],
    outputs: Mapping[tuple[str, int], Path],
) -> None:
    """Tune one target from many sources: the pack. Keys of both mappings are (source, seed).

    Sources of one seed see the same batches, so they are tuned side by side and share what the
    prompt cannot change. A source prompt that does not fit is an `InputError` naming its file.
    """
    for seed in sorted({seed for _, seed in outputs}):
        sources = [source for source, of in outputs if of == seed]
        for portion in _portions(sources, job.runs_at_once):
            prompt = job.fresh([seed] * len(portion))
            for run, source in enumerate(portion):
                path = prompts[source, seed]
                state = load_prompt(
                    path,
                    method=job.method,
                    settings=describe(prompt)["settings"],
                    backbone_digest=job.backbone.digest,
                )
                prompt.start_from(run, state, path)
            tuned = job.run(prompt, [seed] * len(portion))
            for run, source in enumerate(portion):
                job.write(outputs[source, seed], tuned, run, source, seed)


def _portions(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Near-equal portions of at most `size`, so that none is left with a single straggler."""
    count = -(-len(items) // size)
    for i in range(count):
        yield list(items[i * len(items) // count : (i + 1) * len(items) // count])
