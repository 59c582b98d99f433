"""The statistics of a table of gains: what goes with gain, which sources to choose, which tasks to
group. A battery is a list of independent calls that return tables, to be made side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .choice.groups import Objective, givers, group_table
from .choice.ranking import rank_quality, summarise_quality
from .read import pairs
from .read.study import OURS, error_matrix, of_method
from .similarity.pairs import measure_correlations, measure_overview
from .stats.qap import SCOPES, STATISTICS
from .vocabulary import MAIN_MEASURES, untrained

Tables = dict[str, pd.DataFrame]


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
    if len(pairs.common_tasks(gains)) < 4:
        return calls
    data = pairs.matrices(gains, similarity, gain_kinds)
    tests = {"permutations": permutations, "seed": seed}
    # p-values are corrected within a scope and a statistic, so each pair is a table of its own.
    calls += [
        partial(
            _named,
            "correlations",
            pairs.correlation_table,
            data,
            scopes=(scope,),
            statistics=(statistic,),
            bootstrap=bootstrap,
            **tests,
        )
        for scope in SCOPES
        for statistic in STATISTICS
    ]
    calls.append(partial(_named, "measure_correlations", measure_correlations, similarity))
    if set(MAIN_MEASURES) <= set(similarity["measure"].unique()):
        calls += [
            partial(_named, "partial", pairs.partial_table, data, **tests),
            partial(_named, "regression", pairs.regression_table, data, **tests),
        ]
    return calls


def _named(name: str, table: Callable[..., pd.DataFrame], *inputs: Any, **options: Any) -> Tables:
    return {name: table(*inputs, **options)}


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
    """Calls, for every method, that tell which sources to choose and which tasks to tune together:
    ranking (summary), ranking_by_target, groups, givers."""
    tasks = pairs.common_tasks(gains, order)
    calls = []
    for method, frame in gains.groupby("method", sort=False):
        alike = of_method(similarity, str(method)) if len(similarity) else None
        calls.append(partial(_chosen, str(method), frame, alike, bootstrap, seed))
        if grouped and len(tasks) >= 2:
            runs = None if transfer is None else transfer[transfer["method"] == method]
            calls.append(partial(_grouped, str(method), tasks, frame, runs, limit, objective, seed))
    return calls


def _chosen(
    method: str,
    gains: pd.DataFrame,
    similarity: pd.DataFrame | None,
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
    for table in made.values():
        table.insert(0, "method", method)
    return made


def _grouped(
    method: str,
    tasks: list[str],
    gains: pd.DataFrame,
    runs: pd.DataFrame | None,
    limit: int,
    objective: Objective,
    seed: int,
) -> Tables:
    seeds = None
    if runs is not None:
        seeds = np.array([pairs.square(run, "gain", tasks) for _, run in runs.groupby("seed")])
    table = group_table(
        tasks,
        pairs.square(gains, "gain", tasks),
        error_matrix(gains, tasks),
        seeds,
        limit,
        objective,
        seed=seed,
    )
    table.insert(0, "method", method)
    return {"groups": table}


def joined(made: Iterable[Tables]) -> Tables:
    """Tables of one name, one below the other, in order."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for some in made:
        for name, table in some.items():
            parts.setdefault(name, []).append(table)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


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
    correlations = out.get("correlations", pd.DataFrame(columns=pairs.CORRELATION_COLUMNS))
    pairs.write_frame(correlations, folder / "correlations.parquet")
    pairs.write_frame(correlations, folder / "correlations.csv")
    for name, frame in out.items():
        if len(frame):
            pairs.write_frame(frame, folder / "tables" / f"{name}.csv")
    text = json.dumps({"order": order, **(about or OURS)}, indent=1)
    (folder / "tables" / "about.json").write_text(text + "\n", encoding="utf-8")
