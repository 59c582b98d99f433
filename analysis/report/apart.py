"""What goes with gain, taken apart: sentences and a table of the table `links`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..association.verdicts import EQUAL, cannot_say
from ..stats.multiplicity import significant
from ..view import View
from ..vocabulary import pretty, signed
from .words import Frames, Row, interval, p_value, records

EXCHANGEABLE = (
    "Tasks are grouped by no factor, so tests take all of them for exchangeable: where they "
    "come in kinds, p-values are too small."
)
TOLD = (
    "What an unclear link could have told is the size of a correlation that a design like this one tells "
    "from 0 in four of five studies: unclear is not absent."
)
_NOTE = (
    "Spearman's rho with 95% interval and p by permutation; of the ways in which tasks may change places (one"
    " by one, or by whole families) the one that establishes least."
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
    goes beyond each factor of the suite; `taken_apart` has the sizes of what was not found."""
    out = []
    for measure in measures:
        found: list[str] = []
        absent: dict[str, list[str]] = {}
        for claim in _claims(links, method, measure):
            start, more, less, gained = EACH[claim.link]
            if claim.found:
                way = more if claim.row["value"] > 0 else less
                found.append(f"{start} {way}{claim.beyond}{_size(claim.row)}")
            else:
                absent.setdefault(claim.verdict, []).append(f"{gained}{claim.beyond}{claim.size}")
        found += [
            f"it is constant within {row['factor']}, and says no more than it"
            for row in _rows(links, method, measure)
            if str(row["reason"]).startswith("similarity is constant within")
        ]
        found += [f"{verdict} what {', '.join(what)}" for verdict, what in absent.items()]
        if found:
            out.append(f"{method}: {pretty(measure)}, taken apart: {'; '.join(found)}.")
    return out


def taken_apart(view: View, tables: Frames) -> dict[str, Any] | None:
    """The table of all measures' links: title, header, rows, note; None where there are none."""
    links, found = tables["links"], {}
    for method in view.methods:
        for measure in links.loc[links["method"] == method, "measure"].unique():
            cells = {c.column: c.told() for c in _claims(links, method, measure)}
            if cells:
                found[method, pretty(measure)] = cells
    columns = list(dict.fromkeys(column for cells in found.values() for column in cells))
    if not found:
        return None
    return {
        "title": "What goes with each similarity, taken apart?",
        "header": [view.wording.heads_name, "similarity", *columns],
        "rows": [
            [*names, *(cells.get(column, "") for column in columns)]
            for names, cells in found.items()
        ],
        "note": f"{_NOTE} {TOLD}",
    }


@dataclass(frozen=True)
class _Claim:
    """One of `EACH`, perhaps `beyond` a factor: the row that is least established of those that test it,
    and the one that could have told least."""

    link: str
    beyond: str
    row: Row
    widest: Row

    @property
    def found(self) -> bool:
        return established(self.row) and self.row["verdict"] != EQUAL

    @property
    def column(self) -> str:
        return f"what {EACH[self.link][3]}{self.beyond}"

    @property
    def verdict(self) -> str:
        """What is to be said of a claim that was not found."""
        if self.widest["verdict"] == EQUAL:
            return f"it is unconnected within a margin of {self.widest['margin']:g} with"
        return "unclear is whether it goes with"

    @property
    def size(self) -> str:
        """What could have been told of an unclear one."""
        if self.widest["verdict"] == EQUAL or not np.isfinite(self.widest["told"]):
            return ""
        return f" (could have told {self.widest['told']:.2f})"

    def told(self) -> str:
        said = "" if self.found else f"; {beside(self.widest)}"
        return f"{_value(self.row)} ({p_value(self.row['p_permutation'])}){said}"


def _claims(links: pd.DataFrame, method: str, measure: str) -> list[_Claim]:
    """What can be said of a measure, in the order of `EACH`, then beyond each factor."""
    rows = [row for row in _rows(links, method, measure) if np.isfinite(row["value"])]
    out = []
    for link in EACH:
        # A claim stands under every way in which tasks may change places, or not at all; equality, too,
        # is what the widest of them leaves.
        tested = [row for row in rows if row["link"] == link]
        if tested:
            worst = max(tested, key=lambda row: (not established(row), row["p_permutation"]))
            out.append(_Claim(link, "", worst, max(tested, key=lambda row: row["told"])))
    return out + [
        _Claim("pairs", f" beyond {row['factor']}", row, row)
        for row in rows
        if row["link"] == "beyond"
    ]


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


def p_in_kinds(links: pd.DataFrame, method: str, measure: str) -> list[float]:
    """The p of a correlation where whole groups of each factor change places."""
    rows = [row for row in _rows(links, method, measure) if row["link"] == "all"]
    return [row["p_permutation"] for row in rows if np.isfinite(row["p_permutation"])]


def _rows(links: pd.DataFrame, method: str, measure: str) -> list[Row]:
    chosen = links[
        (links["method"] == method)
        & (links["measure"] == measure)
        & (links["gain_kind"] == "gain")
        & (links["statistic"] == "spearman")
    ]
    return records(chosen)


def _size(row: Row) -> str:
    return f" (rho = {_value(row)}, {p_value(row['p_permutation'])})"


def _value(row: Row) -> str:
    return f"{signed(row['value'], 2)}{interval(row['low'], row['high'], 2)}"
