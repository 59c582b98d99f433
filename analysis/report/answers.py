"""The study's answers as sentences, each made from numbers in its tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..association.verdicts import EQUAL as EQUAL_RHO
from ..catalogue import SCRATCH
from ..gains.curves import curve_frame, nearest_sources, reached
from ..gains.verdicts import EQUAL, GAIN, LOSS, UNCLEAR, smallest_told
from ..read.study import few_tasks, from_tasks, seeds_known, transfers, why_no_gain
from ..stats.multiplicity import ALPHA, significant
from ..view import View
from ..vocabulary import REPLICATES, pretty, signed
from . import apart
from .rules import choice, left_out
from .variance import noise_of_seeds
from .words import Frames, Row, interval, margin_of, not_told, p_value, records, size_of

VERDICTS = (GAIN, LOSS, EQUAL, UNCLEAR)


def which_help(view: View, tables: Frames) -> list[str]:
    """Which tasks help which: counts of established pairs, levels, best pairs and givers."""
    return [_pairs(view, tables["gains"], method) for method in view.methods]


def _pairs(view: View, gains: pd.DataFrame, method: str) -> str:
    words, off = view.wording, transfers(gains, method, view.givers)
    if off.empty:
        reason = why_no_gain(gains, method) or "no pair of two tasks has a gain"
        return f"{method}: {reason}, so nothing can be said of it."
    scale, unit = words.scale, words.unit
    text = f"{method}: mean {words.score_name} over {len(off)} pairs of two tasks "
    text += f"{signed(scale * off['gain'].mean())} {unit}; "
    counts = established(off)
    if counts is not None and set(off.get("verdict", ())) & {*VERDICTS}:
        text += _verdicts(view, off) + "; "
    elif counts is not None and any(counts):
        how = f"(q \u2264 {ALPHA})"
        if not seeds_known(gains):
            how = f"beyond test-image noise (q \u2264 {ALPHA}; seeds unknown)"
        text += f"{counts[0]} pairs gain and {counts[1]} lose {how}; "
    elif counts is not None:
        told = smallest_told(off) if {"se", "df"} <= set(off) else np.nan
        size = f"; half of them could have told {size_of(view, told)}" if np.isfinite(told) else ""
        text += f"no single pair is told from 0 (q > {ALPHA} throughout{size}); "
    best = records(off.nlargest(1, "gain"))[0]
    span = interval(*(scale * best.get(side, np.nan) for side in ("low", "high")))
    text += f"the largest is {best['source']} \u2192 {best['target']}, "
    of = " over test images alone" if span and not seeds_known(gains) else ""
    text += f"{signed(scale * best['gain'])}{span} {unit}{of} (picked as the largest of "
    text += f"{len(off)}, so expect less)."
    given = off.groupby("source")["gain"].mean().sort_values(ascending=False)
    if len(given) > 2:
        text += f" On average {given.index[0]} gives most ({signed(scale * given.iloc[0])}) "
        text += f"and {given.index[-1]} least ({signed(scale * given.iloc[-1])})."
    return text


def _verdicts(view: View, off: pd.DataFrame) -> str:
    """How many pairs have which verdict, and what the unclear ones could have told."""
    scale, unit = view.wording.scale, view.wording.unit
    count = {word: int((off["verdict"] == word).sum()) for word in VERDICTS}
    margin = off["margin"].iloc[0]
    text = f"{count[GAIN]} pairs gain and {count[LOSS]} lose (q \u2264 {ALPHA}), {count[EQUAL]} are equal "
    text += (
        f"within a margin of {size_of(view, margin)}"
        if np.isfinite(margin)
        else "within the margin"
    )
    text += f", and {count[UNCLEAR]} are unclear"
    told = scale * smallest_told(off[off["verdict"] == UNCLEAR])
    if np.isfinite(told):
        text += (
            f" (half of these would have told {signed(told)} {unit} from 0 in four of five studies)"
        )
    return text


def established(off: pd.DataFrame) -> tuple[int, ...] | None:
    """How many pairs gain and how many lose by q; None where pairs were not tested."""
    if "q" not in off or not off["q"].notna().any():
        return None
    found = off["significant"].astype(bool)
    return int((found & (off["gain"] > 0)).sum()), int((found & (off["gain"] < 0)).sum())


def how_certain(view: View, tables: Frames) -> list[str]:
    """What the intervals hold, diverged cells, and the control by the own prompt."""
    gains = tables["gains"]
    out = [_intervals(view, gains), *noise_of_seeds(view, tables)]
    if "gain_shrunk" in gains and gains["gain_shrunk"].notna().any():
        out.append(_shrunk(gains))
    if "n_diverged" in gains and gains["n_diverged"].sum():
        out.append(_diverged(gains))
    for row in records(tables["diagonal"]):
        if row["gain_kind"] == "gain" and np.isfinite(row["diagonal_gain"]):
            out.append(_control(view, row, margin_of(tables)))
    return out


def _intervals(view: View, gains: pd.DataFrame) -> str:
    kinds = set(gains.get("interval", pd.Series(dtype=str)).dropna())
    if "seeds" in kinds:
        paired = ", transfer and scratch paired by seed" if view.wording.baseline else ""
        text = (
            f"Intervals are 95% over {int(gains['n_seeds'].max())} seeds{paired}, each pair's variance "
            f"moderated by those of the target's and the {view.wording.heads_name}'s other pairs."
        )
        without = gains[(gains["interval"] == "none") & (gains["source"] != gains["target"])]
        if len(without) and not view.wording.baseline:
            text += f" {len(without)} pairs have none, for want of seeds or of a difference between them."
        return text
    if REPLICATES in kinds:
        return (
            "There is one seed, and part of its runs was repeated with a second one. Gains are the first "
            "seed's; what the repeated pairs differ by is the noise of seeds in the 95% intervals, q and "
            "verdicts of all pairs, with t of few degrees of freedom, for no pair's own noise is known. "
            "Columns new_seed_low and new_seed_high of gains.csv hold what one more seed would find, which "
            "varies too: they are 1.4 times as wide. The control by a task's own prompt was not repeated "
            "and has test images alone."
        )
    if "images" in kinds:
        return (
            "There is one seed: intervals are 95% over test images and hold nothing of the "
            "variation over few-shot samples and initialisations, so they are too narrow for "
            "claims about other seeds."
        )
    return "Single gains carry no interval: there is one value a pair and no outcomes."


def _shrunk(gains: pd.DataFrame) -> str:
    """What `gain_shrunk` is, and what it lacks with one seed."""
    text = (
        "A measured gain is not the best guess of another seed's: gain_shrunk, beside it in gains.csv and "
        "in a heatmap, pulls it towards what its source, target and opposite direction tell"
    )
    if seeds_known(gains):
        return text + ", by the share of the variance that does not repeat over seeds."
    return (
        text
        + ". With one seed, seed and pair cannot be told apart: only the noise of test images is "
        "taken out, and too little is shrunk."
    )


def _diverged(gains: pd.DataFrame) -> str:
    lost = gains[gains["n_diverged"] > 0]
    names = [f"{row['source']} \u2192 {row['target']} ({row['method']})" for row in records(lost)]
    count = int(lost["n_diverged"].sum())
    verb = "runs diverged and have" if count > 1 else "run diverged and has"
    more = f" and {len(names) - 3} more pairs" if len(names) > 3 else ""
    return f"{count} {verb} no score: {', '.join(names[:3])}{more}."


def _control(view: View, row: Row, margin: float) -> str:
    scale, unit = view.wording.scale, view.wording.unit
    span = interval(scale * row["diagonal_gain_low"], scale * row["diagonal_gain_high"])
    text = f"{row['method']}: as a control, tuning on from a task's own prompt gains "
    text += f"{signed(scale * row['diagonal_gain'])}{span} {unit}"
    if not np.isfinite(row["difference"]):
        return text + "."
    beside = interval(scale * row["difference_low"], scale * row["difference_high"])
    text += "; other tasks' prompts differ from that by "
    text += f"{signed(scale * row['difference'])}{beside} {unit}"
    if not np.isfinite(row["p"]):
        return text + "."
    verdict = ""
    if not significant(row["p"]):
        both = tuple(row[name] for name in ("difference", "difference_low", "difference_high"))
        verdict = f"; {not_told(view, both, row['n_tasks'] - 1, margin)}"
    return f"{text} ({p_value(row['p'])}{verdict})."


def what_explains(view: View, tables: Frames) -> list[str]:
    """Correlation of gain with the main measures, and the factors of the suite, in words."""
    out = []
    table = tables["correlations"]
    reason = "" if table.empty else few_tasks(table["n_tasks"].max())
    if reason:
        return [f"{reason}."]
    if table.empty:
        few = "There are too few tasks" if len(tables["similarity"]) else ""
        out.append(
            f"{few or 'No similarities were measured'}, so nothing can be said of what explains "
            "gain."
        )
    base = table[(table["statistic"] == "spearman") & (table["gain_kind"] == "gain")]
    links = tables["links"]
    known = [m for m in view.methods if not why_no_gain(tables["gains"], m)]
    for method in known:
        rows = base[(base["method"] == method) & (base["scope"] == "pooled")]
        shown = [
            _correlation(
                row,
                apart.in_kinds(links, method, row["measure"]),
                apart.equal_in_kinds(links, method, row["measure"]),
            )
            for row in records(rows)
            if row["measure"] in view.measures
        ]
        if shown:
            out.append(f"{method}: {'; '.join(shown)}.{_strongest(rows, links, view.measures)}")
    for method in known:
        out += apart.apart(links, method, view.measures)
    if any("unclear: could" in sentence for sentence in out):
        out.append(apart.TOLD)
    if len(base) and not view.factors:
        out.append(apart.EXCHANGEABLE)
    effects = tables["effects"]
    effects = effects[(effects["gain_kind"] == "gain") & effects["value"].notna()]
    for method in known:
        own = records(effects[effects["method"] == method])
        parts = [_effect(view, row, margin_of(tables)) for row in own]
        if parts:
            out.append(f"{method}: against unrelated sources, {'; '.join(parts)}.")
    return out


def _effect(view: View, row: Row, margin: float) -> str:
    scale, unit, factor = view.wording.scale, view.wording.unit, row["effect"]
    span = interval(scale * row["low"], scale * row["high"])
    size = f"{signed(scale * row['value'])}{span} {unit}"
    if not np.isfinite(row["p"]):
        return f"the same {factor} goes with {size}, not tested for want of two with pairs"
    size += f", {p_value(row['p'])} over {row['n_units']:.0f} values of {factor}"
    tested = row["p"]
    if np.isfinite(row["p_within"]):
        size += (
            f"; {p_value(row['p_within'])} with tasks that change places within the other factors"
        )
        tested = max(tested, row["p_within"])
    if not significant(tested) or _holds_zero(row["low"], row["high"]):
        own = (row["value"], row["low"], row["high"])
        said = not_told(view, own, row["n_units"] - 1, margin)
        return f"the effect of the same {factor} is {said} ({size})"
    return f"the same {factor} {'helps' if row['value'] > 0 else 'hurts'} ({size})"


def _holds_zero(low: float, high: float) -> bool:
    """Whether an interval holds 0: then a small p alone establishes nothing. One that is missing does not."""
    return bool(low <= 0 <= high)


def _correlation(row: Row, in_kinds: str, equal_in_kinds: bool) -> str:
    """The claim of a row of `correlations`; `in_kinds`: what of it is lost with whole families;
    `equal_in_kinds`: whether with these it is equal to 0 within the margin, too."""
    name = pretty(row["measure"])
    if not np.isfinite(row["value"]):
        reason = f" ({row['reason']})" if row["reason"] else ""
        return f"the correlation with {name} is undefined{reason}"
    span = interval(row["low"], row["high"], 2)
    size = f"rho = {signed(row['value'], 2)}{span}, {p_value(row['p_permutation'])}"
    if row["verdict"] == EQUAL_RHO and equal_in_kinds:
        return f"gain and {name} similarity are unconnected within a margin of {row['margin']:g} ({size})"
    if not significant(row["p_permutation"]):
        if row["verdict"] == EQUAL_RHO:
            said = f"{apart.beside(row)} where tasks are taken for exchangeable alone"
        else:
            said = f"could have told {row['told']:.2f}" if np.isfinite(row["told"]) else ""
        return f"whether gain goes with {name} similarity is unclear ({size}{said and '; '}{said})"
    if _holds_zero(row["low"], row["high"]):
        return f"that gain goes with {name} similarity is not established, for its interval holds 0 ({size})"
    way = "grows" if row["value"] > 0 else "falls"
    if not significant(row["q"]):
        return (
            f"gain {way} with {name} similarity, but not after correction for all tests "
            f"({size}, {p_value(row['q'], 'q')})"
        )
    unit = "with each task as a unit " if in_kinds else ""
    return f"{unit}gain {way} with {name} similarity ({size}){in_kinds}"


def _strongest(rows: pd.DataFrame, links: pd.DataFrame, main: Sequence[str]) -> str:
    """The strongest other measure that survives correction, if it beats the main ones."""
    rows = rows[np.isfinite(rows["value"]) & significant(rows["q"])]
    rows = rows[~((rows["low"] <= 0) & (rows["high"] >= 0))]
    if rows.empty:
        return ""
    top = max(records(rows), key=lambda row: abs(row["value"]))
    if top["measure"] in main:
        return ""
    lost = apart.in_kinds(links, top["method"], top["measure"])
    kept = [m for m in rows["measure"] if not apart.in_kinds(links, top["method"], m)]
    some = ""
    if len(kept) < len(rows):
        some = f" ({len(kept)} of them with whole groups of tasks as units, too)"
    return (
        f" Of all {len(rows)} measures that do{some}, {pretty(top['measure'])} has the largest correlation, "
        f"picked on these data (rho = {signed(top['value'], 2)}, {p_value(top['q'], 'q')}){lost}."
    )


def what_to_do(view: View, tables: Frames) -> list[str]:
    """How to choose a source, what it brings, how much faster, and which tasks to group."""
    known = [m for m in view.methods if not why_no_gain(tables["gains"], m)]
    out = [choice(view, tables, method) for method in known]
    out += left_out(tables) if known else []
    for method in known:
        out += _speed(view, tables, method)
    groups = tables["groups"]
    if len(groups):
        alone = "" if seeds_known(tables["gains"]) else " under test-image noise alone"
        out += [_groups(view, groups[groups["method"] == m], m, alone) for m in known]
    return out


def _speed(view: View, tables: Frames, method: str) -> list[str]:
    curves = tables["curves"]
    if curves.empty or not (curves["method"] == method).any():
        return []
    nearest = nearest_sources(tables["gains"], tables["similarity"], view.measures, method)
    frame = curve_frame(from_tasks(curves, view.givers), method, nearest)
    last = frame["step"].max() if len(frame) else 0
    if not last > 0:
        return []
    table = reached(frame)
    table = table[(table["start"] != SCRATCH) & (table["share"] < 1)]
    if table.empty:
        return [f"{method}: transfer does not reach scratch's final score any earlier on average."]
    row = records(table.nsmallest(1, "step"))[0]
    start = row["start"]
    source = "the other tasks" if start == "all sources" else f"the source {start}"
    own = frame[frame["start"] == start]
    at = records(own[own["step"] >= row["step"] - 1e-9].nsmallest(1, "step"))[0]
    before = own.loc[own["step"] < at["step"], "step"]
    where = f"at the evaluation after {at['step']:.0f} of {last:.0f} steps"
    if len(before):
        where = f"between the evaluations after {before.max():.0f} and {at['step']:.0f} of {last:.0f} steps"
    span = interval(at["low"], at["high"])
    text = f"{method}: starting from {source}, the mean over targets passes scratch's final score {where}"
    text += f" (there it stands {signed(at['points'])}{span} points from it"
    return [
        text + (", so that it is not established)." if _holds_zero(at["low"], at["high"]) else ").")
    ]


def _groups(view: View, groups: pd.DataFrame, method: str, alone: str = "") -> str:
    """Groups of a method; `alone`: what their stability rests on, where seeds are unknown."""
    table = groups[groups["size"] > 1]
    if table.empty:
        return f"{method}: no group of tasks promises a gain from joint tuning."
    scale, unit = view.wording.scale, view.wording.unit
    tasks = set(groups["task"])
    if len(tasks) == table.groupby("group")["task"].size().max():
        return f"{method}: the one group holds all {len(tasks)} tasks, which is no discovery."
    names = []
    for _, group in table.groupby("group", sort=False):
        first = group.iloc[0]
        about = []
        if np.isfinite(first["group_gain"]):
            about.append(f"{signed(scale * first['group_gain'])} {unit}")
        if np.isfinite(first["stability"]):
            about.append(f"stability {first['stability']:.2f}{alone}")
        text = f"{{{', '.join(group['task'])}}}"
        names.append(f"{text} ({', '.join(about)})" if about else text)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{method}: groups for joint tuning are {', '.join(names[:4])}{more}."
