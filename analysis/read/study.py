"""What figures and report are made of: the tables of one study's folder, as frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from mvlpt_core.contract.errors import InputError

from ..vocabulary import MAIN_MEASURES
from . import pairs

# Tables read back for figures and report: field of `Frames` -> name of the file in tables/.
TABLES = {
    "gains": "gains",
    "partial": "partial",
    "quality": "ranking",
    "groups": "groups",
    "givers": "givers",
    "agreement": "agreement",
    "relations": "relations",
    "effects": "effects",
    "diagonal": "diagonal",
}
OURS: dict[str, Any] = {
    "score_name": "transfer gain",
    "unit": "points",
    "scale": 100.0,
    "foreign": False,
    "left_out": [],
}


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
        return list(self.gains["method"].unique())

    @property
    def measures(self) -> list[str]:
        """Measures that the figures of single measures show: the cosines where present."""
        present = list(self.similarity["measure"].unique()) if len(self.similarity) else []
        return [m for m in MAIN_MEASURES if m in present] or present[:2]

    @property
    def planted(self) -> pd.DataFrame | None:
        return self.suite if {"family", "style"} <= set(self.suite.columns) else None


def error_matrix(gains: pd.DataFrame, tasks: Sequence[str]) -> np.ndarray:
    """Standard errors [n, n] of one method's gains; NaN where the table has none."""
    if "se" not in gains.columns:
        return np.full((len(tasks), len(tasks)), np.nan)
    return pairs.square(gains, "se", tasks)


def of_method(similarity: pd.DataFrame, method: str | None) -> pd.DataFrame:
    """Rows that hold for a method: those without a method, and its own (prompt similarities)."""
    if similarity.empty or "method" not in similarity.columns:
        return similarity
    return similarity[similarity["method"].isna() | (similarity["method"] == method)]


def similarity_frame(
    similarity: pd.DataFrame, measure: str, method: str | None = None
) -> pd.DataFrame:
    """source, target, value, diagonal of one measure (of one method, for prompt similarities).
    Errors: a measure that the table does not have."""
    frame = of_method(similarity[similarity["measure"] == measure], method)
    if frame.empty:
        raise InputError(
            f"no similarity {measure!r}; there are {sorted(set(similarity['measure']))}"
        )
    out = frame[["source", "target", "value"]].reset_index(drop=True)
    return out.assign(diagonal=out["source"] == out["target"])


def read_config(study_dir: Path) -> dict[str, Any]:
    """The resolved configuration of the study; empty when there is none."""
    path = Path(study_dir) / "config.yaml"
    if not path.exists():
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({pairs.first_line(error)})") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a mapping of settings")
    return config


def read_suite(study_dir: Path, suite: Path | None = None) -> pd.DataFrame:
    """The suite's table: `suite`, else suite.tsv in the folder, else the file that the study's
    configuration names (relative to here or to the checkout); empty when there is none."""
    named = read_config(study_dir).get("suite")
    places = [suite] if suite else [Path(study_dir) / "suite.tsv"]
    if named and not suite:
        places += [Path(named), Path(__file__).parents[2] / named]
    for path in places:
        if path is not None and (suite or path.exists()):
            frame = pairs.read_frame(path)
            if "task" not in frame.columns:
                raise InputError(f"{path}: column 'task' is missing")
            return frame
    return pd.DataFrame()


def read_optional(path: Path) -> pd.DataFrame:
    """A table, or an empty frame where there is none or it has no rows."""
    if not path.exists():
        return pd.DataFrame()
    if path.suffix == ".parquet" and pq.read_metadata(path).num_rows == 0:
        return pd.DataFrame()
    return pairs.read_frame(path)


def load_frames(study_dir: Path, suite: Path | None = None) -> Frames:
    """What the statistics stage wrote, for figures and report; a missing table is empty.
    Errors: the folder has no statistics yet."""
    study_dir = Path(study_dir)
    about_path = study_dir / "tables" / "about.json"
    if not about_path.exists():
        raise InputError(
            f"{study_dir}: no analysed tables (tables/about.json): run the statistics stage first"
        )
    about = json.loads(about_path.read_text(encoding="utf-8"))
    rows = read_suite(study_dir, suite)
    if not {"family", "style"} <= set(rows.columns):
        rows = pd.DataFrame()
    values: dict[str, Any] = {
        name: read_optional(study_dir / "tables" / f"{file}.csv") for name, file in TABLES.items()
    }
    return Frames(
        order=tuple(about["order"]),
        similarity=read_optional(study_dir / "similarity.parquet"),
        correlations=read_optional(study_dir / "correlations.parquet"),
        curves=read_optional(study_dir / "curves.parquet"),
        suite=rows,
        **values,
        **{key: about[key] for key in OURS},
    )
