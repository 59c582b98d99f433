"""The tables of an analysis as independent calls, to be made side by side.

A call returns (name, table). Tables of one name lie one below the other; one without rows has the
header that the catalogue knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .association import links, measures
from .association import tables as association
from .association.verdicts import MARGIN
from .catalogue import TABLES
from .choice import robust
from .choice.complete import completed_table, completion_table
from .choice.gain_model import Grid
from .choice.groups import Objective, givers, group_table
from .choice.ranking import judged, scores, summarise_quality, with_chosen
from .gains.table import seed_gains
from .parallel import side_by_side
from .read import pairs
from .read.study import error_matrix, of_method, without_rows
from .stats.correlation import SCOPES, STATISTICS
from .vocabulary import MAIN_MEASURES, untrained

Made = list[tuple[str, pd.DataFrame]]
Call = partial[Made]


def explanations(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    gain_kinds: tuple[str, ...],
    *,
    permutations: int,
    seed: int,
    factors: pd.DataFrame | None = None,
    margin: float = MARGIN,
) -> list[Call]:
    """Calls that tell what goes with gain: measures, measure_correlations, correlations, links,
    partial, regression. `margin`: of a correlation that matters. With too few tasks for a test, tables
    other than measures have no rows."""
    if similarity.empty:
        return []
    calls = [call("measures", measures.measure_overview, similarity)]
    data = association.matrices(gains, similarity, gain_kinds)
    tests: dict[str, Any] = {"permutations": permutations, "seed": seed}
    judged = tests | {"margin": margin}
    # p-values are corrected within a scope and a statistic, so each pair is a table of its own.
    # Kendall's test and the regressions are for tasks that are permuted as rows and columns.
    kinds = bool(data.places.targets)
    for scope in SCOPES:
        for statistic in [s for s in STATISTICS if not (kinds and s == "kendall")]:
            one: dict[str, Any] = {"scopes": (scope,), "statistics": (statistic,)}
            calls.append(call("correlations", association.correlation_table, data, **one, **judged))
    calls.append(call("links", links.link_table, data, factors, **judged))
    calls.append(call("measure_correlations", measures.measure_correlations, similarity))
    if not kinds and set(MAIN_MEASURES) <= set(similarity["measure"].unique()):
        calls.append(call("partial", association.partial_table, data, **tests))
        calls.append(call("regression", association.regression_table, data, **tests))
    return calls


def rankings(
    gains: pd.DataFrame, similarity: pd.DataFrame, families: Mapping[str, str] | None = None
) -> list[Call]:
    """Calls, one a method, that tell how well sources can be chosen: ranking (summary),
    ranking_by_target, ranking_new_family, and givers where pairs were tested. `families`: task -> family,
    if any."""
    methods = gains.groupby("method", sort=False)
    return [partial(_ranked, str(m), part, similarity, families) for m, part in methods]


def completions(
    gains: pd.DataFrame, similarity: pd.DataFrame, families: Mapping[str, str], seed: int
) -> list[Call]:
    """Calls, one a method, that tell what was not measured (completed), and how well (completion)."""
    methods = gains.groupby("method", sort=False)
    return [partial(_completed, str(m), part, similarity, families, seed) for m, part in methods]


def _completed(
    method: str,
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    families: Mapping[str, str],
    seed: int,
) -> Made:
    alike = of_method(similarity, method) if len(similarity) else None
    known = [] if alike is None else untrained(alike["measure"].unique())
    grid = Grid.from_frames(gains, alike, known)
    made = [
        ("completion", completion_table(grid, families, seed=seed)),
        ("completed", completed_table(grid, seed=seed)),
    ]
    return _of(method, made)


def _ranked(
    method: str,
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    families: Mapping[str, str] | None,
) -> Made:
    alike = of_method(similarity, method) if len(similarity) else None
    known = [] if alike is None else untrained(alike["measure"].unique())
    grid, rankers = scores(gains, alike, model_measures=known)
    by_target = with_chosen(judged(grid, rankers), families)
    held = robust.thinned(grid, rankers, by_target, families)
    made = [
        ("ranking", summarise_quality(by_target, families, thinned=held)),
        ("ranking_by_target", by_target),
        ("ranking_new_family", robust.new_family(grid, families, known)),
    ]
    if "q" in gains:
        made.append(("givers", givers(gains)))
    return _of(method, made)


def groupings(
    gains: pd.DataFrame,
    transfer: pd.DataFrame,
    tasks: Sequence[str],
    *,
    seed: int,
    limit: int,
    objective: Objective,
) -> list[Call]:
    """Calls, one a method, that tell which tasks to tune together, in groups of at most `limit`."""
    known = pairs.common_tasks(gains, tasks)
    if len(known) < 2:
        return []
    runs = seed_gains(transfer)
    options = {"limit": limit, "objective": objective, "seed": seed}
    return [
        partial(_grouped, str(method), known, part, runs[runs["method"] == method], options)
        for method, part in gains.groupby("method", sort=False)
    ]


def _grouped(
    method: str,
    tasks: list[str],
    gains: pd.DataFrame,
    runs: pd.DataFrame,
    options: dict[str, Any],
) -> Made:
    gain = pairs.square(gains, "gain", tasks)
    seeds = np.array([pairs.square(run, "gain", tasks) for _, run in runs.groupby("seed")])
    table = group_table(tasks, gain, error_matrix(gains, tasks), seeds, **options)
    return _of(method, [("groups", table)])


def _of(method: str, made: Made) -> Made:
    for _, table in made:
        table.insert(0, "method", method)
    return made


def call(
    name: str, table: Callable[..., pd.DataFrame], *inputs: Any, **options: Any
) -> partial[Made]:
    """The call that makes one table."""
    return partial(_named, name, table, *inputs, **options)


def _named(name: str, table: Callable[..., pd.DataFrame], *inputs: Any, **options: Any) -> Made:
    return [(name, table(*inputs, **options))]


def made(calls: Sequence[Call], names: Iterable[str], workers: int) -> dict[str, pd.DataFrame]:
    """The tables `names` from `calls`, made by up to `workers` processes."""
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in names}
    for some in side_by_side(calls, workers):
        for name, table in some:
            parts[name].append(table)
    return {name: _joined(name, tables) for name, tables in parts.items()}


def _joined(name: str, tables: list[pd.DataFrame]) -> pd.DataFrame:
    tables = [table for table in tables if len(table)]
    if not tables:
        return without_rows(name)
    return pd.concat(tables, ignore_index=True)[list(TABLES[name].columns)]
