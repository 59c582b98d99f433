"""The analysis of one study's folder, stage by stage: similarities, statistics, figures.

Every stage reads files below `results/<study>/` and writes files below it, so that a workflow can
run each alone; `analysis.report.write_report` is the last. Reads transfer.parquet and, where
present, outcomes.parquet, curves.parquet, similarity.parquet, features/*.safetensors,
config.yaml and the suite that it names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from analysis import controls, explain, gallery, relations, tables
from analysis.errors import InputError
from analysis.frames import Frames, standard_errors
from analysis.gains import gain_table, single_seed_cells
from analysis.grouping import Objective, givers, group_table
from analysis.images import image_intervals
from analysis.measures import MEASURES
from analysis.parallel import side_by_side
from analysis.recommend import Recommendation, recommend
from analysis.selection import rank_quality, summarise_quality
from analysis.similarity import (
    measure_correlations,
    measure_overview,
    similarity_table,
    similarity_to_new,
)
from analysis.taskfiles import read_features

GAIN_KINDS = ("gain", "relative_error_reduction")
# Tables read back for figures and report: field of `Frames` -> name of the file in tables/.
TABLES = {
    "gains": "gains", "partial": "partial", "quality": "ranking", "groups": "groups",
    "givers": "givers", "agreement": "agreement", "relations": "relations",
    "effects": "effects", "diagonal": "diagonal",
}  # fmt: skip
OURS: dict[str, Any] = {
    "score_name": "transfer gain",
    "unit": "points",
    "scale": 100.0,
    "foreign": False,
    "left_out": [],
}


def read_config(study_dir: Path) -> dict[str, Any]:
    """The resolved configuration of the study; empty when there is none."""
    path = Path(study_dir) / "config.yaml"
    if not path.exists():
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({tables.first_line(error)})") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a mapping of settings")
    return config


def read_suite(study_dir: Path, suite: Path | None = None) -> pd.DataFrame:
    """The suite's table: `suite`, else suite.tsv in the folder, else the file that the study's
    configuration names (relative to here or to the checkout); empty when there is none."""
    named = read_config(study_dir).get("suite")
    places = [suite] if suite else [Path(study_dir) / "suite.tsv"]
    if named and not suite:
        places += [Path(named), Path(__file__).parent.parent / named]
    for path in places:
        if path is not None and (suite or path.exists()):
            frame = tables.read_frame(path)
            if "task" not in frame.columns:
                raise InputError(f"{path}: column 'task' is missing")
            return frame
    return pd.DataFrame()


def measure_similarity(study_dir: Path, seed: int = 0) -> None:
    """Stage: features and source prompts -> similarity.parquet."""
    study_dir = Path(study_dir)
    features = sorted((study_dir / "features").glob("*.safetensors"))
    if not features:
        raise InputError(f"{study_dir / 'features'}: no task's features (*.safetensors) found")
    prompts = sorted((study_dir / "sources").glob("*/*/seed*.safetensors"))
    tables.write_frame(similarity_table(features, prompts, seed), study_dir / "similarity.parquet")


def analyse_statistics(
    study_dir: Path,
    permutations: int = 10_000,
    bootstrap: int = 2000,
    seed: int = 0,
    group_limit: int = 5,
    group_objective: Objective = "sum",
    suite: Path | None = None,
    workers: int = 1,
) -> None:
    """Stage: transfer.parquet and similarity.parquet -> correlations.parquet, .csv, tables/*.csv.

    `permutations` and `bootstrap` are draws a test and an interval; `group_limit` is the largest
    group of tasks for joint tuning, `workers` the processes used. Same inputs and `seed`, same tables.
    """
    study_dir = Path(study_dir)
    transfer = tables.check_transfer(tables.read_frame(study_dir / "transfer.parquet"))
    images = _image_intervals(study_dir, transfer, bootstrap, seed)
    rows = read_suite(study_dir, suite)
    order = tables.task_order(transfer, rows["task"] if len(rows) else None)
    gains = gain_table(transfer, images)
    similarity = _optional(study_dir / "similarity.parquet")
    out = {
        "gains": gains,
        "asymmetry": controls.asymmetry_table(gains, permutations=permutations, seed=seed),
        "diagonal": controls.diagonal_control(gains),
        "task_effects": controls.task_effects(gains),
        **choices(gains, similarity, order, transfer, bootstrap, seed, group_limit,
                  group_objective),
    }  # fmt: skip
    if len(similarity):
        out |= explanations(gains, similarity, GAIN_KINDS, permutations, bootstrap, seed, workers)
    if {"family", "style"} <= set(rows.columns):
        planted = rows[["task", "family", "style"]]
        out["relations"] = relations.relation_table(gains, planted, bootstrap=bootstrap, seed=seed)
        out["effects"] = relations.effect_table(
            gains, planted, permutations=permutations, bootstrap=bootstrap, seed=seed
        )
    write_tables(study_dir, out, order)


def write_tables(
    folder: Path,
    out: Mapping[str, pd.DataFrame],
    order: list[str],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write tables/<name>.csv, correlations.parquet and .csv, and tables/about.json (the order
    of tasks and what the gains are called), from which figures and report are made."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "tables").glob("*.csv"):
        stale.unlink()
    # A workflow expects these files of every study, so they are written with no rows, too.
    correlations = out.get("correlations", pd.DataFrame(columns=explain.CORRELATION_COLUMNS))
    tables.write_frame(correlations, folder / "correlations.parquet")
    tables.write_frame(correlations, folder / "correlations.csv")
    for name, frame in out.items():
        if len(frame):
            tables.write_frame(frame, folder / "tables" / f"{name}.csv")
    text = json.dumps({"order": order, **(about or OURS)}, indent=1)
    (folder / "tables" / "about.json").write_text(text + "\n", encoding="utf-8")


def explanations(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    gain_kinds: tuple[str, ...],
    permutations: int,
    bootstrap: int,
    seed: int,
    workers: int = 1,
) -> dict[str, pd.DataFrame]:
    """What goes with gain: correlations, partial correlations, regression, measures. Tests need 4
    tasks that are both source and target: below, only the measures are described."""
    out = {"measures": measure_overview(similarity)}
    if len(tables.common_tasks(gains)) < 4:
        return out
    shared: dict[str, Any] = {"permutations": permutations, "seed": seed}
    # p-values are corrected within a gain kind, so each kind is a table of its own.
    calls: list[tuple[str, partial[pd.DataFrame]]] = [
        (
            "correlations",
            partial(
                explain.correlation_table, gains, similarity, (kind,), bootstrap=bootstrap, **shared
            ),
        )
        for kind in gain_kinds
    ]
    calls.append(("measure_correlations", partial(measure_correlations, similarity)))
    if {"visual_cosine", "label_cosine"} <= set(similarity["measure"]):
        calls += [
            (name, partial(table, gains, similarity, gain_kinds=gain_kinds, **shared))
            for name, table in (
                ("partial", explain.partial_table),
                ("regression", explain.regression_table),
            )
        ]
    made = side_by_side([call for _, call in calls], workers)
    for (name, _), frame in zip(calls, made, strict=True):
        out[name] = pd.concat([out[name], frame], ignore_index=True) if name in out else frame
    return out


def of_method(similarity: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows that hold for a method: those without a method, and its own (prompt similarities)."""
    if similarity.empty or "method" not in similarity.columns:
        return similarity
    return similarity[similarity["method"].isna() | (similarity["method"] == method)]


def untrained(similarity: pd.DataFrame) -> list[str]:
    """Measures that are known of a task before any prompt was tuned on it: all but prompts'."""
    names = dict.fromkeys(similarity["measure"]) if len(similarity) else {}
    return [n for n in names if n not in MEASURES or MEASURES[n].kind != "prompt"]


def choices(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    order: list[str],
    transfer: pd.DataFrame | None,
    bootstrap: int,
    seed: int,
    limit: int = 5,
    objective: Objective = "sum",
    grouped: bool = True,
) -> dict[str, pd.DataFrame]:
    """Which sources to choose and which tasks to tune together, for every method: ranking
    (summary), ranking_by_target, groups, givers."""
    parts: dict[str, list[pd.DataFrame]] = {
        "ranking": [], "ranking_by_target": [], "groups": [], "givers": []
    }  # fmt: skip
    tasks = tables.common_tasks(gains, order)
    for method, frame in gains.groupby("method", sort=False):
        alike = of_method(similarity, str(method)) if len(similarity) else None
        by_target = rank_quality(frame, alike, model_measures=untrained(similarity))
        made = {
            "ranking_by_target": by_target,
            "ranking": summarise_quality(by_target, bootstrap, seed),
        }
        if "q" in frame:
            made["givers"] = givers(frame)
        if grouped and len(tasks) >= 2:
            seeds = None
            if transfer is not None:
                runs = transfer[transfer["method"] == method]
                seeds = np.array(
                    [tables.square(run, "gain", tasks) for _, run in runs.groupby("seed")]
                )
            made["groups"] = group_table(
                tasks, tables.square(frame, "gain", tasks), standard_errors(frame, tasks), seeds,
                limit, objective, seed=seed,
            )  # fmt: skip
        for name, table in made.items():
            table.insert(0, "method", method)
            parts[name].append(table)
    return {name: pd.concat(made) for name, made in parts.items() if made}


def _image_intervals(
    study_dir: Path, transfer: pd.DataFrame, bootstrap: int, seed: int
) -> pd.DataFrame | None:
    """Intervals over test images for pairs of one seed; None where outcomes are not stored."""
    single = single_seed_cells(transfer)
    path = study_dir / "outcomes.parquet"
    if single.empty or not path.exists():
        return None
    outcomes = tables.read_frame(path)
    scratch = outcomes["source"] == "scratch"
    keys = ["method", "source", "target", "seed"]
    wanted = pd.MultiIndex.from_frame(single[keys])
    outcomes = outcomes[scratch | pd.MultiIndex.from_frame(outcomes[keys]).isin(wanted)]
    labels = {}
    for task in dict.fromkeys(outcomes["target"]):
        labels[task] = read_features(study_dir / "features" / f"{task}.safetensors").test_labels
    return image_intervals(outcomes, labels, replicates=bootstrap, seed=seed)


def _optional(path: Path) -> pd.DataFrame:
    """The table, or an empty frame where there is none or it has no rows."""
    if not path.exists():
        return pd.DataFrame()
    if path.suffix == ".parquet" and pq.read_metadata(path).num_rows == 0:
        return pd.DataFrame()
    return tables.read_frame(path)


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
        name: _optional(study_dir / "tables" / f"{file}.csv") for name, file in TABLES.items()
    }
    return Frames(
        order=tuple(about["order"]),
        similarity=_optional(study_dir / "similarity.parquet"),
        correlations=_optional(study_dir / "correlations.parquet"),
        curves=_optional(study_dir / "curves.parquet"),
        suite=rows,
        **values,
        **{key: about[key] for key in OURS},
    )


def draw_figures(study_dir: Path, suite: Path | None = None, workers: int = 1) -> list[str]:
    """Stage: tables -> figures/*.png, *.svg and figures/captions.csv; returns the names."""
    study_dir = Path(study_dir)
    data = load_frames(study_dir, suite)
    drawn = gallery.draw_all(data, study_dir / "figures", workers)
    tables.write_frame(drawn, study_dir / "figures" / "captions.csv")
    return list(drawn["name"])


def recommend_for(study_dir: Path, features: Path, seed: int = 0) -> Recommendation:
    """Rank the prompts of an analysed study for the task of a features file, which needs no
    training; gains in score units. Errors: a study without features or statistics."""
    study_dir = Path(study_dir)
    data = load_frames(study_dir)
    study_features = sorted((study_dir / "features").glob("*.safetensors"))
    if not study_features or data.similarity.empty:
        raise InputError(f"{study_dir}: features/*.safetensors and similarity.parquet are needed")
    known = data.similarity[data.similarity["measure"].isin(untrained(data.similarity))]
    prompts = {}
    for path in sorted((study_dir / "sources").glob("*/*/seed*.safetensors"), reverse=True):
        prompts[path.parent.parent.name, path.parent.name] = str(path)  # the first seed stays
    new = similarity_to_new(study_features, features, seed)
    return recommend(data.gains, known, new, prompts)
