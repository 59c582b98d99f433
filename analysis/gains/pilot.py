"""Noise of gains, estimated from the tables of a study that ran: what a plan of the next one needs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.outcomes import PREDICTION, decode, decode_truth

from ..catalogue import SCRATCH
from ..read.gather import TRANSFER_COLUMNS
from ..read.study import between, from_tasks
from ..stats.power import Noise
from ..stats.variance import fit_prior
from .table import PAIR, seed_gains

# The built-in testbed at 8 shots, by method; docs/plan.md has the studies behind it. Seeds: 8 tasks of
# two families, seeds 1 and 2. Images and tasks: all 20, seed 1, the seeds' part taken off the tasks'.
TESTBED = {
    "text": Noise(0.0547, 0.97, 0.401, 0.1552, 0.1552),
    "visual": Noise(0.0254, 3.35, 0.075, 0.0282, 0.0293),
    "unified": Noise(0.0314, 0.79, 0.340, 0.1407, 0.1032),
}


def pilot_noise(
    transfer: pd.DataFrame, outcomes: pd.DataFrame, truth: pd.DataFrame
) -> dict[str, Noise]:
    """The noise of each method's gains, from a study's gathered tables of one value of shots.

    Pairs are of two different tasks. Between seeds: the prior of the pairs' variances
    (`stats.variance.fit_prior`). Between images: the mean share of test images on which run and
    scratch differ in being right, where predictions are stored. Between tasks: the jackknife over
    tasks of the mean gain, a task left out in both roles, less what seeds explain of it.
    Raises `InputError` for a study with one seed or fewer than three tasks in both roles.
    """
    missing = set(TRANSFER_COLUMNS) - {"shots"} - set(transfer.columns)
    if missing:
        raise InputError(f"pilot: column '{min(missing)}' is missing: expected a study's transfer")
    gains = seed_gains(transfer)
    tasks = set(gains["target"])
    gains = between(gains, tasks)
    shares = _discordance(from_tasks(outcomes, tasks), truth)
    found = {}
    for method, own in gains.groupby("method", sort=False):
        counted = own.groupby(PAIR)["gain"].agg(["var", "count"])
        several = counted[(counted["count"] >= 2) & counted["var"].notna()]
        if several.empty:
            raise InputError(
                f"pilot: method '{method}' has one seed: expected at least two, to know how gains "
                "vary over seeds"
            )
        df = several["count"].to_numpy() - 1.0
        variance, strength = fit_prior(several["var"].to_numpy(), df)
        task_sd, task_seed_sd = _task_spread(own, str(method))
        mine = shares[shares["method"] == method]["share"]
        if mine.empty:
            raise InputError(f"pilot: method '{method}' has no stored predictions: expected some")
        found[str(method)] = Noise(
            float(np.sqrt(variance)), strength, float(mine.mean()), task_sd, task_seed_sd
        )
    return found


def _task_spread(gains: pd.DataFrame, method: str) -> tuple[float, float]:
    """Standard deviations behind a mean gain: of tasks, and of seeds in one task's share of it."""
    tasks = sorted(set(gains["source"]) & set(gains["target"]))
    count = len(tasks)
    if count < 3:
        raise InputError(
            f"pilot: method '{method}' has {count} tasks that are source and target: expected at "
            "least three"
        )
    by_seed = {
        int(str(seed)): own.groupby(["source", "target"])["gain"].mean()
        for seed, own in gains.groupby("seed")
    }
    spread = _jackknife(gains.groupby(["source", "target"])["gain"].mean(), tasks)
    # Differences of two seeds hold no task effects: half their variance is one seed's.
    seeds = sorted(by_seed)
    halves = [_jackknife((by_seed[b] - by_seed[a]).dropna(), tasks) / 2 for a, b in pairwise(seeds)]
    noise = float(np.mean(halves))
    return float(np.sqrt(max(spread - noise / len(seeds), 0.0))), float(np.sqrt(noise))


def _jackknife(pairs: pd.Series, tasks: list[str]) -> float:
    """Variance per task: T times the jackknife variance of the mean over pairs (Efron and Stein 1981,
    Annals of Statistics 9, 586-596), a task left out as source and as target."""
    source = pairs.index.get_level_values("source")
    target = pairs.index.get_level_values("target")
    means = np.array([pairs[(source != task) & (target != task)].mean() for task in tasks])
    count = len(tasks)
    # (T - 1) / T times the sum of squares is the variance of the mean.
    return float((count - 1) * ((means - means.mean()) ** 2).sum())


def _discordance(outcomes: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Share of test images on which a run and its scratch run differ in being right: method, share."""
    labels = {
        str(target): decode_truth(raw, n, metric)
        for target, metric, n, raw in truth[["target", "metric", "n", "truth"]].to_numpy()
    }
    rows = []
    stored = outcomes[outcomes["outcome_kind"] == PREDICTION]
    for (method, target, _), own in stored.groupby(["method", "target", "seed"], sort=False):
        goal = labels[str(target)]
        right = {
            source: decode(raw, PREDICTION, len(goal), f"target '{target}'") == goal
            for source, raw in own[["source", "outcomes"]].to_numpy()
        }
        if SCRATCH not in right:
            continue
        rows += [
            (method, float(np.mean(answer != right[SCRATCH])))
            for source, answer in right.items()
            if source not in (SCRATCH, target)
        ]
    return pd.DataFrame(rows, columns=["method", "share"])
