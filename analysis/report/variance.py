"""Where the variance of gains lies, as sentences."""

from __future__ import annotations

import numpy as np

from ..stats.social import SEED_SHARES, SHARES
from ..view import View
from ..vocabulary import signed
from .words import Frames, Row, interval, records

_NAMES = {
    "source": "the source",
    "target": "the target",
    "pair": "the pair",
    "seed_source": "source by seed",
    "seed_target": "target by seed (scratch and sample)",
    "seed_pair": "pair by seed",
}


def headline(view: View, tables: Frames) -> str:
    """The pair's share of each method's variance, for the top of the page; "" where none is known."""
    table = tables["variance"]
    rows = table[(table["gain_kind"] == "gain") & table["value"].notna()]
    pair = {row["method"]: row for row in records(rows[rows["component"] == "pair"])}
    shares = [
        f"{_percent(pair[method])} of the variance of {method} gains"
        for method in view.methods
        if method in pair
    ]
    if not shares:
        return ""
    known = (rows["component"] == "seed_pair").any()
    noise = "" if known else ", with the noise of the one seed in it"
    return f"The pair, beyond what source and target bring, is {', '.join(shares)}{noise}."


def where_variance_lies(view: View, tables: Frames) -> list[str]:
    """One answer a method: shares of the variance of its gains, largest first."""
    table = tables["variance"]
    table = table[table["gain_kind"] == "gain"]
    out = []
    for method in view.methods:
        rows = {str(row["component"]): row for row in records(table[table["method"] == method])}
        if rows:
            out.append(f"{method}: {_split(method, rows)}")
    return out


def _split(method: str, rows: dict[str, Row]) -> str:
    if not np.isfinite(rows["pair"]["value"]):
        return f"where the variance of gains lies cannot be told: {rows['pair']['reason']}."
    shares = [rows[name] for name in (*SHARES, *SEED_SHARES) if name in rows]
    shares.sort(key=lambda row: -row["value"])
    first, *rest = shares
    below = sum(row["value"] < -0.005 for row in shares)
    text = f"{_percent(first)} of the variance of {method} gains is {_NAMES[first['component']]}, "
    text += ", ".join(f"{_percent(row)} {_NAMES[row['component']]}" for row in rest)
    if "seed_pair" in rows:
        count = rows["pair"]["n_seeds"]
        how = f"{count:.0f} seeds" if count > 1 else "one seed and the pairs that were repeated"
        text += f" (of one seed's gains, from {how})."
    else:
        text += (
            ". With one seed the pair's share, and the target's, holds the noise of the seed, which "
            "may be most of it and cannot be separated."
        )
    if below:
        text += (
            " Estimates below 0 are shown as 0%, so that the shares shown add up to more than 100%."
        )
    mutual = rows["reciprocity"]
    if np.isfinite(mutual["value"]):
        span = interval(mutual["low"], mutual["high"], 2)
        text += " Reciprocity of pairs, without what source and target bring, is "
        text += f"{signed(mutual['value'], 2)}{span}"
        text += "." if mutual["low"] > 0 or mutual["high"] < 0 else ", not told from 0."
    lost = rows["pair"]["n_missing"]
    if lost:
        text += f" Left out: {lost:.0f} run{'s' * (lost > 1)} without a gain."
    return text


def noise_of_seeds(view: View, tables: Frames) -> list[str]:
    """One answer a method whose pairs were repeated with a second seed: how large seed noise is."""
    table, scale, unit = tables["seed_noise"], view.wording.scale, view.wording.unit
    out = []
    for row in records(table[table["method"].isin(view.methods)]):
        if row["reason"]:
            out.append(f"{row['method']}: the noise of seeds is unknown, for {row['reason']}.")
            continue
        span = interval(scale * row["low"], scale * row["high"]).replace("+", "")
        text = f"{row['method']}: over seeds a gain has a standard deviation of {scale * row['sd']:.1f}"
        text += f"{span} {unit}, measured on {row['n_pairs']:.0f} pairs of {row['n_targets']:.0f} targets "
        text += f"({row['df']:.0f} degrees of freedom)"
        if row["shared"] > 0:
            text += (
                f"; {100 * row['shared']:.0f}% of that variance is common to a target's pairs (its scratch "
                "run and sample), whose verdicts may be wrong together"
            )
        lost = row["n_missing"]
        out.append(text + f"; {lost:.0f} more diverged." * bool(lost) + "." * (not lost))
    return out


def _percent(row: Row) -> str:
    """A share with its interval, cut at 0 and 100; an interval that lies beyond them says so."""
    value, low, high = (100 * min(max(row[name], 0.0), 1.0) for name in ("value", "low", "high"))
    if row["low"] >= 1 or row["high"] <= 0:
        return f"{value:.0f}% (its interval lies beyond)"
    span = f" [{low:.0f}, {high:.0f}]" if np.isfinite(row["low"]) else ""
    return f"{value:.0f}%{span}"
