"""Made-up scores of a study whose means can be seen, for the tests of the benchmarks."""

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from mvlpt_analysis.benchmark.generalisation import Way

T2 = stats.t.ppf(0.975, 1)  # Student's t of two seeds or targets
ZERO = {"a": 0.2, "b": 0.4, "c": 0.6, "d": 0.1, "e": 0.3}


def run(method, group, start, target, score, shots=5, seed=1, step0=0.15):
    """A row of a study's scores."""
    return {
        "method": method,
        "group": group,
        "start": start,
        "shots": shots,
        "seed": seed,
        "target": target,
        "metric": "accuracy",
        "score": np.nan if score is None else score,
        "scratch": np.nan,
        "zero_shot": ZERO[target],
        "step0": step0,
        "selected_step": 10,
        "status": "diverged" if score is None else "ok",
        "n": 100,
    }


def alone(method, start, target, *scores, shots=5, **more):
    """Runs of a task tuned alone, a seed a score."""
    return [
        run(method, target, start, target, score, shots=shots, seed=seed, **more)
        for seed, score in enumerate(scores, 1)
    ]


def frame(*rows):
    return pd.DataFrame(list(itertools.chain(*rows)))


def cell(table, entry, target, shots=5):
    (row,) = table[
        (table["entry"] == entry) & (table["target"] == target) & (table["shots"] == shots)
    ].to_dict("records")
    return row


def average(table, entry, shots=5):
    (row,) = table[(table["entry"] == entry) & (table["shots"] == shots)].to_dict("records")
    return row


def difference(table, entry, minus, target=None, shots=5):
    mine = (table["entry"] == entry) & (table["minus"] == minus) & (table["shots"] == shots)
    where = table["target"].isna() if target is None else table["target"] == target
    (row,) = table[mine & where].to_dict("records")
    return row


FEW = (
    alone("text", "random", "a", 0.5, 0.7),
    alone("text", "random", "b", 0.8, 0.8),
    alone("visual", "random", "a", 0.6, 0.6),
    alone("visual", "random", "b", 0.5, 0.9),
    alone("linear_probe", "zero_shot", "a", 0.3, 0.5),
    alone("linear_probe", "zero_shot", "b", 0.6, 0.6),
    # Another kind of run of the same target is not part of this table.
    alone("text", "b", "a", 0.99, 0.99),
)


GROUPS = {"set": ("c", "d"), "wide": ("a", "b", "c"), "pair": ("a", "b")}


def way(name, targets, label=None):
    """The way to start targets from the prompt of a group."""
    starts = dict.fromkeys(targets, name)
    return Way(label or name, starts, dict.fromkeys(targets, GROUPS[name]))


TRANSFER = (
    *FEW,
    alone("text", "set", "a", 0.8, 0.9, step0=0.25),
    alone("text", "set", "b", 0.7, 0.8, step0=0.5),
    alone("visual", "set", "a", 0.6, 0.7),
    alone("visual", "set", "b", 0.6, 0.8),
    alone("text", "c", "a", 0.9, 0.6),
    alone("text", "d", "a", 0.7, 0.9),
    alone("text", "a", "a", 0.95, 0.95),
)


def together(method, group, start, scores, seed=1):
    return [run(method, group, start, target, s, seed=seed) for target, s in scores.items()]


JOINT = (
    *FEW,
    together("text", "pair", "random", {"a": 0.9, "b": 0.7}, 1),
    together("text", "pair", "random", {"a": 0.7, "b": 0.9}, 2),
)
