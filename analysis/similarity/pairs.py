"""Similarity of all pairs of tasks, as one tidy table.

Columns: source, target, measure, value, method (null but for prompt measures). Higher is more
alike: distances enter with a minus. `vocabulary.MEASURES` describes every measure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from mvlpt_core.contract.errors import InputError

from ..read.features import SourcePrompt, TaskFeatures, read_prompt, read_tasks
from . import measures, transferability, transport

SIMILARITY_COLUMNS = ("source", "target", "measure", "value", "method")
# Images of a task that enter costs quadratic or cubic in their number; drawn with the seed.
MMD_IMAGES = 400
TRANSPORT_IMAGES = 256
SCORE_IMAGES = 1000


def similarity_table(
    test_files: Sequence[str | Path],
    sample_files: Sequence[str | Path],
    prompt_files: Sequence[str | Path] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """All measures for all pairs of the tasks whose features are given, in the order of the files
    of test features.

    Prompt measures are means over the seeds that both tasks have; NaN if a source run diverged
    for all of them. Raises InputError for an unusable file or a task that occurs twice.
    """
    tasks = read_tasks(test_files, sample_files)
    prompts = [read_prompt(path) for path in prompt_files]
    return pd.concat(
        [task_similarities(tasks, seed), _prompt_similarities(prompts)], ignore_index=True
    )


def task_similarities(
    tasks: Sequence[TaskFeatures], seed: int = 0, new: TaskFeatures | None = None
) -> pd.DataFrame:
    """Visual, label, joint and transferability measures of all pairs, or of all as sources for `new`.

    The kernel's bandwidth comes from `tasks` alone, so that values for `new` compare with a study's.
    Raises InputError for a repeated task or features of different sizes.
    """
    _check_tasks(tasks)
    known = [*tasks] if new is None else [*tasks, new]
    samples = [_mmd_sample(task, seed) for task in known]
    bandwidth = transport.median_bandwidth(_even_sample(samples[: len(tasks)], 1500))
    labelled = [_transport_sample(task, seed) for task in known]
    centroids = [measures.class_centroids(task.images, task.labels) for task in known]
    if new is None:
        pairs = list(combinations_with_replacement(range(len(tasks)), 2))
    else:
        pairs = [(i, len(tasks)) for i in range(len(tasks))]

    rows: list[tuple[str, str, str, float]] = []
    for i, j in pairs:
        a, b = known[i], known[j]
        same = i == j
        symmetric = {
            "visual_cosine": measures.mean_cosine(a.images, b.images),
            # A task is no sample of its own: the unbiased estimate does not apply to it.
            "visual_mmd": 0.0
            if same
            else -transport.squared_mmd(samples[i], samples[j], bandwidth),
            "visual_centroids": measures.best_match(centroids[i], centroids[j]),
            "label_cosine": measures.mean_cosine(a.names, b.names),
            "label_match": measures.best_match(a.names, b.names),
            "label_shared": measures.shared_names(a.classnames, b.classnames),
            "joint_otdd": -transport.otdd(labelled[i], labelled[j]),
        }
        directions = [(i, j)] if same or new is not None else [(i, j), (j, i)]
        for s, t in directions:
            values = symmetric | _source_scores(known[s], known[t], seed)
            rows += [(known[s].name, known[t].name, name, value) for name, value in values.items()]
    table = pd.DataFrame(rows, columns=list(SIMILARITY_COLUMNS[:-1]))
    return table.assign(method=pd.Series(pd.NA, index=table.index, dtype="str"))


def _source_scores(source: TaskFeatures, target: TaskFeatures, seed: int) -> dict[str, float]:
    """LEEP, LogME and H-score of the source's zero-shot classifier on the target's images."""
    images, labels = _capped(target.images, target.labels, SCORE_IMAGES, seed)
    logits = source.logit_scale * (images @ source.text.T)  # [N, Z]
    rows, classes = _positives(labels)
    return {
        "leep": transferability.leep(softmax(logits, axis=1)[rows], classes),
        "logme": transferability.log_me(logits, labels),
        "h_score": transferability.h_score(logits[rows], classes),
    }


def _prompt_similarities(prompts: Iterable[SourcePrompt]) -> pd.DataFrame:
    """How alike the source prompts of each method are, means over seeds in common."""
    by_method: dict[str, dict[str, dict[int, SourcePrompt]]] = {}
    for prompt in prompts:
        seeds = by_method.setdefault(prompt.method, {}).setdefault(prompt.task, {})
        if prompt.seed in seeds:
            raise InputError(
                f"prompt of method '{prompt.method}', task '{prompt.task}', seed {prompt.seed} "
                "occurs more than once: expected once"
            )
        seeds[prompt.seed] = prompt
    rows = [
        (source, target, name, value, method)
        for method, tasks in by_method.items()
        for source, target in ((s, t) for s in tasks for t in tasks)
        for name, value in _prompt_pair(tasks[source], tasks[target]).items()
    ]
    table = pd.DataFrame(rows, columns=list(SIMILARITY_COLUMNS))
    return table.astype({"value": float, "method": "str"})


def _prompt_pair(x: Mapping[int, SourcePrompt], y: Mapping[int, SourcePrompt]) -> dict[str, float]:
    """The prompt measures of two tasks, prompts by seed; NaN without a seed that both finished, and for
    the change where a file does not tell what its prompt began as."""
    common = [(x[seed], y[seed]) for seed in x if seed in y and x[seed].tensors and y[seed].tensors]

    def mean(
        measure: Callable[[list[np.ndarray], list[np.ndarray]], float], kind: str = "tensors"
    ) -> float:
        sides = [[_in_order(getattr(p, kind)) for p in pair] for pair in common]
        known = [measure(a, b) for a, b in sides if a and b]
        return float(np.mean(known)) if known else np.nan

    return {
        "prompt_cosine_concat": mean(measures.prompt_concat),
        "prompt_cosine_tokens": mean(measures.prompt_tokens),
        "prompt_cosine_change": mean(measures.prompt_concat, "change"),
        "prompt_match_tokens": mean(measures.prompt_match),
    }


def _in_order(tensors: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [tensors[name] for name in sorted(tensors)]


def _check_tasks(tasks: Sequence[TaskFeatures]) -> None:
    """Raise InputError for a repeated task or features of different sizes."""
    if not tasks:
        raise InputError("no feature files: expected those of at least one task")
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            raise InputError(
                f"features of task '{task.name}' are given more than once: expected once"
            )
        seen.add(task.name)
        if task.images.shape[1] != tasks[0].images.shape[1]:
            raise InputError(
                f"features of task '{task.name}' have size {task.images.shape[1]}, those of "
                f"'{tasks[0].name}' {tasks[0].images.shape[1]}: expected one backbone"
            )


def _capped(
    images: np.ndarray, labels: np.ndarray, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `size` images and their labels, a random choice if there are more."""
    if len(images) <= size:
        return images, labels
    chosen = np.random.default_rng(seed).permutation(len(images))[:size]
    return images[chosen], labels[chosen]


def _mmd_sample(task: TaskFeatures, seed: int) -> np.ndarray:
    """The task's images for the kernel distance, [n, D]."""
    return _capped(task.images, task.labels, MMD_IMAGES, seed)[0]


def _even_sample(samples: Sequence[np.ndarray], size: int) -> np.ndarray:
    """About `size` rows in all, equally many of each sample if it has them."""
    share = max(2, size // len(samples))
    return np.concatenate([sample[:share] for sample in samples])


def _positives(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image numbers and class numbers of all (image, class) pairs; multi-hot images may repeat."""
    if labels.ndim == 1:
        return np.arange(len(labels)), labels
    rows, classes = np.nonzero(labels)
    return rows, classes


def _transport_sample(task: TaskFeatures, seed: int) -> transport.Labelled:
    """The task's (image, class) pairs for transport, always `TRANSPORT_IMAGES` of them."""
    rows, classes = _positives(task.labels)
    moments = transport.label_moments(task.images[rows], classes)
    return transport.fixed_size(moments, TRANSPORT_IMAGES, seed)
