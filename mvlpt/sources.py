"""The prompts that a new task may start from: those of one's own study, or of a library by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mvlpt_analysis.publish.library import Library, OpenLibrary
from mvlpt_analysis.read.features import TaskFeatures, read_tasks
from mvlpt_analysis.read.finished import chosen_shots, open_finished
from mvlpt_analysis.read.pairs import read_frame
from mvlpt_analysis.read.study import read_tables
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM, Layout
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
    similarity = read_frame(at.similarity(shots))
    files = _Files.of(at, study, shots, gains)
    for path in files.prompts.values():
        if not path.is_file():
            raise InputError(f"{path}: no such file: expected the study's prompt; run it again")
    tasks, prompts = files.read()
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
    every = at.read("gains")
    shots = chosen_shots(sorted(set(every["shots"])), shots)
    gains, similarity = (_of_shots(table, shots) for table in (every, at.read("similarity")))
    files = _Files.of(at, study, shots, gains)
    at.check([*files.tests, *files.samples, *files.prompts.values()])
    first = next(iter(files.prompts.values()))
    found = backbone_of(read_header(first), first, backbone, device, study.backbone.precision)
    tasks, prompts = files.read()
    return Sources(study, shots, gains, similarity, tasks, prompts, found.about, backbone or "")


@dataclass(frozen=True)
class _Files:
    """Of all tasks: features of class texts and of few-shot images, and the prompts by method and task."""

    tests: list[Path]
    samples: list[Path]
    prompts: dict[tuple[str, str], Path]

    @staticmethod
    def of(at: Layout | Library, study: Study, shots: int, gains: pd.DataFrame) -> _Files:
        # The tasks as the table of gains names them: none may be missing.
        names = sorted(gains["target"].unique())
        return _Files(
            [Path(at.test_features(name)) for name in names],
            [Path(at.sample_features(name, shots, s)) for name in names for s in study.seeds],
            {
                (method, name): Path(at.prompt(method, name, RANDOM, shots, study.seeds[0]))
                for method in study.methods.by_name()
                for name in names
            },
        )

    def read(self) -> tuple[list[TaskFeatures], dict[tuple[str, str], str]]:
        """The tasks' features, and the prompts as texts."""
        return read_tasks(self.tests, self.samples), {k: str(p) for k, p in self.prompts.items()}


def _of_shots(table: pd.DataFrame, shots: int) -> pd.DataFrame:
    return table[table["shots"] == shots].drop(columns="shots").reset_index(drop=True)
