"""The prompts that a new task may start from: those of one's own study, or of a library by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mvlpt_analysis.publish.library import OpenLibrary
from mvlpt_analysis.read.features import TaskFeatures, read_tasks
from mvlpt_analysis.read.finished import open_finished
from mvlpt_analysis.read.pairs import read_frame
from mvlpt_analysis.read.study import read_tables
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.settings import Study


@dataclass(frozen=True)
class Sources:
    """Of one value of `shots`: gains and similarities (tables), the tasks' features, prompt files by method
    and task, the settings that a new task is encoded with, and the backbone's description (its weights lie
    beside it)."""

    study: Study
    shots: int
    gains: pd.DataFrame
    similarity: pd.DataFrame
    tasks: list[TaskFeatures]
    prompts: Mapping[tuple[str, str], str]
    backbone: Path
    given: str = ""  # the backbone as the user named it


def of_study(folder: Path, shots: int | None) -> Sources:
    """What the study in `folder` (results/<study>) has; raises `InputError`, naming the file, for one that is
    not finished."""
    found = open_finished(folder, shots)
    at, study, shots = found.at, found.study, found.shots
    gains = read_tables({"gains": Path(at.table(shots, "gains"))})["gains"]
    # The study's tasks as its own table names them: none may be missing.
    names = sorted(gains["target"].unique())
    tasks = read_tasks(
        [at.test_features(name) for name in names],
        [at.sample_features(name, shots, seed) for name in names for seed in study.seeds],
    )
    prompts = {
        (method, name): at.prompt(method, name, RANDOM, shots, study.seeds[0])
        for method in study.methods.by_name()
        for name in names
    }
    for path in prompts.values():
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file: expected the study's prompt; run it again")
    similarity = read_frame(at.similarity(shots))
    return Sources(study, shots, gains, similarity, tasks, prompts, Path(at.backbone))


def of_library(folder: Path, shots: int | None, backbone: str | None, device: str) -> Sources:
    """What the library in `folder` has, with the backbone that its prompts were tuned on: the one given, or
    found by its name.

    Raises `InputError`, naming the file, for one that is missing or not the library's, and for a backbone
    with other weights.
    """
    from mvlpt_core.use.backbone import backbone_of  # torch: slow to import
    from mvlpt_core.use.model import read_header

    at = OpenLibrary(folder)
    study = at.study
    shots = study.shots[0] if shots is None else shots
    if shots not in study.shots:
        raise InputError(f"--shots is {shots}: expected one of {', '.join(map(str, study.shots))}")
    gains, similarity = (_of_shots(at.read(name), shots) for name in ("gains", "similarity"))
    names = sorted(gains["target"].unique())
    tests = [at.test_features(name) for name in names]
    samples = [at.sample_features(name, shots, seed) for name in names for seed in study.seeds]
    prompts = {
        (method, name): at.prompt(method, name, RANDOM, shots, study.seeds[0])
        for method in study.methods.by_name()
        for name in names
    }
    at.check([*tests, *samples, *prompts.values()])
    first = next(iter(prompts.values()))
    found = backbone_of(read_header(first), first, backbone, device, study.backbone.precision)
    return Sources(
        study,
        shots,
        gains,
        similarity,
        read_tasks(tests, samples),
        {run: str(path) for run, path in prompts.items()},
        found.about,
        backbone or "",
    )


def _of_shots(table: pd.DataFrame, shots: int) -> pd.DataFrame:
    return table[table["shots"] == shots].drop(columns="shots").reset_index(drop=True)
