"""The one tuning job: a pack of runs, group by group, each group's starts side by side."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from mvlpt_core import __version__
from mvlpt_core.backbone.device import cached_backbone
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.methods import Method
from mvlpt_core.contract.outcomes import kind
from mvlpt_core.contract.rows import finite, write_rows
from mvlpt_core.contract.seeds import number
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.contract.tensors import digest, read_tensors
from mvlpt_core.features import SUFFIX
from mvlpt_core.prompts.file import KIND, save_prompt
from mvlpt_core.prompts.modules import Prompt, State, Towers, describe, make_prompt
from mvlpt_core.prompts.starts import Start, mean, random, saved
from mvlpt_core.tasks.prepare import load_test, read_preprocess
from mvlpt_core.tuning.loop import Tuned, tune
from mvlpt_core.tuning.memory import within_memory
from mvlpt_core.tuning.problem import Problem, TaskFiles, open_problem
from mvlpt_core.tuning.progress import Progress
from mvlpt_core.tuning.recorded import Recorder, cuda_graph
from mvlpt_core.tuning.schedule import joint_order, schedule
from mvlpt_core.tuning.scoring import Evaluation

_log = logging.getLogger(__name__)

Key = tuple[str, str]  # group, start


def tune_pack(
    backbone: str | Path,
    *,
    groups: Mapping[str, Sequence[str]],
    files: Mapping[str, TaskFiles],
    prompts: Mapping[Key, Sequence[Path]],
    scores: Mapping[Key, Path],
    kept: Mapping[Key, Path],
    settings: Method,
    tuning: Tuning,
    joint: Joint,
    shots: int,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    gpu_step: str = "plain",
    memory_gb: float,
    provenance: Mapping[str, str],
) -> None:
    """Tune every run of `scores`, whose keys are (group, start), and write its rows and prompt.

    `backbone` is the converted backbone's description (backbone.json); `groups` names the tasks of
    each group, `files` what to read of each task. `prompts` gives the files that a run starts from,
    but for `random`: one, or several whose mean is taken. `kept` says where prompts go that
    are wanted. Runs of a group see the same batches, so they are tuned side by side and share what
    no prompt can change; in portions where memory asks for it. `gpu_step` is how a GPU takes a step, as
    in the settings. `provenance` goes into every file.

    Raises `InputError`, naming the file or task, for what does not fit.
    """
    if shots == 1 and tuning.checkpoint == "best_val":
        # One image a class cannot be held out: there is nothing to choose by.
        _log.info("one shot has no held-out part: the last checkpoint is the result")
        tuning = tuning.model_copy(update={"checkpoint": "last"})
    compiled = gpu_step == "compiled"
    clip = cached_backbone(Path(backbone).parent, device, precision, compiled=compiled)
    record = cuda_graph if gpu_step == "recorded" and clip.device.type == "cuda" else None
    provenance = {**provenance, "backbone": clip.name}

    def tune_side_by_side(
        problem: Problem, portion: Sequence[str]
    ) -> tuple[Prompt, dict[str, State], Tuned]:
        """The prompts, what those began as that are kept, and what became of them."""
        prompt = make_prompt(settings, Towers.of(clip), len(portion))
        for run, start in enumerate(portion):
            paths = prompts.get((problem.group, start))
            start_of(clip, prompt.method, problem.group, start, seed, paths)(prompt, run)
        begun = {
            start: prompt.state_of(run)
            for run, start in enumerate(portion)
            if (problem.group, start) in kept
        }
        what = f"{prompt.method}, {problem.group} from {', '.join(portion)}"
        return prompt, begun, _tune(problem, prompt, tuning, joint, seed, what, record)

    for group, tasks in groups.items():
        starts = [start for own, start in scores if own == group]
        problem = open_problem(
            group,
            tasks,
            files,
            clip,
            settings=settings,
            tuning=tuning,
            joint=joint,
            memory_gb=memory_gb,
        )
        use: dict[str, Any] = {}
        if any(own == group for own, _ in kept):
            use = _use(Path(backbone), tasks, files, settings, tuning, joint)
        for portion, (prompt, begun, tuned) in chain.from_iterable(
            within_memory(together, partial(tune_side_by_side, problem))
            for together in portions(starts, problem.runs_at_once)
        ):
            for run, start in enumerate(portion):
                if not tuned.alive[run]:
                    _log.warning(
                        "%s, %s from %s: diverged, its loss is not finite after step %d",
                        prompt.method,
                        group,
                        start,
                        tuned.lasted[run],
                    )
                cell = {
                    "method": prompt.method,
                    "group": group,
                    "start": start,
                    "shots": shots,
                    "seed": seed,
                }
                rows = list(_rows(problem, tuned, run))
                write_rows(scores[group, start], [{**cell, **row, **provenance} for row in rows])
                if (group, start) in kept:
                    header = {**cell, **provenance, **use, "backbone_digest": clip.digest}
                    header["score"] = {r["target"]: r["score"] for r in rows if r["selected"]}
                    header["started_from"] = _origins(prompts.get((group, start), ()))
                    _save(kept[group, start], prompt, tuned, run, header, begun[start])


def _save(
    path: Path,
    prompt: Prompt,
    tuned: Tuned,
    run: int,
    header: Mapping[str, object],
    start: State,
) -> None:
    """Write the prompt that the checkpoint rule chose, with what it began as."""
    about = {
        **describe(prompt),
        **header,
        "step": tuned.selected[run],
        "status": "ok" if tuned.alive[run] else "diverged",
        "version": __version__,
    }
    save_prompt(path, tuned.states[run], about, start)


def _use(
    backbone: Path,
    tasks: Sequence[str],
    files: Mapping[str, TaskFiles],
    settings: Method,
    tuning: Tuning,
    joint: Joint,
) -> dict[str, Any]:
    """What a prompt's file says so that it can be used without the study: the classes of each task in
    their order, what stands around their names, the images' transform, and how it was tuned."""
    opened = [load_test(files[task].test) for task in tasks]
    return {
        "tasks": {
            task.name: {
                "classnames": task.classnames,
                "templates": task.templates,
                "metric": task.metric,
                "multilabel": task.multilabel,
                "decoding": task.decoding,
            }
            for task in opened
        },
        "suffix": SUFFIX,
        "preprocess": read_preprocess(backbone),
        "tuned_with": {
            "method": settings.model_dump(),
            "tuning": tuning.model_dump(),
            "joint": joint.model_dump(),
        },
    }


def _origins(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Which prompts a run starts from: the run that left each, and the digest of its tensors."""
    found = []
    for path in paths:
        header, tensors = read_tensors(path, KIND)
        run = {key: header.get(key) for key in ("method", "group", "start", "shots", "seed")}
        found.append({**run, "digest": digest(tensors)})
    return found


def start_of(
    backbone: Backbone,
    method: str,
    group: str,
    start: str,
    seed: int,
    paths: Sequence[Path] | None,
) -> Start:
    """A fresh prompt for `random`, else the one file's, or the mean of several."""
    if start == RANDOM:
        return random(number("init", method, group, seed))
    if not paths:
        raise InputError(
            f"{method}, {group} from {start}: no prompt to start from: expected a file"
        )
    if len(paths) == 1:
        return saved(paths[0], backbone.digest)
    return mean(paths, backbone.digest)


def _tune(
    problem: Problem,
    prompt: Prompt,
    tuning: Tuning,
    joint: Joint,
    seed: int,
    what: str,
    record: Recorder | None = None,
) -> Tuned:
    """Tune the runs of `prompt`; the selected prompts are scored on the whole test split too."""
    sizes = problem.sizes
    plan = schedule(tuning, prompt.settings.lr, sum(sizes), len(sizes))
    validate = tuning.checkpoint == "best_val"
    everyone = list(range(prompt.runs))
    tuned = tune(
        problem.classifier,
        prompt,
        problem.pool,
        joint_order(sizes, plan, joint, problem.group, seed),
        plan,
        tuning,
        lambda vectors, step: problem.evaluate(vectors, step, plan.steps, validate, everyone),
        dropout_seeds=[number("dropout", problem.group, seed)] * prompt.runs,
        say=Progress(what, plan.steps, prompt.runs),
        record=record,
    )
    early = [run for run in everyone if tuned.alive[run] and tuned.selected[run] < plan.steps]
    for step in sorted({tuned.selected[run] for run in early}):
        runs = [run for run in early if tuned.selected[run] == step]
        chosen = make_prompt(prompt.settings, prompt.towers, len(runs))
        for place, run in enumerate(runs):
            chosen.fill(place, tuned.states[run], "the selected prompt")
        with torch.no_grad():
            vectors = chosen()
        tuned.evaluations += [task.scored(vectors, step, "test", runs) for task in problem.tasks]
    return tuned


def _rows(problem: Problem, tuned: Tuned, run: int) -> Iterator[dict[str, Any]]:
    """One run's evaluations as score rows, by task and step.

    A diverged run keeps the finite rows from before, but no row of it is `selected`.
    """
    metric = {task.name: task.metric for task in problem.tasks}
    own = [found for found in tuned.evaluations if run in found.runs]

    def place(found: Evaluation) -> tuple[int, int, str]:
        return list(metric).index(found.target), found.step, found.split

    for found in sorted(own, key=place):
        at = found.runs.index(run)
        raw = found.outcomes[at]
        chosen = found.split == "test" and found.step == tuned.selected[run]
        yield {
            "target": found.target,
            "step": found.step,
            "split": found.split,
            "metric": metric[found.target],
            "score": finite(found.scores[at]),
            "loss": finite(found.losses[at]),
            "n": found.n,
            "status": "ok" if tuned.alive[run] else "diverged",
            "selected": tuned.alive[run] and chosen,
            "outcomes": raw,
            "outcome_kind": None if raw is None else kind(metric[found.target]),
        }


def portions(items: Sequence[str], size: int) -> Iterator[list[str]]:
    """Near-equal portions of at most `size`, so that none is left with a single straggler."""
    count = -(-len(items) // size)
    for i in range(count):
        yield list(items[i * len(items) // count : (i + 1) * len(items) // count])
