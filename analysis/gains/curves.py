"""Learning curves of transfer against scratch, as frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..read.study import similarity_frame
from ..stats.resample import mean_interval, task_counts
from ..vocabulary import pretty


def nearest_sources(
    gains: pd.DataFrame, similarity: pd.DataFrame, measures: Sequence[str], method: str
) -> dict[str, pd.DataFrame]:
    """For each measure the source (columns target, source) that it ranks first for a target,
    chosen without any gain."""
    nearest = {}
    for measure in measures:
        frame = similarity_frame(similarity, measure, method)
        frame = frame[~frame["diagonal"] & frame["source"].isin(gains["source"])]
        frame = frame.dropna(subset=["value"])
        first = frame.loc[frame.groupby("target")["value"].idxmax(), ["target", "source"]]
        nearest[f"nearest by {pretty(measure)}"] = first
    return nearest


def curve_frame(
    curves: pd.DataFrame,
    method: str,
    nearest: Mapping[str, pd.DataFrame] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean score by step, in points from the target's final scratch score: start, step, points,
    low, high.

    `curves`: method, source ("scratch" too), target, seed, step, score, split; rows of the split
    "curve" count, a fixed sample of the test images. `nearest`: name of a
    choice of sources -> target, source. Starts: "scratch", "all sources" and these names. Own
    prompts are left out; cells without a final score are too.
    Intervals by a bootstrap over targets.
    """
    curves = curves[curves["split"] == "curve"]
    frame = curves[(curves["method"] == method) & (curves["source"] != curves["target"])]
    last = frame["step"].max()
    final = frame[frame["step"] == last].dropna(subset=["score"])
    frame = frame.merge(final[["source", "target", "seed"]], on=["source", "target", "seed"])
    base = final[final["source"] == "scratch"][["target", "seed", "score"]]
    frame = frame.merge(base.rename(columns={"score": "base"}), on=["target", "seed"])
    frame = frame.dropna(subset=["score"])
    frame["points"] = 100 * (frame["score"] - frame["base"])
    scratch = frame["source"] == "scratch"
    parts = {"scratch": frame[scratch], "all sources": frame[~scratch]}
    for name, chosen in (nearest or {}).items():
        parts[name] = frame.merge(chosen[["source", "target"]])
    rows = []
    for start, part in parts.items():
        if part.empty:
            continue
        wide = part.pivot_table(index="target", columns="step", values="points").dropna(axis=1)
        values = wide.to_numpy(float)
        counts = task_counts(len(values), bootstrap, seed)
        low, high = np.array([mean_interval(column, counts)[1:] for column in values.T]).T
        rows.append(
            pd.DataFrame(
                {
                    "start": start,
                    "step": wide.columns.to_numpy(),
                    "points": values.mean(0),
                    "low": low,
                    "high": high,
                }
            )
        )
    columns = ["start", "step", "points", "low", "high"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def reached(frame: pd.DataFrame) -> pd.DataFrame:
    """Step at which each start of a `curve_frame` first reaches the final scratch score (linear
    between evaluations): start, step, share (of the budget); NaN when it never does."""
    rows = []
    for start, part in frame.groupby("start", sort=False):
        steps, points = part["step"].to_numpy(float), part["points"].to_numpy(float)
        above = np.flatnonzero(points >= -1e-9)
        step = np.nan
        if len(above):
            i = int(above[0])
            step = steps[i]
            if i and points[i] > points[i - 1]:
                step -= (steps[i] - steps[i - 1]) * points[i] / (points[i] - points[i - 1])
        rows.append((start, step, step / steps.max() if steps.max() > 0 else np.nan))
    return pd.DataFrame(rows, columns=["start", "step", "share"])
