"""What screening told before any transfer run, beside what was measured: sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..choice.complete import ALIKE, SCREENED
from ..choice.screen import share_of_runs
from ..read.study import why_no_gain
from ..view import View
from ..vocabulary import BEST_AVERAGE, MEASURES, SCREEN_RULE, SCREENS, pretty, signed
from .rules import compared, qualities, rule_name, size
from .words import Frames, Row, interval, margin_of, p_value, records

_CHOSEN = (
    "That pairs are ranked by the loss, and not by another of these scores, was chosen while looking at the "
    "built-in testbed with seed 1, where it is flattered."
)
_FRACTION = 0.25  # of the designed fractions that a whole grid is completed from


def what_screening_tells(view: View, tables: Frames) -> list[str]:
    """Of each method: what screening cost, how well it ranks sources, and what it adds to similarities; and
    how its rule was chosen."""
    screen = tables["screen"]
    found = [
        _of(view, tables, method, share_of_runs(screen[screen["method"] == method]))
        for method in view.methods
        if (screen["method"] == method).any() and not why_no_gain(tables["gains"], method)
    ]
    return found + [_CHOSEN] * bool(found)


def _of(view: View, tables: Frames, method: str, share: float) -> str:
    text = f"{method}: the loss of each target's sample at each source's prompt was taken with "
    text += f"{100 * share:.1f}% of the operations of tuning the runs of all pairs"
    rows = qualities(tables["ranking"], method)
    own, bar = (rows.get((ranker, "regret1")) for ranker in (SCREEN_RULE, BEST_AVERAGE))
    if own is None or bar is None or not np.isfinite(own["mean"]):
        return f"{text}: too few sources to judge how well they can be chosen by it."
    text += (
        f". By it the best source is missed by {size(view, own)}, by {rule_name(BEST_AVERAGE)} by "
        f"{size(view, bar)}: {compared(view, own, margin_of(tables), 'screening')}"
    )
    text += _ranked(rows)
    text += _linked(tables["screen_links"], method)
    return f"{text}.{_added(tables['completion'], method)}"


def _ranked(rows: dict[tuple[str, str], Row]) -> str:
    """NDCG of all scores, and of the best of the similarities."""
    found = {ranker: row["mean"] for (ranker, metric), row in rows.items() if metric == "ndcg"}
    scores = {name: found[name] for name in SCREENS if np.isfinite(found.get(name, np.nan))}
    if not scores:
        return ""
    listed = ", ".join(
        f"{pretty(name).removeprefix('screen ')} {value:.2f}" for name, value in scores.items()
    )
    text = f". NDCG: {listed}; {BEST_AVERAGE} {found[BEST_AVERAGE]:.2f}"
    alike = {name: found[name] for name in MEASURES if np.isfinite(found.get(name, np.nan))}
    if alike:
        best = max(alike, key=alike.__getitem__)
        text += f", the best similarity, picked on these data, {alike[best]:.2f} ({pretty(best)})"
    return text


def _linked(links: pd.DataFrame, method: str) -> str:
    """How the loss goes with gain, without what sources and targets bring: the most careful test."""
    own = links[
        (links["method"] == method)
        & (links["measure"] == SCREEN_RULE)
        & (links["link"] == "pairs")
        & (links["statistic"] == "spearman")
    ]
    own = own[own["value"].notna()]
    if own.empty:
        return ""
    row = max(records(own), key=lambda row: row["p_permutation"])
    unit = f", each {row['factor']} as a unit" if row["factor"] else ""
    span = interval(row["low"], row["high"], 2)
    return (
        ". Without what sources and targets bring, less loss goes with more gain by rho = "
        f"{signed(row['value'], 2)}{span} ({p_value(row['p_permutation'])}{unit})"
    )


def _added(completion: pd.DataFrame, method: str) -> str:
    """What screening adds to similarities where part of the grid is to tell the rest."""
    own = completion[completion["method"] == method]
    part = bool(own["fraction"].isna().any())
    own = own if part else own[own["fraction"] == _FRACTION]
    rows = {(row["mates"], row["model"]): row for row in records(own)}
    texts = []
    for mates, where in (("all", ""), ("without", " among tasks of other families")):
        new, old = rows.get((mates, SCREENED)), rows.get((mates, ALIKE))
        if new is None or old is None or not np.isfinite(new["r2"] - old["r2"]):
            continue
        texts.append(f"R2 {new['r2']:.2f} instead of {old['r2']:.2f}{where}")
    if not texts:
        return ""
    what = "the measured pairs" if part else "a designed quarter of the pairs"
    return f" Added to the similarities, it lets {what} tell the others with {'; '.join(texts)}."
