"""Pairs ranked before any transfer run: by what each source's prompt promises for a target.

The four scores of `vocabulary.SCREENS` are made from the loss of a target's few-shot sample at each source's
prompt and its gradient (`mvlpt_core.screen`). Pairs are ranked by the loss, which was chosen while looking at
the built-in testbed with seed 1; the others are judged beside it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..vocabulary import SCREENS

SCREEN_COLUMNS = (
    *("method", "source", "target", "rank", "loss", "start_loss", "gradient", "descent", "toward"),
    *("n_seeds", "n", "operations", "run_operations"),
)
_PAIR = ["method", "source", "target"]
# Where more is less promising.
_LESS = ("loss", "descent", "gradient")


def screen_table(rows: pd.DataFrame) -> pd.DataFrame:
    """`SCREEN_COLUMNS`, one row a pair, means over seeds, from rows of `contract.rows.SCREEN` at one value of
    shots.

    descent: the loss that the gradient promises at the distance that tuning moves a prompt, on average over
    the sources. rank: 1 for the source of least loss among a target's, the target itself and undefined losses
    left out.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(SCREEN_COLUMNS))
    moved = rows.groupby(["method", "target", "seed"])["distance"].transform("mean")
    rows = rows.assign(descent=rows["loss"] - rows["gradient"] * moved, n_seeds=1)
    means = [c for c in SCREEN_COLUMNS if c not in (*_PAIR, "rank", "n_seeds")]
    how = dict.fromkeys(means, "mean") | {"n_seeds": "sum"}
    table = rows.groupby(_PAIR, sort=False, as_index=False).agg(how)
    others = table["loss"].where(table["source"] != table["target"])
    table["rank"] = others.groupby([table["method"], table["target"]]).rank(method="min")
    return table[list(SCREEN_COLUMNS)]


def screen_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The scores of a `screen_table` as a table of similarities has them (source, target, measure, value,
    method): higher promises more."""
    parts = []
    for score in SCREENS:
        column = score.removeprefix("screen_")
        sign = -1.0 if column in _LESS else 1.0
        part = table[_PAIR].assign(measure=score, value=sign * table[column].to_numpy(float))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def share_of_runs(table: pd.DataFrame) -> float:
    """Operations of the screening as a share of those of tuning the runs of the same pairs (their scoring
    left out); NaN without pairs."""
    pairs = table[table["source"] != table["target"]]
    runs = float(pairs["run_operations"].sum())
    return float(pairs["operations"].sum()) / runs if runs > 0 else np.nan
