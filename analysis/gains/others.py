"""What stands for the gain in tables by others, for each seed and with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..read import pairs
from ..stats.multiplicity import benjamini_hochberg, significant
from .table import PAIR, standard_errors, t_interval

KINDS = ("gain", "minus_scratch", "relative", "standardised")
DIFFERENCES = ("gain", "minus_scratch")  # of scores, in their unit
SEED_COLUMNS = (*PAIR, "seed", "score", "gain")
PLAIN_COLUMNS = (*PAIR, "score", "gain")
# What several seeds add.
INTERVAL_COLUMNS = (
    *("n_seeds", "low", "high", "se", "df", "interval"),
    *("excludes_zero", "p", "q", "significant"),
)


def kind_of(frames: Sequence[pd.DataFrame]) -> str:
    """What stands for the gain, by what all tables have."""
    for column, kind in (("gain", "gain"), ("scratch", "minus_scratch")):
        if all(column in frame.columns for frame in frames):
            return kind
    gains = ["gain" in frame.columns for frame in frames]
    if all(given or "scratch" in frame for given, frame in zip(gains, frames, strict=True)):
        return "gain"
    if any(gains):  # which are no scores, so that an own one is no unit
        return "standardised"

    # Affinities have no natural zero and no common scale: a table is read as scores only where
    # nearly every target has one of its own and scores are of one size.
    def scores(frame: pd.DataFrame) -> bool:
        known = frame["score"].notna()
        covered = _own(frame)[known].notna().mean() > 0.8
        low, high = frame.loc[known, "score"].quantile([0.1, 0.9])
        return bool(covered and high > 0.05 and low >= 0)

    return "relative" if all(scores(frame) for frame in frames) else "standardised"


def in_shares(frame: pd.DataFrame) -> bool:
    """Whether scores are shares, from -1 to 1, and not percent or another unit."""
    values = frame[[column for column in ("score", "gain", "scratch") if column in frame]]
    return bool(values.apply(pd.to_numeric, errors="coerce").abs().max(axis=None) <= 1)


def run_gains(frame: pd.DataFrame, kind: str, path: Path) -> pd.Series:
    if kind not in KINDS:
        raise InputError(f"gain is '{kind}': expected one of auto, {', '.join(KINDS)}")
    if kind == "gain" and "gain" not in frame.columns and "scratch" in frame.columns:
        kind = "minus_scratch"
    needed = {"gain": "gain", "minus_scratch": "scratch"}.get(kind)
    if needed is not None and needed not in frame.columns:
        raise InputError(f"{path}: column '{needed}' is missing: expected it for gain '{kind}'")
    if kind == "gain":
        return pairs.numeric(frame, "gain", str(path))
    if kind == "minus_scratch":
        return frame["score"] - pairs.numeric(frame, "scratch", str(path))
    if kind == "relative":
        return _own(frame) - 1
    keys = [frame[c] for c in ("method", "target") if c in frame]
    run = [*keys, frame["seed"]] if "seed" in frame else keys
    # The target's own score is no transfer and may dwarf the rest.
    other = frame["score"].where(frame["source"] != frame["target"])
    # Seeds share a scale, that of the sources' means over them, and each has its own level.
    of_source = other.groupby([*keys, frame["source"]]).mean()
    spread = of_source.groupby(level=list(range(len(keys)))).std()
    place = pd.MultiIndex.from_arrays(keys) if len(keys) > 1 else keys[0]
    scale = pd.Series(spread.reindex(place).to_numpy(float), frame.index)
    return (frame["score"] - other.groupby(run).transform("mean")) / scale.where(scale > 0)


def has_seeds(runs: pd.DataFrame) -> bool:
    """Whether some pair has a gain for more than one seed."""
    if "seed" not in runs:
        return False
    return bool((runs.groupby(PAIR)["gain"].count() > 1).any())


def pair_gains(runs: pd.DataFrame, kind: str, intervals: bool, level: float = 0.95) -> pd.DataFrame:
    """One row a pair (`PLAIN_COLUMNS`, with `intervals` `INTERVAL_COLUMNS` too) of a row a run
    (`SEED_COLUMNS`, without seed where there is one alone); `kind`: what stands for the gain.

    Intervals are t over seeds, each pair's variance moderated as in a study (`gains.table`). A pair of one
    seed has none, and neither has one whose seeds agree to the last digit where no other pair says how
    seeds differ. q is Benjamini-Hochberg over a method's pairs off the diagonal.
    """
    groups = runs.groupby(PAIR, sort=False)
    table = groups[["score", "gain"]].mean()
    if not intervals:
        return table.reset_index()[list(PLAIN_COLUMNS)]
    table["n_seeds"] = groups["gain"].count()
    spread = groups["gain"].std(ddof=1).to_numpy(float)
    table = table.reset_index()
    own = table["source"] == table["target"]
    if kind == "relative":  # the own score against itself is 0 for every seed
        spread = np.where(own, np.nan, spread)
    methods, targets = (table[column].to_numpy() for column in ("method", "target"))
    se, df = standard_errors(spread, table["n_seeds"].to_numpy(), methods, targets)
    unknown = ~(se > 0)
    se, df = (np.where(unknown, np.nan, values) for values in (se, df))
    gain = table["gain"].to_numpy(float)
    half, p = t_interval(gain, se, df, level)
    table["se"], table["df"], table["p"] = se, df, p
    table["low"], table["high"] = gain - half, gain + half
    table["interval"] = np.where(unknown, "none", "seeds")
    table["excludes_zero"] = (table["low"] > 0) | (table["high"] < 0)
    tested = table["p"].where(~own)
    table["q"] = tested.groupby(table["method"]).transform(benjamini_hochberg)
    table["significant"] = significant(table["q"])
    return table[[*PLAIN_COLUMNS, *INTERVAL_COLUMNS]]


def _own(frame: pd.DataFrame) -> pd.Series:
    """score / own score of the same method and seed."""
    keys = [frame[c] for c in ("method", "seed") if c in frame] or [pd.Series("", frame.index)]
    parts = [pairs.relative_to_own(part) for _, part in frame.groupby(keys, sort=False)]
    return pd.concat(parts).reindex(frame.index)
