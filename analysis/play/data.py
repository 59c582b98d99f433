"""What the playable heatmap knows: pairs, their seeds and learning curves, in columns of few bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list

from mvlpt_core.contract.layout import RANDOM, Layout

from ..catalogue import SCRATCH
from ..choice.groups import cluster, symmetrise
from ..gains.table import GAIN_KINDS, PAIR, bound_names
from ..read import pairs
from ..read.study import error_matrix, why_no_gain
from ..view import View
from ..vocabulary import pretty

DIGITS = 5  # decimals of scores and gains: a thousandth of a point
ESTIMATED = "estimated, not measured"
FIGURES = 4  # significant figures of similarities, which have all scales, and of q
Frames = Mapping[str, pd.DataFrame]


def pair_data(
    view: View, parts: Mapping[Any, Frames], prompts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The pairs of all `parts` (shots -> its frames), for JSON: missing numbers are None.

    tasks, methods, shots, verdicts: lists, to which `cells`, `runs` and `curves` refer by number. kinds: key,
    label, unit, scale and colour limit (score units, by method) of each kind of gain; measures: similarities'
    names; orders: label and place of each task; clusters: "shots method" (by number) -> place of each task.
    cells: columns with an entry a shots, method, source and target. runs: the seeds behind cells; curves:
    scores at steps (by number of their `sets`), source -1 for scratch. prompts: see `kept_prompts`.
    """
    every = list(parts.values())
    gains = [_gains(view, frames).assign(shots=i) for i, frames in enumerate(every)]
    alike = [_alike(g, frames["similarity"]) for g, frames in zip(gains, every, strict=True)]
    cells, measures = pd.concat(gains, ignore_index=True), pd.concat(alike, ignore_index=True)
    tasks = view.order(cells)
    methods = [method for method in view.methods if method in set(cells["method"])]
    verdicts = [verdict for verdict in dict.fromkeys(cells["verdict"]) if verdict]
    kinds = [kind for kind in GAIN_KINDS if kind in cells]
    at = {"task": _numbers(tasks), "method": _numbers(methods)}
    clusters = {
        f"{i} {j}": order
        for i, frames in enumerate(every)
        for j, method in enumerate(methods)
        if (order := _clustered(view, frames["gains"], method, tasks))
    }
    return {
        "tasks": tasks,
        "methods": methods,
        "shots": [f"{shots}" for shots in parts],
        "verdicts": verdicts,
        "kinds": [_kind(view, kind, cells) for kind in kinds],
        "measures": [pretty(str(name)) for name in measures],
        "orders": _orders(view, tasks),
        "clusters": clusters,
        "cells": {
            "shots": cells["shots"].tolist(),
            **_ends(cells, at),
            "verdict": [verdicts.index(v) if v else -1 for v in cells["verdict"]],
            "n": _plain(cells["n_seeds"], 0),
            "diverged": _plain(cells["n_diverged"], 0),
            "q": _plain(cells["q"], figures=FIGURES),
            "values": [
                [_plain(cells[name], DIGITS) for name in (kind, *bound_names(kind))]
                for kind in kinds
            ],
            "measures": [_plain(measures[name], figures=FIGURES) for name in measures],
        },
        "runs": _runs(every, at),
        "curves": _curves(every, at),
        "prompts": prompts,
    }


def kept_prompts(sources: Sequence[str], pairs_too: bool) -> dict[str, Any]:
    """Where prompts lie, seen from the page: the `pattern` of their paths, the `sources` that have one of
    their own, and whether every pair's is kept (`pairs`)."""
    names = ("method", "group", "start", "shots", "seed")
    pattern = Layout(".").prompt(*(f"{{{name}}}" for name in names))
    return {"pattern": pattern, "start": RANDOM, "sources": list(sources), "pairs": pairs_too}


def _gains(view: View, frames: Frames) -> pd.DataFrame:
    """The rows of the view's methods, with all columns that the page shows of a kind of gain; pairs that were
    not measured as they are estimated, which is their verdict."""
    gains = frames["gains"]
    done = frames.get("completed", pd.DataFrame())
    if len(done):
        known = pd.MultiIndex.from_frame(gains[PAIR])
        absent = ~pd.MultiIndex.from_frame(done[PAIR]).isin(known) & done["estimate"].notna()
        if absent.any():
            done = done[absent].rename(columns={"estimate": "gain"})
            gains = pd.concat([gains, done.assign(verdict=ESTIMATED)])
    rows = gains[gains["method"].isin(list(view.methods))].reset_index(drop=True)
    bounds = [name for kind in GAIN_KINDS if kind in rows for name in bound_names(kind)]
    missing: dict[str, Any] = dict.fromkeys(["n_seeds", "n_diverged", "q", *bounds], np.nan)
    missing["verdict"] = ""
    rows = rows.assign(**{name: value for name, value in missing.items() if name not in rows})
    return rows.assign(verdict=rows["verdict"].fillna(""))


def _alike(gains: pd.DataFrame, similarity: pd.DataFrame) -> pd.DataFrame:
    """A column a similarity, with a row for each of the gains."""
    found = [pd.DataFrame(index=gains.index)]
    owned = pairs.owner(similarity) != ""
    for keys, rows in (
        (["source", "target"], similarity[~owned]),
        (["method", "source", "target"], similarity[owned]),
    ):
        if len(rows):
            wide = rows.pivot_table("value", keys, "measure", sort=False)
            found.append(gains[keys].join(wide, on=keys).drop(columns=keys))
    return pd.concat(found, axis=1)


def _kind(view: View, kind: str, cells: pd.DataFrame) -> dict[str, Any]:
    """A kind of gain for readers; a method's colours end at the 98th percentile of its sizes off the
    diagonal, for all shots, so that one wild cell does not wash out the rest."""
    words = view.wording
    own = kind == GAIN_KINDS[0]
    off = cells[(cells["source"] != cells["target"]) & cells[kind].notna()]
    limits = off[kind].abs().groupby(off["method"]).quantile(0.98)
    return {
        "key": kind,
        "label": words.score_name if own else pretty(kind),
        "unit": words.unit if own else "%",
        "scale": words.scale if own else 100.0,
        "limit": {m: max(_round(x, DIGITS) or 0.0, 0.001) for m, x in limits.items()},
    }


def _orders(view: View, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Orders by `label`, with the place of each task: as listed, by name, by each column of the suite."""
    keys: list[tuple[str, list[Any]]] = [
        ("as listed", list(range(len(tasks)))),
        ("name", [task.casefold() for task in tasks]),
    ]
    for factor, values in view.factors.items():
        known = dict(zip(view.tasks, values, strict=True))
        keys.append((factor, [(known.get(task, "") == "", known.get(task, "")) for task in tasks]))
    return [
        {"label": label, "places": _places(sorted(range(len(tasks)), key=key.__getitem__))}
        for label, key in keys
    ]


def _clustered(view: View, gains: pd.DataFrame, method: str, tasks: Sequence[str]) -> list[int]:
    """Places of the tasks in the order of `figures.clusters`; nothing where there are no clusters. Tasks
    that are not both source and target come last."""
    both = pairs.common_tasks(gains, view.tasks)
    chosen = gains[gains["method"] == method]
    if len(both) < 3 or why_no_gain(gains, method):
        return []
    alike = symmetrise(pairs.square(chosen, "gain", both), error_matrix(chosen, both))
    if not np.isfinite(alike).any():
        return []
    number = _numbers(tasks)
    order = [number[both[i]] for i in leaves_list(cluster(alike))]
    return _places([*order, *(i for i in range(len(tasks)) if i not in order)])


def _places(order: Sequence[int]) -> list[int]:
    """The place of each number in an order of them."""
    out = [0] * len(order)
    for place, number in enumerate(order):
        out[number] = place
    return out


def _runs(parts: Sequence[Frames], at: Mapping[str, Mapping[str, int]]) -> dict[str, list[Any]]:
    """The score of every seed and of scratch beside it."""
    columns = ["method", "source", "target", "seed", "score", "scratch"]
    frames = [
        p["transfer"][columns].assign(shots=i) for i, p in enumerate(parts) if "transfer" in p
    ]
    if not frames:
        return {}
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[rows["method"].isin(list(at["method"]))]
    numbers = {name: _plain(rows[name], DIGITS) for name in ("score", "scratch")}
    keys = {name: rows[name].tolist() for name in ("shots", "seed")}
    return {**keys, **_ends(rows, at), **numbers}


def _curves(parts: Sequence[Frames], at: Mapping[str, Mapping[str, int]]) -> dict[str, list[Any]]:
    """Scores by step of every seed, and of scratch (source -1): columns, and the sets of `steps`."""
    keys = ("shots", "method", "source", "target", "seed")
    out: dict[str, list[Any]] = {name: [] for name in (*keys, "steps", "scores")}
    sets: dict[tuple[int, ...], int] = {}
    tasks = {**at["task"], SCRATCH: -1}
    for i, frames in enumerate(parts):
        rows = frames["curves"]
        if rows.empty:
            continue
        known = {"method": at["method"], "source": tasks, "target": tasks}
        rows = rows.assign(shots=i, **{name: rows[name].map(known[name]) for name in known})
        rows = rows.dropna(subset=list(known)).sort_values([*keys, "step"])
        runs = rows[list(keys)].to_numpy(int)
        steps, scores = rows["step"].tolist(), _plain(rows["score"], 4)
        # Tens of thousands of runs: a group of pandas for each would take seconds.
        first = [0, *(np.flatnonzero((runs[1:] != runs[:-1]).any(1)) + 1).tolist(), len(runs)]
        for start, end in pairwise(first):
            for name, value in zip(keys, runs[start].tolist(), strict=True):
                out[name].append(value)
            out["steps"].append(sets.setdefault(tuple(steps[start:end]), len(sets)))
            out["scores"].append(scores[start:end])
    return {**out, "sets": [list(steps) for steps in sets]}


def _ends(rows: pd.DataFrame, at: Mapping[str, Mapping[str, int]]) -> dict[str, list[int]]:
    """Method, source and target by number."""
    kinds = {"method": "method", "source": "task", "target": "task"}
    return {name: rows[name].map(at[kind]).tolist() for name, kind in kinds.items()}


def _numbers(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _plain(column: pd.Series, digits: int | None = None, figures: int = 0) -> list[float | None]:
    """Numbers for JSON, rounded to decimals or to significant `figures`; None where missing."""
    values = column.to_numpy(float)
    if digits is None:
        return [float(f"{v:.{figures}g}") if math.isfinite(v) else None for v in values]
    return [_round(v, digits) for v in values]


def _round(value: float, digits: int) -> float | None:
    if not math.isfinite(value):
        return None
    rounded = round(float(value), digits)
    return int(rounded) if rounded == int(rounded) else rounded
