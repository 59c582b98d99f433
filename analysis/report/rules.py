"""Whether a similarity chooses sources better than the source that is best on average: sentences, and
the table of all rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..choice.ranking import QUALITY
from ..read.study import why_no_gain
from ..stats.multiplicity import significant
from ..view import View
from ..vocabulary import (
    BEST_AVERAGE,
    CHOSEN,
    CLOSED,
    MEASURES,
    MODEL_TARGET,
    MODEL_TASK,
    RANDOM,
    SCREENS,
    pretty,
    signed,
)
from .words import Frames, Row, interval, margin_of, not_told, p_value, records

_COMPARED = ("regret1", "regret3", "regret5", "ndcg_above_random")
_NOTE = (
    "Difference from the source that is best on average over the other targets, with 95% interval and p "
    "(Student's t over {unit}, not corrected for the number of rules; q is in the table ranking). Negative "
    "is better for regret. NDCG above random is (NDCG - random) / (1 - random). Rule chosen on others: for "
    "each half of the {unit} the rule with the least regret on the other half, so that the choice flatters "
    "nothing."
)


def rule_name(ranker: str) -> str:
    """A way to choose a source, for readers."""
    names = {
        MODEL_TASK: "the model of similarities and source effects",
        BEST_AVERAGE: "the source that is best on average",
    }
    if ranker in SCREENS:
        return f"screening by {pretty(ranker).removeprefix('screen ')}"
    return names.get(ranker, f"the task nearest by {pretty(ranker)}")


def chosen_rules(by_target: pd.DataFrame, method: str) -> str:
    """Which rules were chosen on other targets, by how many targets they were chosen for; "" if none."""
    own = by_target[(by_target["method"] == method) & (by_target["ranker"] == CHOSEN)]
    counts = own["rule"].value_counts()
    if len(counts) == 1:
        return rule_name(str(counts.index[0]))
    return ", ".join(f"{rule_name(str(rule))} for {n} targets" for rule, n in counts.items())


def choice(view: View, tables: Frames, method: str) -> str:
    """Whether a rule that was chosen on other targets beats the best average source."""
    rows = qualities(tables["ranking"], method)
    bar = rows.get((BEST_AVERAGE, "regret1"))
    if bar is None or not np.isfinite(bar["mean"]):
        return f"{method}: too few sources to judge how well they can be chosen."
    ours = rows.get((CHOSEN, "regret1"))
    named = chosen_rules(tables["ranking_by_target"], method)
    if ours is None or not (np.isfinite(ours["mean"]) and named):
        return (
            f"{method}: there are no rules to choose from on other targets; {rule_name(BEST_AVERAGE)} "
            f"misses the best source by {size(view, bar)} (a random choice by "
            f"{size(view, rows[RANDOM, 'regret1'])})."
        )
    present = {ranker for ranker, _ in rows}
    count = len(present - CLOSED - {CHOSEN})
    text = f"{method}: of {count} rules, the one with the least regret on the other half of the "
    text += f"{bar['unit']} ({named}) misses the best source by {size(view, ours)}, "
    kinds = "similarity or screening" if present & SCREENS.keys() else "similarity"
    text += f"{rule_name(BEST_AVERAGE)} over the other targets by {size(view, bar)}: "
    text += compared(view, ours, margin_of(tables), kinds)
    if np.isfinite(ours["thinned"]):
        text += (
            f", with the same sign in {100 * ours['thinned']:.0f}% of random halves of the sources"
        )
    if view.wording.baseline:
        brings = rows[CHOSEN, "gain1"]
        text += f". It brings {size(view, brings)} over {view.wording.baseline}"
        if not brings["mean"] > 0:
            text += f": with no better rule, tune from {view.wording.baseline}"
    return f"{text}{_new_family(view, tables, method)}."


def _new_family(view: View, tables: Frames, method: str) -> str:
    """What of it is left for a family of tasks that the study lacks; "" where families are not known."""
    rows = qualities(tables["ranking_new_family"], method)
    model, bar = (rows.get((ranker, "regret1")) for ranker in (MODEL_TASK, BEST_AVERAGE))
    if model is None or bar is None or not np.isfinite(model["difference"]):
        return ""
    return (
        f". For a new family of tasks (the target's left out, as sources too) {rule_name(MODEL_TASK)} misses "
        f"the best source by {size(view, model)}, {rule_name(BEST_AVERAGE)} by {size(view, bar)}: "
        f"{compared(view, model, margin_of(tables))}"
    )


def compared(view: View, row: Row, margin: float, rule: str = "similarity") -> str:
    """What the difference in regret of a rule from the best average source lets one say, beside the `margin`
    of gains that matter."""
    scale, unit = view.wording.scale, view.wording.unit
    span = interval(scale * row["difference_low"], scale * row["difference_high"])
    by = f"{signed(scale * row['difference'])}{span} {unit}" if span else "no interval"
    count = f"{row['n_units']:.0f} " if np.isfinite(row["n_units"]) else ""
    about = f"{by}, {p_value(row['p'])}, over {count}{row['unit']}"
    if not significant(row["p"]):
        both = tuple(row[name] for name in ("difference", "difference_low", "difference_high"))
        said = not_told(view, both, row["n_units"] - 1, margin)
        return f"the difference between {rule} and the best average source is {said} ({about})"
    return f"the rule is {'better' if row['difference'] < 0 else 'worse'} ({about})"


def first_choice(view: View, tables: Frames, method: str) -> list[str]:
    """Of the opening table: the rule that was chosen on other targets, and its difference from the best
    average source."""
    row = qualities(tables["ranking"], method).get((CHOSEN, "regret1"))
    named = chosen_rules(tables["ranking_by_target"], method)
    if row is None or not np.isfinite(row["difference"]) or not named:
        return ["none", ""]
    return [named, _difference(view, row, "regret1")]


def against_bar(view: View, tables: Frames) -> dict[str, Any] | None:
    """The table of all rules beside the best average source: title, header, rows, note; None where
    there is no rule beside it."""
    rows, unit = [], ""
    for method in view.methods:
        if why_no_gain(tables["gains"], method):
            continue
        known = qualities(tables["ranking"], method)
        for ranker in dict.fromkeys(ranker for ranker, _ in known):
            if ranker in (BEST_AVERAGE, RANDOM):
                continue
            row = known[ranker, "regret1"]
            unit = str(row["unit"])
            cells = [_difference(view, known[ranker, metric], metric) for metric in _COMPARED]
            rows.append([method, pretty(ranker), *cells])
    if not rows:
        return None
    heads = [f"{QUALITY[metric].label} ({view.wording.unit})" for metric in _COMPARED[:3]]
    return {
        "title": "Does a rule beat the source that is best on average?",
        "header": [view.wording.heads_name, "rule", *heads, QUALITY[_COMPARED[3]].label],
        "rows": rows,
        "note": _NOTE.format(unit=unit),
    }


def qualities(ranking: pd.DataFrame, method: str) -> dict[tuple[str, str], Row]:
    rows = records(ranking[ranking["method"] == method])
    return {(row["ranker"], row["metric"]): row for row in rows}


def size(view: View, row: Row) -> str:
    scale, unit = view.wording.scale, view.wording.unit
    if not np.isfinite(row["mean"]):
        return "an unknown amount"
    span = interval(scale * row["low"], scale * row["high"])
    return f"{signed(scale * row['mean'])}{span} {unit}"


def _difference(view: View, row: Row, metric: str) -> str:
    if not np.isfinite(row["difference"]):
        return ""
    scale, digits = (1.0, 2) if metric.startswith("ndcg") else (view.wording.scale, 1)
    span = interval(scale * row["difference_low"], scale * row["difference_high"], digits)
    tested = f" ({p_value(row['p'])})" if span else ""
    return f"{signed(scale * row['difference'], digits)}{span}{tested}"


def left_out(tables: Frames) -> list[str]:
    """Which rules are not open to a new task, and why, as a sentence; none where all are."""
    rankers = {*tables["ranking"]["ranker"]}
    prompts = [pretty(name) for name in MEASURES if name in CLOSED & rankers]
    parts = []
    if prompts:
        parts.append(f"{', '.join(prompts)} (they need a prompt that was tuned on the task itself)")
    if MODEL_TARGET in rankers:
        parts.append(f"{MODEL_TARGET} (it knows the task as a source)")
    return [f"Left out, as not open to a new task: {'; '.join(parts)}."] * bool(parts)
