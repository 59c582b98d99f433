"""Which benchmarks a study has runs for, and what each needs: (group, start) pairs and settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.runs import Pair

if TYPE_CHECKING:
    from mvlpt_workflow.configuration import Checked


@dataclass(frozen=True)
class Benchmark:
    """The runs that it reads, of which some may not be planned, and settings as `analysis.benchmark.make`
    takes them, in types that Snakemake compares."""

    pairs: list[Pair]
    settings: dict[str, Any]


def benchmarks(checked: Checked) -> dict[str, Benchmark]:
    """The benchmarks of a study, by the names of `catalogue.BENCHMARKS`."""
    tasks, runs = list(checked.suite), checked.runs
    planned = runs.all_pairs
    scratch = [(task, RANDOM) for task in tasks]
    single = [pair for pair in planned if pair[0] in checked.suite and pair[1] not in runs.groups]
    found: dict[str, Benchmark] = {}
    if set(scratch) & set(planned):
        found["few_shot"] = Benchmark(scratch, {})
    ways = {
        name: {task: start for task, start in way.items() if task in checked.suite}
        for name, way in runs.ways().items()
    }
    ways = {name: way for name, way in ways.items() if way}
    if ways:
        behind = {
            name: {task: list(runs.behind(task, start)) for task, start in way.items()}
            for name, way in ways.items()
        }
        found["generalisation"] = Benchmark(
            [*scratch, *single, *(pair for way in ways.values() for pair in way.items())],
            {"ways": ways, "behind": behind, "backbone": checked.study.backbone.name},
        )
    tuned = {group for group, _ in planned}
    together = {
        group: list(members)
        for group, members in checked.groups.members.items()
        if group in tuned and checked.suite.keys() >= set(members)
    }
    if together:
        joint = [pair for pair in planned if pair[0] in together]
        alone = [(task, start) for start in {start: None for _, start in joint} for task in tasks]
        seeds = checked.groups.found_on
        found_on = {group: list(seeds[group]) for group in together if group in seeds}
        found["adaptation"] = Benchmark(
            [*scratch, *joint, *alone], {"groups": together, "found_on": found_on}
        )
    if runs.joint_pairs:
        pairs = {group: list(members) for group, members in runs.joint_pairs.items()}
        draws = {key: getattr(checked.study.analysis, key) for key in ("permutations", "seed")}
        found["joint_pairs"] = Benchmark(
            [*scratch, *single, *((group, RANDOM) for group in pairs)], {"pairs": pairs, **draws}
        )
    return found
