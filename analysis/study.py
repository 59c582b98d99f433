"""The analysis of a study, stage by stage: frames in, tables out.

A stage sees one value of shots. `figures.gallery.draw_figures` and `report.page.write_report` are
the stages that follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from mvlpt_core.contract.errors import InputError

from .association.verdicts import MARGIN
from .catalogue import SCRATCH, STATISTICS
from .choice.groups import Objective
from .gains import controls, relations, shares
from .gains.between import method_agreement
from .gains.image_bootstrap import image_intervals
from .gains.table import GAIN_KINDS, gain_table, seed_gains, single_seed_cells
from .parallel import side_by_side
from .read import pairs
from .read.study import Factors, factor_frame, families
from .tables import call, completions, explanations, groupings, made, rankings


def statistics(
    transfer: pd.DataFrame,
    outcomes: pd.DataFrame,
    truth: pd.DataFrame,
    similarity: pd.DataFrame,
    tasks: Sequence[str],
    methods: Sequence[str],
    factors: Factors,
    *,
    permutations: int = 10_000,
    bootstrap: int = 2000,
    seed: int = 0,
    margin: float = 1.0,
    margin_rho: float = MARGIN,
    workers: int = 1,
) -> dict[str, pd.DataFrame]:
    """All tables of `catalogue.STATISTICS`; one without rows has its header.

    transfer, outcomes, truth: as `read.gather` makes them; similarity: `similarity.pairs`;
    `tasks`, `methods`: their order in tables and figures; `factors`: grouping factor -> its value
    for each task. `margin`: points of gain that matter, `margin_rho`: correlations that do.
    `permutations` and `bootstrap` are draws a test and an interval, `workers` the processes used. Same
    inputs and `seed`, same tables. A source that is a group of tasks has its gains, and no part in what is
    said of pairs of tasks. Raises InputError for an unusable transfer table, or one with a target or a
    method that the study does not have.
    """
    transfer = _ordered(pairs.check_transfer(transfer), tasks, methods)
    if transfer.empty:
        return made([], STATISTICS, workers)
    images = _image_intervals(transfer, outcomes, truth, bootstrap, seed, workers)
    every = gain_table(transfer, images, margin=margin / 100, tasks=tasks)
    gains = every[every["source"].isin(tasks)]
    tests = {"permutations": permutations, "seed": seed}
    groups = factor_frame(tasks, factors) if factors else None
    calls = explanations(gains, similarity, GAIN_KINDS, **tests, factors=groups, margin=margin_rho)
    calls += rankings(gains, similarity, families(tasks, factors))
    calls += completions(gains, similarity, families(tasks, factors), seed)
    calls += [
        call("variance", shares.variance_table, transfer, tasks=tasks),
        call("asymmetry", controls.asymmetry_table, gains, **tests),
        call("method_agreement", method_agreement, gains, permutations, seed),
        call("diagonal", controls.diagonal_control, gains),
        call("task_effects", controls.task_effects, gains),
    ]
    if groups is not None:
        calls.append(call("relations", relations.relation_table, gains, groups))
        calls.append(call("effects", relations.effect_table, gains, groups, **tests))
    return {**made(calls, STATISTICS, workers), "gains": every}


def groups(
    gains: pd.DataFrame,
    transfer: pd.DataFrame,
    tasks: Sequence[str],
    methods: Sequence[str],
    *,
    seed: int = 0,
    limit: int = 5,
    objective: Objective = "sum",
    workers: int = 1,
) -> pd.DataFrame:
    """Which tasks to tune together, from the table `gains` and the runs behind it: the table
    `groups`, in groups of at most `limit` tasks."""
    transfer = _ordered(pairs.check_transfer(transfer), tasks, methods)
    gains = gains[gains["source"].isin(tasks)]
    calls = []
    if len(gains):
        options: dict[str, Any] = {"seed": seed, "limit": limit, "objective": objective}
        calls = groupings(gains, transfer, tasks, **options)
    return made(calls, ["groups"], workers)["groups"]


def _ordered(transfer: pd.DataFrame, tasks: Sequence[str], methods: Sequence[str]) -> pd.DataFrame:
    """The transfer table method by method, in their order."""
    for column, known in (("method", methods), ("target", tasks)):
        strange = transfer.loc[~transfer[column].isin(list(known)), column]
        if len(strange):
            raise InputError(
                f"transfer table: {column} '{strange.iloc[0]}' is not in the study: "
                f"expected one of {', '.join(known)}"
            )
    place = {method: i for i, method in enumerate(methods)}
    return transfer.sort_values(
        "method", kind="stable", key=lambda m: m.map(place), ignore_index=True
    )


def _image_intervals(
    transfer: pd.DataFrame,
    outcomes: pd.DataFrame,
    truth: pd.DataFrame,
    bootstrap: int,
    seed: int,
    workers: int,
) -> pd.DataFrame | None:
    """Intervals over test images for pairs of one seed; None where there are no such pairs or no
    outcomes."""
    single = single_seed_cells(seed_gains(transfer))
    if single.empty or outcomes.empty:
        return None
    keys = ["method", "source", "target", "seed"]
    wanted = pd.MultiIndex.from_frame(outcomes[keys]).isin(pd.MultiIndex.from_frame(single[keys]))
    outcomes = outcomes[(outcomes["source"] == SCRATCH) | wanted]
    calls: list[partial[pd.DataFrame]] = [
        partial(
            image_intervals,
            part,
            truth[truth["target"] == target],
            replicates=bootstrap,
            seed=seed,
        )
        for target, part in outcomes.groupby("target")
    ]
    found: list[pd.DataFrame] = side_by_side(calls, workers)
    # A target that has its scratch run alone, as sources of a second suite have, gives no row.
    found = [part for part in found if len(part)]
    return pd.concat(found, ignore_index=True) if found else None
