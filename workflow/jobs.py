"""The workflow's jobs, counted without Snakemake: how many of each rule.

It stands beside the rules because it repeats what they say; a test holds it against a dry run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.runs import Packed, blocks, packs
from mvlpt_workflow.benchmarks import benchmarks
from mvlpt_workflow.configuration import Checked


@dataclass(frozen=True)
class Sampled:
    """Tasks whose samples one job makes features of, at each of the values of shots and seeds."""

    tasks: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]

    @property
    def jobs(self) -> int:
        return len(self.shots) * len(self.seeds)


def packed(checked: Checked) -> Iterator[Packed]:
    """Packs, each with the values of shots and the seeds that it is tuned at; those of replicates last."""
    study, planned = checked.study, checked.runs
    # Few runs a group: a job takes more groups, so that it has about as many runs as others.
    many = study.tasks_per_job * max(1, study.pack // 2)
    for by_shots, seeds, parts, groups_per_job in (
        (planned.pairs, tuple(study.seeds), planned.parts, study.tasks_per_job),
        (planned.replicates, (study.second_seed,), {}, many),
    ):
        alike: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for shots, pairs in by_shots.items():
            alike.setdefault(tuple(pairs), []).append(shots)
        for same, values in alike.items():
            for pack in packs(same, planned.groups, study.pack, groups_per_job, parts):
                yield Packed(pack, tuple(values), seeds)


def sampled(checked: Checked) -> Iterator[Sampled]:
    """The few-shot samples by the jobs that make their features; those of replicates, which are few, last."""
    study, planned = checked.study, checked.runs
    for tasks in blocks(used_tasks(checked), study.tasks_per_job):
        yield Sampled(tuple(tasks), tuple(study.shots), tuple(study.seeds))
    for shots, pairs in planned.replicates.items():
        tuned = dict.fromkeys(group for group, start in pairs if start == RANDOM)
        yield Sampled(tuple(tuned), (shots,), (study.second_seed,))


def used_tasks(checked: Checked) -> list[str]:
    """The tasks of the study, and those of the second suite that runs are tuned on."""
    planned = checked.runs
    tuned = {task for group, _ in planned.all_pairs for task in planned.members(group)}
    return [*checked.suite, *(task for task in checked.sources if task in tuned)]


def analysed(checked: Checked) -> list[int]:
    """The values of shots at which tasks start from tasks: what the analysis is about; else all."""
    found = [
        shots
        for shots, pairs in checked.runs.pairs.items()
        if any(group in checked.suite and start in checked.suite for group, start in pairs)
    ]
    return found or list(checked.study.shots)


def screened(checked: Checked, shots: int) -> list[str]:
    """The tasks whose prompts are screened at a value of shots: those tuned alone from random, where the
    study asks for it."""
    tuned = checked.runs.pairs[shots] if checked.study.screen else []
    return [task for task in used_tasks(checked) if (task, RANDOM) in tuned]


def jobs_by_rule(checked: Checked) -> dict[str, int]:
    """How many jobs of each rule; rules that are numbered by block or pack count as one."""
    study, planned = checked.study, checked.runs
    methods = study.methods.by_name()
    tasks = used_tasks(checked)
    samples = len(study.shots) * len(study.seeds)
    task_blocks = len(blocks(tasks, study.tasks_per_job))
    sentence = any(getattr(m, "class_text", "templates") != "templates" for m in methods.values())
    means = {pair for pair in planned.all_pairs if pair[1] in study.means}
    tuned = sum(len(own.shots) * len(own.seeds) for own in packed(checked)) * len(methods)
    shots = len(analysed(checked))
    counts = {
        "config": 1,
        "backbone": 1,
        "group": len(planned.groups),
        "mean": len(means),
        "prepare_test": len(tasks),
        "prepare_sample": sum(len(some.tasks) * some.jobs for some in sampled(checked)),
        "features_test": task_blocks,
        "features_sample": sum(some.jobs for some in sampled(checked)),
        "class_texts": task_blocks * sentence,
        "tune": tuned,
        "screen": len(blocks(list(checked.suite), study.tasks_per_job))
        * len(methods)
        * len(study.seeds)
        * sum(bool(screened(checked, k)) for k in analysed(checked)),
        "probe": len(blocks(list(checked.suite), study.tasks_per_job))
        * samples
        * study.linear_probe,
        "gather": 1,
        "leakage": 1,
        "similarity": shots,
        "statistics": shots,
        "groups": shots,
        "figures": shots,
        **dict.fromkeys(benchmarks(checked), 1),
        "report": 1,
    }
    return {rule: count for rule, count in counts.items() if count}


# Processor seconds of a job beyond its counted work, in units of starting a tuning job (importing torch
# and the towers) on the same machine: a part for every job, and one that grows with the pairs analysed
# (in units of the testbed's 1,140: 20 tasks, 3 methods). Measured on the testbed: docs/plan.md.
FIXED = {
    "config": (0.07, 0.0),
    "backbone": (2.1, 0.0),
    "group": (0.01, 0.0),
    "mean": (0.01, 0.0),
    "prepare_test": (0.14, 0.0),
    "prepare_sample": (0.15, 0.0),
    "features_test": (1.2, 0.0),
    "features_sample": (0.9, 0.0),
    "class_texts": (1.1, 0.0),
    "screen": (1.0, 0.0),
    "probe": (1.25, 0.0),
    "gather": (0.8, 2.2),
    "leakage": (0.26, 0.0),
    "similarity": (1.2, 0.5),
    "statistics": (1.5, 17.8),
    "groups": (1.0, 0.8),
    "figures": (2.0, 15.6),
    "report": (1.7, 1.7),
    "planning": (2.2, 0.0),  # Snakemake's own, before the first job
    "scheduling": (0.15, 0.0),  # and with every job, processes' ends included
}
_BENCHMARK = (1.9, 0.5)  # a benchmark's tables and figures
_TESTBED_PAIRS = 1140


def fixed_cost(rule: str, pairs: int) -> float:
    """The cost of a job of `rule`, in starts of a tuning job, in a study of `pairs` pairs and methods."""
    own, grown = FIXED.get(rule, _BENCHMARK)
    return own + grown * pairs / _TESTBED_PAIRS
