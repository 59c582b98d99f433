"""What a plan that was registered before the first run says of a study's results: sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mvlpt_core.contract.registered import GAINS, Registered

from ..association.verdicts import cannot_say
from ..stats.multiplicity import ALPHA, significant
from ..vocabulary import pretty, signed
from .words import interval, p_value, records

NOT_REGISTERED = "No plan was registered before the first run: all of this is exploratory."


def registered_plan(
    plan: Registered,
    whole: bool,
    configuration: str,
    methods: Sequence[str],
    parts: Mapping[Any, Mapping[str, pd.DataFrame]],
) -> dict[str, Any]:
    """The section of the registered plan: `about`, `warnings` of what changed since, `results`.

    `whole`: whether the file is what was written; `configuration`: digest of the study as it is;
    `parts`: the tables by name, by value of shots. Results are of the primary method, gain and
    similarity alone: its mean gain over the tasks against the margin, and its one correlation, at
    p without correction, for it is one test.
    """
    about = (
        f"Registered on {plan.date} (digest {plan.digest}), before the first run: method {plan.method}, "
        f"{pretty(GAINS[plan.gain])}, similarity {pretty(plan.similarity)}, margin {plan.margin:g} "
        f"points, {_listed('seed', plan.seeds)}, {_listed('value', plan.shots)} of shots. All else in "
        "this report is exploratory."
    )
    warnings = []
    if not whole:
        warnings.append("The file of the registered plan was changed after it was registered.")
    if configuration != plan.configuration:
        warnings.append(
            f"The configuration was changed after the plan was registered ({plan.configuration} then, "
            f"{configuration} now): what follows is not what was planned."
        )
    results: list[str] = []
    for shots in plan.shots:
        if plan.method not in methods or shots not in parts:
            results.append(f"{plan.method}, {shots} shots: not in this study, so not answered.")
            continue
        frames = parts[shots]
        lead = f"{plan.method}, {shots} shots: " if len(plan.shots) > 1 else f"{plan.method}: "
        results.append(lead + _mean(plan, frames["diagonal"]))
        results.append(lead + _correlation(plan, frames["correlations"]))
    return {"about": about, "warnings": warnings, "results": results}


def _listed(noun: str, values: Sequence[int]) -> str:
    plural = noun if len(values) == 1 else f"{noun}s"
    return f"{plural} {', '.join(map(str, values))}"


def _mean(plan: Registered, diagonal: pd.DataFrame) -> str:
    kind = GAINS[plan.gain]
    chosen = diagonal[(diagonal["method"] == plan.method) & (diagonal["gain_kind"] == kind)]
    if chosen.empty or not np.isfinite(chosen["transfer_gain_low"].iloc[0]):
        return f"the mean {pretty(kind)} has no interval, so the plan is not answered."
    row = records(chosen)[0]
    mean, low, high = (100 * row[f"transfer_gain{end}"] for end in ("", "_low", "_high"))
    size = f"{signed(mean)}{interval(low, high)} points over {int(row['n_tasks'])} targets"
    return f"the mean {pretty(kind)} is {size}: {verdict(low, high, plan.margin)}."


def verdict(low: float, high: float, margin: float) -> str:
    """What an interval says beside a margin: a gain, a loss, neither beyond the margin, or nothing."""
    if low > margin:
        return f"a gain beyond the margin of {margin:g}"
    if high < -margin:
        return f"a loss beyond the margin of {margin:g}"
    if -margin <= low and high <= margin:
        return f"no gain or loss beyond the margin of {margin:g}"
    if low > 0:
        return f"a gain, not established to be beyond the margin of {margin:g}"
    if high < 0:
        return f"a loss, not established to be beyond the margin of {margin:g}"
    return f"not established to be a gain, a loss, or within the margin of {margin:g}"


def _correlation(plan: Registered, table: pd.DataFrame) -> str:
    name, kind = pretty(plan.similarity), GAINS[plan.gain]
    rows = table[
        (table["method"] == plan.method)
        & (table["gain_kind"] == kind)
        & (table["measure"] == plan.similarity)
        & (table["scope"] == "pooled")
        & (table["statistic"] == "spearman")
    ]
    if rows.empty or not np.isfinite(rows["p_permutation"].iloc[0]):
        return f"the correlation with {name} was not tested, so the plan is not answered."
    row = records(rows)[0]
    span = interval(row["low"], row["high"], 2)
    size = f"rho = {signed(row['value'], 2)}{span}, {p_value(row['p_permutation'])}"
    if not significant(row["p_permutation"]):
        said = cannot_say(row["verdict"], row["margin"], row["told"]) or "unclear"
        return f"the correlation of the {pretty(kind)} with {name} is {said} ({size}; one test at {ALPHA})."
    if row["low"] <= 0 <= row["high"]:
        return (
            f"that the {pretty(kind)} goes with {name} is not established, for its interval holds 0 "
            f"({size}; one test at {ALPHA})."
        )
    way = "grows" if row["value"] > 0 else "falls"
    return f"the {pretty(kind)} {way} with {name} ({size}; one test at {ALPHA})."
