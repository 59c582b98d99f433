"""What goes with gain, taken apart: sentences of the table `links`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..association.verdicts import EQUAL, cannot_say
from ..stats.multiplicity import significant
from ..vocabulary import pretty, signed
from .words import Row, interval, p_value, records

EXCHANGEABLE = (
    "The suite groups its tasks by no factor, so tests take all of its tasks for exchangeable: where they "
    "come in kinds, p-values are too small."
)
TOLD = (
    "What an unclear link could have told is the size of a correlation that a design like this one tells "
    "from 0 in four of five studies: no evidence of a link is no evidence that there is none."
)
# link -> (what is claimed, more, less; what it is about)
EACH = {
    "sources": ("tasks that are more like the others give", "more", "less", "a source gives"),
    "targets": ("tasks that are more like the others receive", "more", "less", "a target receives"),
    "pairs": (
        "pairs that are more alike gain",
        "more than their source and target tell",
        "less than their source and target tell",
        "pairs gain",
    ),
}


def in_kinds(links: pd.DataFrame, method: str, measure: str) -> str:
    """What becomes of a correlation where whole families change places, in words that follow it; "" where
    it stands, or where the suite names no families."""
    parts = []
    for row in _rows(links, method, measure):
        if row["link"] == "all" and not established(row):
            size = _size(row) if np.isfinite(row["value"]) else f" ({row['reason']})"
            parts.append(f"not established with each {row['factor']} as a unit{size}")
    return f", but {' and '.join(parts)}" if parts else ""


def apart(links: pd.DataFrame, method: str, measures: Sequence[str]) -> list[str]:
    """A sentence a measure: whether good sources are central tasks, whether good pairs are alike, and what
    goes beyond each factor of the suite."""
    out = []
    for measure in measures:
        found: list[str] = []
        absent: list[str] = []
        same: list[str] = []
        rows = _rows(links, method, measure)
        for link in EACH:
            # A claim stands under every way in which tasks may change places, or not at all.
            tested = [row for row in rows if row["link"] == link and np.isfinite(row["value"])]
            if tested:
                worst = max(tested, key=lambda row: (not established(row), row["p_permutation"]))
                # Equality, too, is what the widest of them leaves.
                widest = max(tested, key=lambda row: row["told"])
                _sort(worst, link, "", found, absent, widest)
        for row in rows:
            if str(row["reason"]).startswith("similarity is constant within"):
                same.append(f"it is constant within {row['factor']}, and says no more than it")
            elif row["link"] == "beyond" and np.isfinite(row["value"]):
                _sort(row, "pairs", f", beyond {row['factor']}", found, absent)
        text = "; ".join([*found, *same])
        if absent:
            text += "; " if text else ""
            text += f"no evidence that it goes with what {', '.join(absent)}"
        if text:
            out.append(f"{method}: {pretty(measure)}, taken apart: {text}.")
    return out


def _sort(
    row: Row, link: str, beyond: str, found: list[str], absent: list[str], widest: Row | None = None
) -> None:
    """Say of a row what it finds, or what it does not; `widest`: the row that says how little is known."""
    start, more, less, gained = EACH[link]
    if established(row) and row["verdict"] != EQUAL:
        found.append(f"{start} {more if row['value'] > 0 else less}{beyond}{_size(row)}")
    else:
        said = beside(widest or row)
        absent.append(f"{gained}{beyond}{_size(row, said)}")


def established(row: Row) -> bool:
    """Whether a link's p is small; its interval then leaves out 0."""
    return bool(significant(row["p_permutation"]))


def beside(row: Row) -> str:
    """What a row that establishes nothing says beside its margin."""
    return cannot_say(row["verdict"], row["margin"], row["told"])


def equal_in_kinds(links: pd.DataFrame, method: str, measure: str) -> bool:
    """Whether a correlation is equal to 0 within its margin with whole families as units, too."""
    rows = [row for row in _rows(links, method, measure) if row["link"] == "all"]
    return all(row["verdict"] == EQUAL for row in rows)


def _rows(links: pd.DataFrame, method: str, measure: str) -> list[Row]:
    chosen = links[
        (links["method"] == method)
        & (links["measure"] == measure)
        & (links["gain_kind"] == "gain")
        & (links["statistic"] == "spearman")
    ]
    return records(chosen)


def _size(row: Row, said: str = "") -> str:
    span = interval(row["low"], row["high"], 2)
    return f" (rho = {signed(row['value'], 2)}{span}, {p_value(row['p_permutation'])}{said and '; '}{said})"
