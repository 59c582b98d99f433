"""The study's answers as sentences, each made from numbers in its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..gains.curves import curve_frame, nearest_sources, reached
from ..read.study import Frames
from ..vocabulary import (
    BEST_AVERAGE,
    MEASURES,
    MODEL_TARGET,
    MODEL_TASK,
    RANDOM,
    pretty,
    signed,
)

ALPHA = 0.05
Row = Mapping[str, Any]
# Rankers that a new task does not have: chance, the model that knows the task as a source, and
# measures that need the task's own prompt.
CLOSED = {RANDOM, MODEL_TARGET, *(m for m in MEASURES if MEASURES[m].kind == "prompt")}


def p_value(p: float, name: str = "p") -> str:
    return f"{name} < 0.001" if p < 0.001 else f"{name} = {p:.3f}"


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame, as mappings."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def interval(low: float, high: float, digits: int = 1) -> str:
    """` [low, high]`, or nothing where there is no interval."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    return f" [{signed(low, digits)}, {signed(high, digits)}]"


def which_help(data: Frames) -> list[str]:
    """Which tasks help which: counts of established pairs, levels, best pairs and givers."""
    out = []
    for method in data.methods:
        frame = data.gains[data.gains["method"] == method]
        off = frame[frame["source"] != frame["target"]].dropna(subset=["gain"])
        if off.empty:
            out.append(f"{method}: no pair has a gain.")
            continue
        scale, unit = data.scale, data.unit
        best = records(off.nlargest(1, "gain"))[0]
        text = f"{method}: mean {data.score_name} over {len(off)} pairs {signed(scale * off['gain'].mean())}"
        text += f" {unit}; "
        if "significant" in off and "q" in off and off["q"].notna().any():
            helps = int((off["significant"] & (off["gain"] > 0)).sum())
            hurts = int((off["significant"] & (off["gain"] < 0)).sum())
            if helps + hurts:
                text += f"{helps} pairs gain and {hurts} lose significantly (q \u2264 0.05); "
            else:
                text += "no evidence of an effect in any single pair (q > 0.05 throughout); "
        span = interval(*(scale * best.get(side, np.nan) for side in ("low", "high")))
        text += f"the largest is {best['source']} \u2192 {best['target']}, "
        text += f"{signed(scale * best['gain'])}{span} {unit} (picked as the largest of "
        text += f"{len(off)}, so expect less)."
        given = off.groupby("source")["gain"].mean().sort_values(ascending=False)
        if len(given) > 2:
            text += f" On average {given.index[0]} gives most ({signed(scale * given.iloc[0])}) "
            text += f"and {given.index[-1]} least ({signed(scale * given.iloc[-1])})."
        out.append(text)
    return out


def how_certain(data: Frames) -> list[str]:
    """What the intervals hold, diverged cells, and the control by the own prompt."""
    out = []
    kinds = set(data.gains.get("interval", pd.Series(dtype=str)).dropna()) - {"none"}
    seeds = int(data.gains["n_seeds"].max()) if "n_seeds" in data.gains else 0
    if "seeds" in kinds:
        out.append(
            f"Intervals are 95% over {seeds} seeds, transfer and scratch paired by seed, each "
            "pair's variance moderated by those of the method's other pairs."
        )
    elif "images" in kinds:
        out.append(
            "There is one seed: intervals are 95% over test images and hold nothing of the "
            "variation over few-shot samples and initialisations, so they are too narrow for "
            "claims about other seeds."
        )
    else:
        out.append("Single gains carry no interval: there is one value a pair and no outcomes.")
    if "n_diverged" in data.gains and data.gains["n_diverged"].sum():
        lost = data.gains[data.gains["n_diverged"] > 0]
        names = [f"{r.source} \u2192 {r.target} ({r.method})" for r in lost.itertuples()]
        count = int(lost["n_diverged"].sum())
        more = f" and {len(names) - 3} more pairs" if len(names) > 3 else ""
        out.append(
            f"{count} run{'s' if count > 1 else ''} diverged and {'have' if count > 1 else 'has'} "
            "no score: "
            f"{', '.join(names[:3])}{more}."
        )
    for row in records(data.agreement):
        span = interval(row["low"], row["high"], 2)
        out.append(
            f"{row['a']} and {row['b']} agree on the order of sources to a Spearman correlation of "
            f"{signed(row['spearman_per_target'], 2)}{span} (mean over targets; "
            f"{signed(row['spearman'], 2)} over all {row['n_pairs']} pairs)."
        )
    for row in records(data.diagonal):
        if row.get("gain_kind", "gain") == "gain":
            out.append(_control(row))
    return out


def _control(row: Row) -> str:
    span = interval(100 * row["diagonal_gain_low"], 100 * row["diagonal_gain_high"])
    beside = interval(100 * row["difference_low"], 100 * row["difference_high"])
    text = f"{row['method']}: as a control, tuning on from a task's own prompt gains "
    text += f"{signed(100 * row['diagonal_gain'])}{span} points; other tasks' prompts differ "
    text += f"from that by {signed(100 * row['difference'])}{beside} points"
    if not np.isfinite(row["p"]):
        return text + "."
    verdict = "" if row["p"] <= ALPHA else ", no evidence of a difference"
    return f"{text} ({p_value(row['p'])}{verdict})."


def what_explains(data: Frames) -> list[str]:
    """Correlation of gain with the main measures, and the planted groups, in words."""
    out = []
    table = data.correlations
    if table.empty:
        why = (
            "No similarities were measured" if data.similarity.empty else "There are too few tasks"
        )
        out.append(f"{why}, so nothing can be said of what explains gain.")
    else:
        base = table[(table["statistic"] == "spearman") & (table["gain_kind"] == "gain")]
        for method in data.methods:
            rows = base[(base["method"] == method) & (base["scope"] == "pooled")]
            shown = [_correlation(row) for row in records(rows) if row["measure"] in data.measures]
            if shown:
                out.append(f"{method}: {'; '.join(shown)}.{_strongest(rows, data.measures)}")
    for method in data.methods:
        if data.effects.empty:
            break
        parts = [
            _effect(row)
            for row in records(data.effects)
            if row["method"] == method
            and row.get("gain_kind", "gain") == "gain"
            and np.isfinite(row["value"])
        ]
        if parts:
            out.append(f"{method}: against unrelated sources, {'; '.join(parts)}.")
    return out


def _effect(row: Row) -> str:
    span = interval(100 * row["low"], 100 * row["high"])
    size = f"{signed(100 * row['value'])}{span} points, {p_value(row['p_permutation'])}"
    if row["p_permutation"] > ALPHA:
        return f"no evidence of an effect of the same {row['effect']} ({size})"
    verb = "helps" if row["value"] > 0 else "hurts"
    return f"the same {row['effect']} {verb} ({size})"


def _correlation(row: Row) -> str:
    name = pretty(row["measure"])
    if not np.isfinite(row["value"]):
        return f"the correlation with {name} is undefined ({row['reason']})"
    span = interval(row["low"], row["high"], 2)
    size = f"rho = {signed(row['value'], 2)}{span}, {p_value(row['p_permutation'])}"
    if not row["p_permutation"] <= ALPHA:
        return f"no evidence that gain goes with {name} similarity ({size})"
    way = "grows" if row["value"] > 0 else "falls"
    if not row["q"] <= ALPHA:
        return (
            f"gain {way} with {name} similarity, but not after correction for all tests "
            f"({size}, {p_value(row['q'], 'q')})"
        )
    return f"gain {way} with {name} similarity ({size})"


def _strongest(rows: pd.DataFrame, main: list[str]) -> str:
    """The strongest other measure that survives correction, if it beats the main ones."""
    rows = rows[np.isfinite(rows["value"]) & (rows["q"] <= ALPHA)]
    if rows.empty:
        return ""
    top = max(records(rows), key=lambda row: abs(row["value"]))
    if top["measure"] in main:
        return ""
    return (
        f" Of all measures {pretty(top['measure'])} goes with gain most closely "
        f"(rho = {signed(top['value'], 2)}, {p_value(top['q'], 'q')})."
    )


def what_to_do(data: Frames) -> list[str]:
    """How to choose a source, what it brings, how much faster, and which tasks to group."""
    out = []
    for method in data.methods:
        out += _choice(data, method)
    for method in data.methods:
        out += _speed(data, method)
    if len(data.groups):
        for method in data.methods:
            out += _groups(data, method)
    return out


def best_rule(data: Frames, method: str) -> tuple[str, dict[tuple[str, str], Row]] | None:
    """The ranker with the lowest Regret@1 among those open to a new task (no prompt of its own),
    and the method's qualities by (ranker, metric); None where there is nothing to rank."""
    if data.quality.empty:
        return None
    rows = records(data.quality[data.quality["method"] == method])
    table = {(row["ranker"], row["metric"]): row for row in rows}
    lost = {
        ranker: row["mean"]
        for (ranker, metric), row in table.items()
        if metric == "regret1" and np.isfinite(row["mean"]) and ranker not in CLOSED
    }
    return (min(lost, key=lost.__getitem__), table) if lost else None


def _rule_name(ranker: str) -> str:
    names = {
        MODEL_TASK: "the model of similarities and source effects",
        BEST_AVERAGE: "the source that is best on average",
    }
    return names.get(ranker, f"the task nearest by {pretty(ranker)}")


def glance(data: Frames) -> tuple[list[str], list[list[str]]]:
    """The opening table: headings, and a row for each method."""
    heads = [data.heads_name, f"mean {data.score_name}", "pairs that gain / lose (q \u2264 0.05)"]
    heads += [f"rho with {pretty(measure)}" for measure in data.measures if len(data.correlations)]
    heads += ["best rule for a first choice", "its gain" if not data.foreign else "its regret"]
    rows = []
    for method in data.methods:
        frame = data.gains[data.gains["method"] == method]
        off = frame[frame["source"] != frame["target"]].dropna(subset=["gain"])
        row = [method, f"{signed(data.scale * off['gain'].mean())} {data.unit}" if len(off) else ""]
        tested = "significant" in off and "q" in off and off["q"].notna().any()
        row.append(
            " / ".join(
                str(int((off["significant"] & (sign * off["gain"] > 0)).sum())) for sign in (1, -1)
            )
            if tested
            else "not tested"
        )
        for measure in data.measures if len(data.correlations) else []:
            row.append(_rho(data.correlations, method, measure))
        rule = best_rule(data, method)
        if rule is None:
            row += ["none", ""]
        else:
            value = rule[1][(rule[0], "regret1" if data.foreign else "gain1")]
            span = interval(data.scale * value["low"], data.scale * value["high"])
            row += [_rule_name(rule[0]), f"{signed(data.scale * value['mean'])}{span} {data.unit}"]
        rows.append(row)
    return heads, rows


def _rho(table: pd.DataFrame, method: str, measure: str) -> str:
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
    return f"{signed(row['value'], 2)} ({p_value(row['p_permutation'])})"


def _choice(data: Frames, method: str) -> list[str]:
    rule = best_rule(data, method)
    if rule is None:
        return [f"{method}: too few sources to judge how well they can be chosen."]
    scale, unit = data.scale, data.unit
    choice, table = rule
    row = table[choice, "regret1"]
    chance = table[RANDOM, "regret1"]["mean"]
    span = interval(scale * row["low"], scale * row["high"])
    rules = len({ranker for ranker, _ in table} - CLOSED)
    text = f"{method}: the best of {rules} rules" if rules > 1 else f"{method}: the only rule"
    text += f" for a first choice is {_rule_name(choice)}: it "
    text += "misses the best source by "
    text += f"{signed(scale * row['mean'])}{span} {unit} (a random "
    text += f"choice by {signed(scale * chance)})"
    if np.isfinite(row["difference_high"]) and not row["difference_high"] < 0:
        text += ", which is no evidence that it beats chance"
    if not data.foreign:
        brings = table[choice, "gain1"]
        span = interval(scale * brings["low"], scale * brings["high"])
        text += f", and brings {signed(scale * brings['mean'])}{span} {unit} over scratch"
        if not brings["mean"] > 0:
            text += ": with no better rule, tune from scratch"
    return [text + "."]


def _speed(data: Frames, method: str) -> list[str]:
    if data.curves.empty or not (data.curves["method"] == method).any():
        return []
    frame = curve_frame(data.curves, method, nearest_sources(data, method), bootstrap=10)
    table = reached(frame)
    table = table[table["start"] != "scratch"].dropna(subset=["share"])
    last = frame["step"].max() if len(frame) else 0
    table = table[table["share"] < 1]
    if table.empty or not last:
        return [f"{method}: transfer does not reach scratch's final score any earlier on average."]
    row = records(table.nsmallest(1, "step"))[0]
    return [
        f"{method}: starting from {_start(row['start'])}, tuning reaches scratch's final score after "
        f"about {row['step']:.0f} of {last:.0f} steps on average."
    ]


def _start(name: str) -> str:
    return "the other tasks" if name == "all sources" else f"the source {name}"


def _groups(data: Frames, method: str) -> list[str]:
    table = data.groups[(data.groups["method"] == method) & (data.groups["size"] > 1)]
    if table.empty:
        return [f"{method}: no group of tasks promises a gain from joint tuning."]
    names = []
    for _, group in table.groupby("group", sort=False):
        first = group.iloc[0]
        text = f"{{{', '.join(group['task'])}}} ({signed(100 * first['group_gain'])} points"
        if np.isfinite(first["stability"]):
            text += f", stability {first['stability']:.2f}"
        names.append(text + ")")
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return [f"{method}: groups for joint tuning are {', '.join(names[:4])}{more}."]
