"""Multitask adaptation: tasks tuned together with one prompt, each against itself tuned alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from ..stats.variance import mean_interval, mean_intervals
from .table import check_scores

ADAPTATION_COLUMNS = (
    *("method", "start", "shots", "group", "target", "together", "alone"),
    *("difference", "low", "high", "p", "n", "unit", "judged_on", "reason"),
)
GIVEN, OTHERS, SAME = "given groups", "other seeds", "the seeds that found the groups"
_CELL = ["method", "start", "shots"]


def adaptation(
    scores: pd.DataFrame,
    groups: Mapping[str, Sequence[str]],
    found_on: Mapping[str, Collection[int]] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """`ADAPTATION_COLUMNS` of all groups: those that were found on other seeds are judged apart (`judge`)."""
    apart: dict[tuple[int, ...], dict[str, Sequence[str]]] = {}
    for group, members in groups.items():
        seeds = tuple(sorted((found_on or {}).get(group, ())))
        apart.setdefault(seeds, {})[group] = members
    found = [judge(scores, some, seeds, level) for seeds, some in apart.items()]
    return pd.concat([found[0].iloc[:0], *filter(len, found)], ignore_index=True)


def judge(
    scores: pd.DataFrame,
    groups: Mapping[str, Sequence[str]],
    found_on: Collection[int] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """`ADAPTATION_COLUMNS`: what tuning the tasks of a group together adds, by method, start and shots.

    `groups` are the groups to judge with their members. A task alone has the same start: random, or a
    set's prompt. Rows with a `group` and a `target` are paired over seeds (`unit` seeds, the
    tasks' variances moderated by one another); those with a `group` alone are means over its tasks, those
    without either over all tasks (`unit` targets; a task of several groups counts once, with the mean of its
    differences).
    `found_on` are the seeds from whose gains the groups were found: they are left out where others
    are left to judge by, for groups look better on the seeds that they were chosen by; `judged_on` says
    what was possible. No rows where none of the groups was tuned.
    """
    scores = check_scores(scores)
    joint = scores[scores["group"].isin(list(groups)) & (scores["group"] != scores["target"])]
    if joint.empty:
        return pd.DataFrame(columns=list(ADAPTATION_COLUMNS))
    judged = GIVEN
    if found_on:
        other = ~scores["seed"].isin(list(found_on))
        judged = OTHERS if (other & scores.index.isin(joint.index)).any() else SAME
        if judged == OTHERS:
            scores, joint = scores[other], joint[~joint["seed"].isin(list(found_on))]
    alone = scores[scores["group"] == scores["target"]]
    keys = [*_CELL, "target", "seed"]
    both = joint.merge(alone[[*keys, "score"]], on=keys, how="left", suffixes=("", "_alone"))
    both["d"] = both["score"] - both["score_alone"]
    rows: list[tuple[object, ...]] = []
    for cell, part in both.groupby(_CELL):
        here = [name for name in groups if (part["group"] == name).any()]
        pairs = [(group, target) for group in here for target in groups[group]]
        by_task = dict(zip(pairs, _judged(part, pairs, level), strict=True))
        for group in here:
            of_group = part[part["group"] == group]
            for target in groups[group]:
                rows.append((*cell, group, target, *by_task[group, target], "seeds", judged))
            rows.append((*cell, group, None, *_mean(of_group, level), "targets", judged))
        rows.append((*cell, None, None, *_mean(part, level), "targets", judged))
    table = pd.DataFrame(rows, columns=[c for c in ADAPTATION_COLUMNS if c != "reason"])
    table["reason"] = [_reason(row, both, groups) for _, row in table.iterrows()]
    return table[list(ADAPTATION_COLUMNS)]


def _judged(
    runs: pd.DataFrame, pairs: Sequence[tuple[str, str]], level: float
) -> list[tuple[float, ...]]:
    """Of each (group, task): means together and alone over the seeds that have both, the difference's
    interval, p and n."""
    paired = runs[runs["d"].notna()]
    parts = [paired[(paired["group"] == g) & (paired["target"] == t)] for g, t in pairs]
    intervals = mean_intervals([part["d"].to_numpy(float) for part in parts], level)
    return [
        (*part[["score", "score_alone"]].mean().to_numpy(float), *interval, len(part))
        for part, interval in zip(parts, intervals, strict=True)
    ]


def _mean(runs: pd.DataFrame, level: float) -> tuple[float, ...]:
    """The same over tasks: each is the mean over its groups of the means over seeds."""
    paired = runs[runs["d"].notna()]
    values = ["score", "score_alone", "d"]
    by_group = paired.groupby(["target", "group"])[values].mean()
    by_task = by_group.groupby(level="target").mean()
    means = by_task[["score", "score_alone"]].mean()
    d = by_task["d"].to_numpy(float)
    return (*means.to_numpy(float), *mean_interval(d, level), len(d))


def _reason(row: pd.Series, both: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> str:
    """Why a difference is missing, or which tasks a mean leaves out."""
    same = np.logical_and.reduce([both[key] == row[key] for key in _CELL])
    here = both[same]
    if isinstance(row["group"], str):
        here = here[here["group"] == row["group"]]
    if row["unit"] == "targets":
        wanted = dict.fromkeys(t for name in here["group"].unique() for t in groups[name])
        known = set(here.loc[here["d"].notna(), "target"])
        left = [task for task in wanted if task not in known]
        return f"left out: {', '.join(left)}" if left else ""
    here = here[here["target"] == row["target"]]
    if here.empty:
        return "no run"
    if here["d"].notna().any():
        return ""
    return "diverged" if here["score"].isna().all() else "no run of the task alone"
