"""The table that the answers open with: what there is at a glance, a row a method."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..read.study import few_tasks, seeds_known, transfers
from ..stats.multiplicity import ALPHA
from ..view import View
from ..vocabulary import pretty, signed
from . import apart
from .answers import VERDICTS, established
from .rules import first_choice
from .words import Frames, interval, p_value

# What the target has without another task's prompt: columns of the transfer table.
BASELINES = ("zero_shot", "linear_probe", "scratch")


def glance(view: View, tables: Frames) -> tuple[list[str], list[list[str]]]:
    """The opening table: headings, and a row for each method."""
    words = view.wording
    transfer = tables.get("transfer", pd.DataFrame())
    bases = [name for name in BASELINES if name in transfer]
    heads = [words.heads_name, *(f"{pretty(name)} score" for name in bases)]
    heads.append(f"mean {words.score_name}")
    known = set(tables["gains"].get("verdict", ())) & {*VERDICTS}
    if known:
        heads.append("pairs of two tasks that gain / lose / are equal / unclear")
    elif seeds_known(tables["gains"]):
        heads.append(f"pairs of two tasks that gain / lose (q \u2264 {ALPHA})")
    else:
        heads.append(
            "pairs of two tasks that gain / lose beyond test-image noise "
            f"(q \u2264 {ALPHA}; seeds unknown)"
        )
    table = tables["correlations"]
    measures = () if table.empty or few_tasks(table["n_tasks"].max()) else view.measures
    units = ", ".join(["task", *view.factors])
    how = f" (largest p with {units} as units)" if view.factors else ""
    heads += [f"rho with {pretty(measure)}{how}" for measure in measures]
    heads += [
        "rule chosen on other targets",
        "its regret less that of the best average source",
    ]
    rows = []
    for method in view.methods:
        off = transfers(tables["gains"], method, view.givers)
        mean = f"{_mean(view, tables, method, off)} {words.unit}" if len(off) else ""
        counts = established(off)
        row = [method, *(_baseline(transfer, method, name, words.scale) for name in bases)]
        if known and counts:
            counts = tuple(int((off["verdict"] == word).sum()) for word in VERDICTS)
        row += [mean, " / ".join(map(str, counts)) if counts else "not tested"]
        row += [_rho(tables, method, measure) for measure in measures]
        rows.append(row + first_choice(view, tables, method))
    return heads, rows


def _baseline(transfer: pd.DataFrame, method: str, name: str, scale: float) -> str:
    """Mean over targets of a baseline's score, for a table."""
    own = transfer[transfer["method"] == method].groupby("target")[name].mean()
    return signed(scale * own.mean()) if own.notna().any() else ""


def _mean(view: View, tables: Frames, method: str, off: pd.DataFrame) -> str:
    """Mean gain of a method's pairs `off` the diagonal, with its interval for tasks new in both roles where
    the table `diagonal` has it: it knows no sources that are not targets."""
    scale, table = view.wording.scale, tables["diagonal"]
    own = table[(table["method"] == method) & (table["gain_kind"] == "gain")]
    if (
        own.empty
        or not set(off["source"]) <= set(view.tasks)
        or not np.isfinite(own["transfer_gain"].iloc[0])
    ):
        return signed(scale * off["gain"].mean())
    mean, low, high = (scale * own[f"transfer_gain{end}"].iloc[0] for end in ("", "_low", "_high"))
    return f"{signed(mean)}{interval(low, high)}"


def _rho(tables: Frames, method: str, measure: str) -> str:
    """A correlation, with the p of that way in which tasks may change places which establishes least."""
    table = tables["correlations"]
    chosen = table[
        (table["method"] == method)
        & (table["measure"] == measure)
        & (table["scope"] == "pooled")
        & (table["statistic"] == "spearman")
        & (table["gain_kind"] == "gain")
    ]
    if chosen.empty or not np.isfinite(chosen["value"].iloc[0]):
        return "undefined"
    row = chosen.iloc[0]
    p = max([row["p_permutation"], *apart.p_in_kinds(tables["links"], method, measure)])
    return f"{signed(row['value'], 2)} ({p_value(p)})"
