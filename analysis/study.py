"""The analysis of one study's folder, stage by stage: similarities, statistics, recommendation.

Every stage reads files below `results/<study>/` and writes files below it, so that a workflow can
run each alone; `gallery.draw_figures` and `report.write_report` follow. Reads transfer.parquet
and, where present, outcomes.parquet, similarity.parquet, features/*.safetensors and the suite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import controls, explain, relations, tables
from analysis.correlate import SCOPES, STATISTICS
from analysis.errors import InputError
from analysis.frames import (
    OURS,
    error_matrix,
    load_frames,
    read_config,
    read_optional,
    read_suite,
)
from analysis.gains import gain_table, single_seed_cells
from analysis.grouping import Objective, givers, group_table
from analysis.images import image_intervals
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
from analysis.vocabulary import untrained

GAIN_KINDS = ("gain", "relative_error_reduction", "ceiling_gain")
Tables = dict[str, pd.DataFrame]


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
    images = _image_intervals(study_dir, transfer, bootstrap, seed, workers)
    rows = read_suite(study_dir, suite)
    order = tables.task_order(transfer, rows["task"] if len(rows) else None)
    gains = gain_table(transfer, images)
    methods = {name: i for i, name in enumerate(read_config(study_dir).get("methods", {}))}
    # Tables and figures show the methods in the order of the configuration.
    gains = gains.sort_values(
        "method",
        kind="stable",
        key=lambda m: m.map(methods).fillna(len(methods)),
        ignore_index=True,
    )
    similarity = read_optional(study_dir / "similarity.parquet")
    calls = choices(
        gains, similarity, order, transfer, bootstrap, seed, group_limit, group_objective
    )
    if len(similarity):
        calls = explanations(gains, similarity, GAIN_KINDS, permutations, bootstrap, seed) + calls
    out = {
        "gains": gains,
        "asymmetry": controls.asymmetry_table(gains, permutations=permutations, seed=seed),
        "diagonal": controls.diagonal_control(gains),
        "task_effects": controls.task_effects(gains),
        **joined(side_by_side(calls, workers)),
    }
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


def joined(made: Iterable[Tables]) -> Tables:
    """Tables of one name, one below the other, in order."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for some in made:
        for name, table in some.items():
            parts.setdefault(name, []).append(table)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def explanations(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    gain_kinds: tuple[str, ...],
    permutations: int,
    bootstrap: int,
    seed: int,
) -> list[partial[Tables]]:
    """Calls that tell what goes with gain: correlations, partial correlations, regression,
    measures. Tests need 4 tasks that are both source and target: below, only the measures are
    described."""
    calls = [partial(_named, "measures", measure_overview, similarity)]
    if len(tables.common_tasks(gains)) < 4:
        return calls
    data = explain.matrices(gains, similarity, gain_kinds)
    tests = {"permutations": permutations, "seed": seed}
    # p-values are corrected within a scope and a statistic, so each pair is a table of its own.
    calls += [
        partial(_named, "correlations", explain.correlation_table, data,
                scopes=(scope,), statistics=(statistic,), bootstrap=bootstrap, **tests)
        for scope in SCOPES
        for statistic in STATISTICS
    ]  # fmt: skip
    calls.append(partial(_named, "measure_correlations", measure_correlations, similarity))
    if {"visual_cosine", "label_cosine"} <= set(similarity["measure"].unique()):
        calls += [
            partial(_named, "partial", explain.partial_table, data, **tests),
            partial(_named, "regression", explain.regression_table, data, **tests),
        ]
    return calls


def _named(name: str, table: Callable[..., pd.DataFrame], *inputs: Any, **options: Any) -> Tables:
    return {name: table(*inputs, **options)}


def of_method(similarity: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows that hold for a method: those without a method, and its own (prompt similarities)."""
    if similarity.empty or "method" not in similarity.columns:
        return similarity
    return similarity[similarity["method"].isna() | (similarity["method"] == method)]


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
) -> list[partial[Tables]]:
    """Calls, one a method, that tell which sources to choose and which tasks to tune together:
    ranking (summary), ranking_by_target, groups, givers."""
    tasks = tables.common_tasks(gains, order)
    calls = []
    for method, frame in gains.groupby("method", sort=False):
        alike = of_method(similarity, str(method)) if len(similarity) else None
        runs = None if transfer is None else transfer[transfer["method"] == method]
        group = None
        if grouped and len(tasks) >= 2:
            group = partial(_grouped, tasks, frame, runs, limit, objective, seed)
        calls.append(partial(_chosen, str(method), frame, alike, group, bootstrap, seed))
    return calls


def _chosen(
    method: str,
    gains: pd.DataFrame,
    similarity: pd.DataFrame | None,
    group: partial[pd.DataFrame] | None,
    bootstrap: int,
    seed: int,
) -> Tables:
    measures = [] if similarity is None else untrained(similarity["measure"].unique())
    by_target = rank_quality(gains, similarity, model_measures=measures)
    made = {
        "ranking": summarise_quality(by_target, bootstrap, seed),
        "ranking_by_target": by_target,
    }
    if "q" in gains:
        made["givers"] = givers(gains)
    if group is not None:
        made["groups"] = group()
    for table in made.values():
        table.insert(0, "method", method)
    return made


def _grouped(
    tasks: list[str],
    gains: pd.DataFrame,
    runs: pd.DataFrame | None,
    limit: int,
    objective: Objective,
    seed: int,
) -> pd.DataFrame:
    seeds = None
    if runs is not None:
        seeds = np.array([tables.square(run, "gain", tasks) for _, run in runs.groupby("seed")])
    return group_table(
        tasks, tables.square(gains, "gain", tasks), error_matrix(gains, tasks), seeds,
        limit, objective, seed=seed,
    )  # fmt: skip


def _image_intervals(
    study_dir: Path, transfer: pd.DataFrame, bootstrap: int, seed: int, workers: int
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
    calls: list[partial[pd.DataFrame]] = []
    for task, part in outcomes.groupby("target"):
        labels = read_features(study_dir / "features" / f"{task}.safetensors").test_labels
        calls.append(
            partial(image_intervals, part, {str(task): labels}, replicates=bootstrap, seed=seed)
        )
    found = side_by_side(calls, workers)
    return pd.concat(found, ignore_index=True)


def recommend_for(study_dir: Path, features: Path, seed: int = 0) -> Recommendation:
    """Rank the prompts of an analysed study for the task of a features file, which needs no
    training; gains in score units. Errors: a study without features or statistics."""
    study_dir = Path(study_dir)
    data = load_frames(study_dir)
    study_features = sorted((study_dir / "features").glob("*.safetensors"))
    if not study_features or data.similarity.empty:
        raise InputError(f"{study_dir}: features/*.safetensors and similarity.parquet are needed")
    known = data.similarity[
        data.similarity["measure"].isin(untrained(data.similarity["measure"].unique()))
    ]
    prompts = {}
    for path in sorted((study_dir / "sources").glob("*/*/seed*.safetensors"), reverse=True):
        prompts[path.parent.parent.name, path.parent.name] = str(path)  # the first seed stays
    new = similarity_to_new(study_features, features, seed)
    return recommend(data.gains, known, new, prompts)
