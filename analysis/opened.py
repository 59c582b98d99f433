"""A finished study, read back for one's own questions: its gains, correlations, outcomes, and heatmaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.outcomes import decode, decode_truth

from .figures.heatmaps import draw_gain_heatmap, gain_frame
from .read.finished import Finished, open_finished
from .read.pairs import read_frame, task_order
from .read.study import read_tables


class OpenStudy(Finished):
    """Where a study's files lie (`at`), its settings (`study`), and the value of `shots` that is looked
    at."""

    def table(self, name: str) -> pd.DataFrame:
        """A table of the analysis (results/README.md has the columns). Raises `InputError` for one that
        it does not have."""
        return read_tables({name: Path(self.at.table(self.shots, name))})[name]

    @property
    def gains(self) -> pd.DataFrame:
        """One row a method, source and target: scores and gains (0 to 1) with their intervals."""
        return self.table("gains")

    @property
    def correlations(self) -> pd.DataFrame:
        """What goes with gain: coefficients with intervals and permutation p-values."""
        path = Path(self.at.correlations(self.shots, "csv"))
        return read_tables({"correlations": path})["correlations"]

    @property
    def similarity(self) -> pd.DataFrame:
        """source, target, measure, value; higher is more alike."""
        return read_frame(self.at.similarity(self.shots))

    def outcomes(self, target: str) -> Outcomes:
        """What every run said about each test image of a task, and the truth."""
        return read_outcomes(self.at.root, target, self.shots)

    def heatmap(self, ax: Axes, method: str, value: str = "gain") -> Axes:
        """Draw a method's gains (points) on `ax`: sources are rows, targets columns."""
        gains = self.gains
        order = task_order(gains, sorted(gains["target"].unique()))
        return draw_gain_heatmap(ax, gain_frame(gains, method, order, value), order)


def open_study(folder: str | Path, shots: int | None = None) -> OpenStudy:
    """The finished study in `folder` (results/<study>), by default at the first shots that it analysed.

    Raises `InputError` where there is none, and for shots that it did not analyse.
    """
    found = open_finished(Path(folder), shots)
    return OpenStudy(found.at, found.study, found.shots, found.analysed)


@dataclass(frozen=True)
class Outcomes:
    """Of K runs on the N test images of one task: `runs` (method, source, seed, a row each; the source
    `scratch` is the baseline), `answers` predicted classes [K, N] or logits [K, N, C], `truth` [N] or
    multi-hot [N, C]."""

    runs: pd.DataFrame
    answers: np.ndarray
    truth: np.ndarray


def read_outcomes(folder: str | Path, target: str, shots: int | None = None) -> Outcomes:
    """The stored outcomes of a study's runs on `target`, decoded, in the order of the gathered table.

    Raises `InputError` for a folder without them, and a task that has none.
    """
    study = open_study(folder, shots)
    outcomes, truth = (read_frame(study.at.gathered(name)) for name in ("outcomes", "truth"))
    own = outcomes[(outcomes["target"] == target) & (outcomes["shots"] == study.shots)]
    if own.empty:
        known = ", ".join(sorted(outcomes["target"].unique()))
        raise InputError(f"{folder}: no outcomes of task '{target}': expected one of {known}")
    said = truth[truth["target"] == target].iloc[0]
    n = int(said["n"])
    values = [
        decode(raw, kind, n, f"target '{target}'")
        for raw, kind in zip(own["outcomes"], own["outcome_kind"], strict=True)
    ]
    return Outcomes(
        own[["method", "source", "seed"]].reset_index(drop=True),
        np.stack(values),
        decode_truth(said["truth"], n, str(said["metric"])),
    )
