"""Tables that others made: any tidy source, target, score table gets figures and a report.

What stands for the gain is chosen by what the table has: its `gain`; `score - scratch`; the score
relative to the target's own (score[s, t] / score[t, t] - 1, Su et al. 2022); else the score
standardised within its target, which makes targets of different scales comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from .battery import choices, explanations, joined, write_tables
from .choice.groups import profile_clusters
from .figures.gallery import draw_figures
from .parallel import side_by_side
from .read import pairs
from .report.page import write_report

GAINS: dict[str, dict[str, Any]] = {
    "gain": {"score_name": "gain", "unit": "points", "scale": 100.0},
    "minus_scratch": {"score_name": "gain over scratch", "unit": "points", "scale": 100.0},
    "relative": {"score_name": "score against the target's own", "unit": "percent", "scale": 100.0},
    "standardised": {
        "score_name": "standardised score",
        "unit": "s.d. within target",
        "scale": 1.0,
    },
}


# Rows that published tables keep beside those of tasks: the target's own network, no training.
BASELINES = ("self", "random", "scratch")


def analyse_tables(
    paths: Sequence[Path],
    out: Path,
    similarity: Path | None = None,
    gain: str = "auto",
    permutations: int = 10_000,
    bootstrap: int = 2000,
    seed: int = 0,
    workers: int = 1,
) -> Path:
    """Analyse one table, or several beside each other, into the folder `out`; returns the report.

    `similarity`: a tidy source, target, measure, value table, or a source, target table with one
    column a measure (higher = more alike); it may be the table itself. `gain`: `auto` or one of
    `GAINS`; `workers`: processes used. Sources named as in `BASELINES` are left out. Writes
    tables/, figures/, correlations.csv and report.html.
    """
    loaded = [_read(path) for path in paths]
    names = _short([path.stem for path in paths])
    kept = [_without_baselines(frame) for frame in loaded]
    dropped = list(dict.fromkeys(name for _, names_ in kept for name in names_))
    loaded = [frame for frame, _ in kept]
    kind = _kind(loaded, paths) if gain == "auto" else gain
    parts = []
    for path, name, frame in zip(paths, names, loaded, strict=True):
        made = frame.assign(gain=_gain(frame, kind, path))
        if "method" not in made.columns:
            made["method"] = name
        elif len(paths) > 1:
            made["method"] = name + " " + made["method"].astype(str)
        parts.append(made)
    gains = pd.concat(parts, ignore_index=True)
    gains = gains[[c for c in ("method", "source", "target", "score", "gain") if c in gains]]
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    alike = pd.DataFrame()
    if similarity is not None:
        alike = read_similarity(similarity)
        pairs.write_frame(alike, out / "similarity.parquet")
    else:
        (out / "similarity.parquet").unlink(missing_ok=True)
    order = pairs.task_order(gains)
    calls = choices(gains, alike, order, None, bootstrap, seed, grouped=False)
    if len(alike):
        calls = explanations(gains, alike, ("gain",), permutations, bootstrap, seed) + calls
    made_tables: dict[str, pd.DataFrame] = {
        "gains": gains,
        "clusters": cluster_table(gains),
        **joined(side_by_side(calls, workers)),
    }
    if len(set(gains["method"])) > 1:
        made_tables["agreement"] = agreement(gains, bootstrap, seed)
    about = {**GAINS[kind], "foreign": True, "left_out": dropped}
    write_tables(out, made_tables, order, about)
    draw_figures(out, workers=workers)
    return write_report(out)


def _short(names: list[str]) -> list[str]:
    """Names of tables without the words that all of them begin with. Errors: a name twice."""
    if len(set(names)) < len(names):
        raise InputError(f"two tables are called {max(names, key=names.count)!r}: rename one")
    words = [name.split("_") for name in names]
    while len(names) > 1 and len({w[0] for w in words}) == 1 and min(map(len, words)) > 1:
        words = [w[1:] for w in words]
    return ["_".join(w) for w in words]


def _without_baselines(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table without sources that are no tasks (`BASELINES`), and the names of these."""
    found = [n for n in BASELINES if n in set(frame["source"]) and n not in set(frame["target"])]
    return frame[~frame["source"].isin(found)].reset_index(drop=True), found


def _read(path: Path) -> pd.DataFrame:
    """A pair table; where it names models or metrics, these take the place of methods."""
    frame = pairs.read_frame(path)
    if "score" not in frame.columns and "gain" in frame.columns:
        frame = frame.assign(score=frame["gain"])
    frame = pairs.check_pairs(frame, name=str(path), keys=("method", "model", "metric", "seed"))
    kinds = [c for c in ("method", "model", "metric") if c in frame and len(set(frame[c])) > 1]
    if kinds:
        frame["method"] = frame[kinds].astype(str).agg(" ".join, axis=1)
    elif "method" in frame:
        frame["method"] = frame["method"].astype(str)
    keys = [c for c in ("method", "source", "target") if c in frame.columns]
    if frame.duplicated(keys).any():  # seeds
        numbers = frame.select_dtypes("number").columns.difference([*keys, "seed"])
        frame = frame.groupby(keys, sort=False)[list(numbers)].mean().reset_index()
    return frame


def _own(frame: pd.DataFrame) -> pd.Series:
    """score / own score, method by method."""
    keys = frame["method"] if "method" in frame else pd.Series("", frame.index)
    parts = [pairs.relative_to_own(part) for _, part in frame.groupby(keys, sort=False)]
    return pd.concat(parts).reindex(frame.index)


def _kind(frames: Sequence[pd.DataFrame], paths: Sequence[Path]) -> str:
    for column, kind in (("gain", "gain"), ("scratch", "minus_scratch")):
        if all(column in frame.columns for frame in frames):
            return kind

    # Affinities have no natural zero and no common scale: a table is read as scores only where
    # nearly every target has one of its own and scores are of one size.
    def scores(frame: pd.DataFrame) -> bool:
        known = frame["score"].notna()
        covered = _own(frame)[known].notna().mean() > 0.8
        low, high = frame.loc[known, "score"].quantile([0.1, 0.9])
        return bool(covered and high > 0.05 and low >= 0)

    return "relative" if all(scores(frame) for frame in frames) else "standardised"


def _gain(frame: pd.DataFrame, kind: str, path: Path) -> pd.Series:
    if kind not in GAINS:
        raise InputError(f"gain {kind!r} is not one of auto, {', '.join(GAINS)}")
    needed = {"gain": "gain", "minus_scratch": "scratch"}.get(kind)
    if needed is not None and needed not in frame.columns:
        raise InputError(f"{path}: column {needed!r} is missing, needed for gain {kind!r}")
    if kind == "gain":
        return pairs.numeric(frame, "gain", str(path))
    if kind == "minus_scratch":
        return frame["score"] - pairs.numeric(frame, "scratch", str(path))
    if kind == "relative":
        return _own(frame) - 1
    keys = [c for c in ("method", "target") if c in frame.columns]
    # The target's own score is no transfer and may dwarf the rest.
    other = frame["score"].where(frame["source"] != frame["target"])
    groups = other.groupby([frame[c] for c in keys])
    spread = groups.transform("std")
    return (frame["score"] - groups.transform("mean")) / spread.where(spread > 0)


def read_similarity(path: Path) -> pd.DataFrame:
    """Tidy source, target, measure, value from a tidy table or one with a column a measure.
    Errors: no measure in it."""
    frame = pairs.read_frame(path)
    if {"measure", "value"} <= set(frame.columns):
        return pairs.check_pairs(frame, value="value", name=str(path))
    taken = {"source", "target", "score", "gain", "scratch", "seed", "n"}
    names = [
        c
        for c in frame.columns
        if c not in taken and pd.api.types.is_numeric_dtype(frame[c]) and not c.endswith("score")
    ]
    if not names or not {"source", "target"} <= set(frame.columns):
        raise InputError(
            f"{path}: no similarity in it, expected columns source, target, measure, value, or "
            "source, target and one column of numbers for each measure"
        )
    long = frame.melt(["source", "target"], names, var_name="measure", value_name="value")
    return pairs.check_pairs(long, value="value", name=str(path))


def cluster_table(gains: pd.DataFrame) -> pd.DataFrame:
    """method, cluster, task: sources by `grouping.profile_clusters`."""
    parts = []
    for method, frame in gains.groupby("method", sort=False):
        wide = pairs.pivot(frame, "gain")
        own = np.array(wide.index)[:, None] == np.array(wide.columns)[None, :]
        labels = profile_clusters(wide.to_numpy(float), own) + 1
        table = pd.DataFrame({"method": method, "cluster": labels, "task": wide.index})
        parts.append(table.sort_values("cluster", kind="stable"))
    return pd.concat(parts, ignore_index=True)


def agreement(gains: pd.DataFrame, bootstrap: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How far the tables of `gains` agree on the pairs they share, off the diagonal: a, b, n_pairs,
    spearman (all pairs), spearman_per_target (mean over targets) with low, high from a bootstrap
    over targets."""
    off = gains[gains["source"] != gains["target"]]
    wide = off.pivot_table(index=["source", "target"], columns="method", values="gain", sort=False)
    rng = np.random.default_rng(seed)
    rows = []
    for a, b in combinations(dict.fromkeys(gains["method"]), 2):
        if a not in wide or b not in wide:
            continue
        both = wide[[a, b]].dropna()
        ranks = both.groupby(level="target").rank()
        by_target = [
            part[a].corr(part[b])
            for _, part in ranks.groupby(level="target")
            if len(part) >= 3 and len(set(part[a])) > 1 and len(set(part[b])) > 1
        ]
        values = np.array(by_target)
        low = high = np.nan
        if len(values) >= 3:
            draws = values[rng.integers(len(values), size=(bootstrap, len(values)))].mean(1)
            low, high = np.percentile(draws, [2.5, 97.5])
        pooled = both[a].rank().corr(both[b].rank()) if len(both) >= 3 else np.nan
        mean = values.mean() if len(values) else np.nan
        rows.append((a, b, len(both), pooled, mean, low, high))
    names = ["a", "b", "n_pairs", "spearman", "spearman_per_target", "low", "high"]
    return pd.DataFrame(rows, columns=names)
