"""The benchmarks of a study: from the scores of its runs to tables, texts for papers, and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mvlpt_core.contract.files import write_atomic

from ..figures.style import Plate, save
from ..read.gather import gather_scores
from ..read.pairs import write_frame
from . import figure, figure_together, grids, write
from .adaptation import adaptation
from .few_shot import few_shot
from .generalisation import Way, beside_published, generalisation
from .joint import compare_modes, joint_pairs
from .table import Benchmark


@dataclass(frozen=True)
class Made:
    """What a benchmark consists of: tidy tables, tables of words and plates, by the names of their files."""

    frames: Mapping[str, pd.DataFrame]
    grids: Sequence[write.Grid]
    plates: Mapping[str, Plate]


def make(name: str, scores: pd.DataFrame, settings: Mapping[str, Any]) -> Made:
    """The benchmark `name` of `catalogue.BENCHMARKS` from a study's scores.

    `settings` holds what it needs: tasks (in order); of generalisation ways {way: {target: start}},
    behind {way: {target: tasks}} and backbone; of adaptation groups {group: members} and found_on
    {group: seeds}; of joint_pairs pairs {group: members}, permutations and seed.
    """
    return _MAKERS[name](scores, settings)


def write_benchmark(
    name: str, runs: Sequence[str], zero: Sequence[str], folder: Path, **settings: Any
) -> None:
    """Read the score rows of runs and of zero-shot, and write the benchmark's files below `folder`.

    Raises `InputError`, naming the file, for rows that are not whole.
    """
    made = make(name, gather_scores(runs, zero), settings)
    for table, frame in made.frames.items():
        write_frame(frame, folder / f"{table}.csv")
    write_frame(made.frames[name], folder / f"{name}.parquet")
    write_atomic(folder / f"{name}.md", write.markdown(made.grids))
    write_atomic(folder / f"{name}.tex", write.latex(made.grids, name.replace("_", "-")))
    shown = {
        "grids": [_plain(grid) for grid in made.grids],
        "figures": [
            {"name": plate, "title": own.title, "caption": own.caption}
            for plate, own in made.plates.items()
        ],
    }
    for plate, own in made.plates.items():
        save(own.figure, folder / plate)
    write_atomic(folder / f"{name}.json", json.dumps(shown, ensure_ascii=False, indent=1) + "\n")


def _plain(grid: write.Grid) -> dict[str, Any]:
    return asdict(grid) | {"bold": sorted(grid.bold), "rules": sorted(grid.rules)}


def _few_shot(scores: pd.DataFrame, settings: Mapping[str, Any]) -> Made:
    return _of("few_shot", few_shot(scores, settings["tasks"]))


def _generalisation(scores: pd.DataFrame, settings: Mapping[str, Any]) -> Made:
    ways = [
        Way(name, starts, settings["behind"][name]) for name, starts in settings["ways"].items()
    ]
    result = generalisation(scores, ways)
    published = beside_published(result, settings["backbone"])
    made = _of("generalisation", result)
    grid = [grids.published_grid(published)] * bool(len(published))
    frames = {**made.frames, "generalisation_published": published}
    return Made(frames, [*made.grids[:2], *grid, *made.grids[2:]], made.plates)


def _of(name: str, result: Benchmark) -> Made:
    averages, differences = f"{name}_averages", f"{name}_differences"
    return Made(
        {name: result.cells, averages: result.averages, differences: result.differences},
        grids.benchmark_grids(result),
        {name: figure.plot_average(result), f"{name}_tasks": figure.plot_tasks(result)},
    )


def _adaptation(scores: pd.DataFrame, settings: Mapping[str, Any]) -> Made:
    table = adaptation(scores, settings["groups"], settings["found_on"])
    plates = {"adaptation": figure_together.plot_adaptation(table)}
    return Made({"adaptation": table}, grids.adaptation_grids(table), plates)


def _joint_pairs(scores: pd.DataFrame, settings: Mapping[str, Any]) -> Made:
    table = joint_pairs(scores, settings["pairs"])
    modes = compare_modes(table, settings["tasks"], settings["permutations"], settings["seed"])
    plates = {"joint_pairs": figure_together.plot_joint(table, settings["tasks"])}
    frames = {"joint_pairs": table, "joint_pairs_modes": modes}
    return Made(frames, grids.joint_grids(modes), plates)


_MAKERS = {
    "few_shot": _few_shot,
    "generalisation": _generalisation,
    "adaptation": _adaptation,
    "joint_pairs": _joint_pairs,
}
