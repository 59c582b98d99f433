"""What figures and report are made of: the tables of one study, as frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from analysis.tables import square

MAIN_MEASURES = ("visual_cosine", "label_cosine")


@dataclass(frozen=True)
class Frames:
    """What the figures and the report are made of. `gains`, `correlations`, `relations`,
    `effects`, `similarity`: columns as the functions that make them say; `quality`, `groups` and
    `givers` carry a method column; `suite` has task and, where planted, family and style. An
    empty frame stands for what a study does not have."""

    gains: pd.DataFrame
    order: tuple[str, ...]
    similarity: pd.DataFrame = field(default_factory=pd.DataFrame)
    correlations: pd.DataFrame = field(default_factory=pd.DataFrame)
    partial: pd.DataFrame = field(default_factory=pd.DataFrame)
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    givers: pd.DataFrame = field(default_factory=pd.DataFrame)
    relations: pd.DataFrame = field(default_factory=pd.DataFrame)
    effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    diagonal: pd.DataFrame = field(default_factory=pd.DataFrame)
    agreement: pd.DataFrame = field(default_factory=pd.DataFrame)
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    suite: pd.DataFrame = field(default_factory=pd.DataFrame)
    score_name: str = "transfer gain"
    unit: str = "points"
    left_out: Sequence[str] = ()  # sources of a table that are no tasks
    foreign: bool = False  # a table that no study of ours made
    scale: float = 100.0  # units in one unit of the gains table

    @property
    def axis_name(self) -> str:
        return f"{self.score_name} ({self.unit})"

    @property
    def own_name(self) -> str:
        return "source = target" if self.foreign else "own prompt, tuned longer (control)"

    @property
    def heads_name(self) -> str:
        return "table" if self.foreign else "method"

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(self.gains["method"]))

    @property
    def measures(self) -> list[str]:
        """Measures that the figures of single measures show: the cosines where present."""
        present = list(dict.fromkeys(self.similarity.get("measure", [])))
        return [m for m in MAIN_MEASURES if m in present] or present[:2]

    @property
    def planted(self) -> pd.DataFrame | None:
        return self.suite if {"family", "style"} <= set(self.suite.columns) else None


def standard_errors(gains: pd.DataFrame, tasks: Sequence[str]) -> np.ndarray:
    """Standard errors [n, n] of one method's gains, from their 95% intervals; NaN without any.

    Student's t for intervals over seeds, normal otherwise, as in the gains table.
    """
    if not {"low", "high"} <= set(gains.columns):
        return np.full((len(tasks), len(tasks)), np.nan)
    freedom = gains.get("n_seeds", pd.Series(1, gains.index)).to_numpy(float) - 1
    over_seeds = gains.get("interval", pd.Series("", gains.index)).to_numpy() == "seeds"
    factor = np.where(over_seeds, t.ppf(0.975, np.maximum(freedom, 1)), norm.ppf(0.975))
    return square(gains.assign(se=(gains["high"] - gains["low"]) / (2 * factor)), "se", tasks)
