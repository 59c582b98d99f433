"""The analysis of one study's folder, stage by stage: similarities, statistics, recommendation.

Every stage reads files below `results/<study>/` and writes files below it, so that a workflow can
run each alone; `gallery.draw_figures` and `report.write_report` follow. Reads transfer.parquet
and, where present, outcomes.parquet, similarity.parquet, features/*.safetensors and the suite.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError

from .battery import choices, explanations, joined, write_tables
from .choice.groups import Objective
from .choice.recommend import Recommendation, recommend
from .gains import controls, relations
from .gains.image_bootstrap import image_intervals
from .gains.table import GAIN_KINDS, gain_table, single_seed_cells
from .parallel import side_by_side
from .read import pairs
from .read.features import read_features
from .read.study import load_frames, read_config, read_optional, read_suite
from .similarity.pairs import similarity_table, similarity_to_new
from .vocabulary import untrained


def measure_similarity(study_dir: Path, seed: int = 0) -> None:
    """Stage: features and source prompts -> similarity.parquet."""
    study_dir = Path(study_dir)
    features = sorted((study_dir / "features").glob("*.safetensors"))
    if not features:
        raise InputError(f"{study_dir / 'features'}: no task's features (*.safetensors) found")
    prompts = sorted((study_dir / "sources").glob("*/*/seed*.safetensors"))
    pairs.write_frame(similarity_table(features, prompts, seed), study_dir / "similarity.parquet")


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
    transfer = pairs.check_transfer(pairs.read_frame(study_dir / "transfer.parquet"))
    images = _image_intervals(study_dir, transfer, bootstrap, seed, workers)
    rows = read_suite(study_dir, suite)
    order = pairs.task_order(transfer, rows["task"] if len(rows) else None)
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


def _image_intervals(
    study_dir: Path, transfer: pd.DataFrame, bootstrap: int, seed: int, workers: int
) -> pd.DataFrame | None:
    """Intervals over test images for pairs of one seed; None where outcomes are not stored."""
    single = single_seed_cells(transfer)
    path = study_dir / "outcomes.parquet"
    if single.empty or not path.exists():
        return None
    outcomes = pairs.read_frame(path)
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
