"""Which source prompt should a task that was never in the study start from?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from mvlpt_core.contract.errors import InputError

from .gain_model import Grid, fit, leave_one_out

# Sources whose expected gains span less than this share of an interval are called alike.
INDISTINCT = 0.1


@dataclass(frozen=True)
class Recommendation:
    """`table` holds one row a method and source, best first within a method: method, rank, source,
    expected_gain, low, high, chance_positive, then each measure and its `<measure>_percentile`
    among the study's pairs, like (the study's task that is most alike), what the source gained on it
    (gain_on_like, and shrunk gain_shrunk_on_like; NaN for that task itself), why, prompt.
    `familiarity` has one row a measure: measure, nearest,
    similarity, study_lowest, study_median, below. `statements` says it in sentences."""

    table: pd.DataFrame
    familiarity: pd.DataFrame
    statements: list[str]


def familiarity(similarity: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Nearest study task of a new task by each measure, beside the study's nearest neighbours.

    `similarity`: source, target, measure, value over the study (the diagonal is ignored); `new`:
    source, measure, value. `below`: the new task's highest similarity is lower than the highest
    similarity of every study task to another.
    """
    rows = []
    for measure, values in new.groupby("measure", sort=False):
        within = similarity[
            (similarity["measure"] == measure) & (similarity["source"] != similarity["target"])
        ]
        nearest = within.groupby("target")["value"].max().to_numpy(float)
        given = values["value"].to_numpy(float)
        if not np.isfinite(nearest).any() or not np.isfinite(given).any():
            continue
        top = int(np.nanargmax(given))
        rows.append(
            {
                "measure": measure,
                "nearest": values["source"].iloc[top],
                "similarity": given[top],
                "study_lowest": np.nanmin(nearest),
                "study_median": np.nanmedian(nearest),
                "below": bool(given[top] < np.nanmin(nearest)),
            }
        )
    columns = ["measure", "nearest", "similarity", "study_lowest", "study_median", "below"]
    return pd.DataFrame(rows, columns=columns)


def _prediction_error(grid: Grid) -> tuple[float, int]:
    """Root mean square error of expected gains for a task left out entirely, and the number of
    targets it rests on. Targets weigh the same; NaN below three targets."""
    squared = (leave_one_out(grid, drop_source=True) - grid.gain) ** 2
    known = np.isfinite(squared)
    count = known.sum(0)
    if (count > 0).sum() < 3:
        return float("nan"), int((count > 0).sum())
    means = np.where(known, squared, 0.0).sum(0)[count > 0] / count[count > 0]
    return float(np.sqrt(means.mean())), int((count > 0).sum())


def recommend(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    new: pd.DataFrame,
    prompts: Mapping[tuple[str, str], str] | None = None,
    level: float = 0.95,
    value: str = "gain",
) -> Recommendation:
    """Rank the study's tasks as sources for a new task, for each method.

    `gains`: method, source, target, `value` (one row a pair and method), and `gain_shrunk` where it is
    known; `similarity`: source,
    target, measure, value over the study (higher = more alike); `new`: source, measure, value,
    the new task's similarity to every study task; `prompts`: (method, source) -> file to start
    from. The expected gain is `choice.gain_model`'s; its prediction interval is Student's t
    (targets - 1 degrees of freedom) times the error of the same model on study tasks left out
    entirely, so it counts the target's own level, the pair's deviation and the fit's uncertainty.
    Raises InputError if `similarity` and `new` have no measure in common, or the new task's
    similarities are to none of the study's sources.
    """
    known = set(similarity["measure"].unique())
    measures = [m for m in new["measure"].unique() if m in known]
    if not measures:
        raise InputError(
            f"the new task has the measures {', '.join(sorted(set(new['measure'])))}: expected one "
            f"of the study's, {', '.join(sorted(known))}"
        )
    if not set(new["source"]) & set(gains["source"]):
        raise InputError(
            "the new task is compared with none of the study's sources: expected one of "
            + ", ".join(sorted(set(gains["source"])))
        )
    wide = new.pivot_table(index="source", columns="measure", values="value")
    off = similarity[similarity["source"] != similarity["target"]]
    tables, statements = [], []
    for method, frame in gains.groupby("method", sort=False):
        grid = Grid.from_frames(frame, similarity, measures, value)
        raw = wide.reindex(index=list(grid.sources), columns=measures).to_numpy(float).T
        candidates = np.isfinite(raw).any(0) & np.isfinite(grid.gain).any(1)
        expected = fit(grid).predict(raw, candidates)
        error, targets = _prediction_error(grid)
        half = student.ppf(0.5 + level / 2, max(targets - 1, 1)) * error
        table = pd.DataFrame(
            {
                "method": method,
                "rank": 0,
                "source": grid.sources,
                "expected_gain": expected,
                "low": expected - half,
                "high": expected + half,
                "chance_positive": student.cdf(expected / error, max(targets - 1, 1)),
            }
        )
        for k, measure in enumerate(measures):
            reference = off.loc[off["measure"] == measure, "value"].to_numpy(float)
            reference = np.sort(reference[np.isfinite(reference)])
            below = np.searchsorted(reference, raw[k], side="right")
            table[measure] = raw[k]
            share = below / max(len(reference), 1)
            table[f"{measure}_percentile"] = np.where(np.isfinite(raw[k]), 100 * share, np.nan)
        _add_likeness(table, frame, measures, value)
        table = table[candidates].sort_values("expected_gain", ascending=False, kind="stable")
        table["rank"] = np.arange(1, len(table) + 1)
        table["why"] = [_why(row, measures) for _, row in table.iterrows()]
        table["prompt"] = [(prompts or {}).get((str(method), s), "") for s in table["source"]]
        if len(table):
            statements.append(_advice(str(method), table, level))
        tables.append(table)
    known_range = familiarity(similarity, new[new["measure"].isin(measures)])
    statements.extend(_unlike(known_range))
    return Recommendation(pd.concat(tables, ignore_index=True), known_range, statements)


def _add_likeness(
    table: pd.DataFrame, gains: pd.DataFrame, measures: list[str], value: str
) -> None:
    """Fill in place `like`, of all tasks that are targets the one with the highest mean percentile, and what
    the sources gained on it, as measured and shrunk."""
    of_tasks = table.set_index("source")[[f"{m}_percentile" for m in measures]].mean(axis=1)
    alike = of_tasks[of_tasks.index.isin(gains["target"])].dropna()
    table["like"] = str(alike.idxmax()) if len(alike) else ""
    on_like = gains[gains["target"].isin(table["like"]) & (gains["source"] != gains["target"])]
    for name, column in (("gain_on_like", value), ("gain_shrunk_on_like", "gain_shrunk")):
        known = on_like.set_index("source")[column] if column in on_like else pd.Series(dtype=float)
        table[name] = table["source"].map(known)


def _why(row: pd.Series, measures: list[str]) -> str:
    parts = [
        f"{m} {row[m]:.2f} ({_ordinal(row[f'{m}_percentile'])} percentile of the study's pairs)"
        for m in measures
        if np.isfinite(row[m])
    ]
    return ", ".join(parts)


def _ordinal(value: float) -> str:
    number = round(value)
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 // 10 != 1 else "th"
    return f"{number}{ending}"


def _advice(method: str, table: pd.DataFrame, level: float) -> str:
    """What to do, from a method's sources in their order, best first: an instruction only where the
    interval of the gain leaves out 0."""
    best, last = table.iloc[0], table.iloc[-1]
    gain = f"{100 * best['expected_gain']:+.1f} points"
    if np.isfinite(best["low"]):
        gain += f" ({level:.0%} prediction interval {100 * best['low']:+.1f} to "
        gain += f"{100 * best['high']:+.1f})"
    else:
        gain += " (too few study tasks for an interval)"
    if best["expected_gain"] <= 0:
        return (
            f"{method}: tune from scratch, because no source is expected to help; the best, "
            f"{best['source']}, has an expected gain of {gain}."
        )
    if best["low"] > 0:
        text = f"{method}: start from {best['source']}, expected gain over scratch {gain}."
    else:
        text = (
            f"{method}: the study cannot say whether a source helps; the best guess is "
            f"{best['source']}, expected gain over scratch {gain}."
        )
        if np.isfinite(best["low"]):
            text += f" The chance of a gain is about {best['chance_positive']:.0%}."
    spread = best["expected_gain"] - last["expected_gain"]
    if len(table) > 1 and spread < INDISTINCT * (best["high"] - best["low"]):
        text += (
            f" The order of the sources says little: the first is expected to gain {100 * spread:.1f} "
            "points more than the last."
        )
    return text


def _unlike(known_range: pd.DataFrame) -> list[str]:
    """Whether the task is like anything in the study: one sentence, and what follows from it."""
    if known_range.empty:
        return []
    below = known_range[known_range["below"]]
    if below.empty:
        return ["The task lies within the range of tasks that the study knows."]
    parts = [
        f"{row['measure']} (nearest {row['nearest']} at {row['similarity']:.2f}, within the study at "
        f"least {row['study_lowest']:.2f})"
        for _, row in below.iterrows()
    ]
    count, of = len(below), len(known_range)
    statements = [f"This task is unlike all tasks of the study by {', '.join(parts)}."]
    # Some of many measures are below by chance; a single one within does not make the task familiar.
    if 2 * count >= of:
        by = "" if count == of else f" by {count} of {of} measures"
        statements.append(
            f"The expected gains are extrapolations{by}: the study holds no evidence on tasks like "
            "this one."
        )
    else:
        statements.append(
            f"By {count} of {of} measures the expected gains are extrapolations: trust them less."
        )
    return statements
