"""Tables that others made, as they are read: pairs with scores, and similarities.

A table may also be a square matrix, its first column the sources' names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError

from . import pairs

# Rows that published tables keep beside those of tasks: the target's own network, no training. Case,
# blanks and signs do not count.
BASELINES = ("self", "random", "scratch", "pretrained", "finetuned", "zeroshot", "baseline")
AVERAGES = ("mean", "average", "avg", "median", "std", "stdev")  # of a matrix, beside its tasks
MIN_SOURCES = 3  # beside one that is never a target, before it is taken for a baseline
# Columns of numbers that tell how a score came about, or another score, and not how alike tasks are.
SETTINGS = frozenset(
    (
        *("seed", "fold", "run", "n", "id", "index", "rank", "epoch", "epochs", "step", "steps"),
        *("shots", "batch", "batchsize", "lr", "learningrate", "weightdecay", "momentum"),
        *("warmup", "dropout"),
    )
)
OUTCOMES = frozenset(("score", "gain", "scratch", "accuracy", "acc", "loss", "auc", "f1", "error"))


@dataclass(frozen=True)
class Alike:
    """Similarities (source, target, measure, value), and which were used and not, in sentences."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_scores(path: Path) -> pd.DataFrame:
    """A pair table, a row a seed where it has some; where it names models or metrics, these take the place of
    methods. Raises InputError, naming the file, for what is none."""
    frame = _read_frame(path)
    if {"measure", "value"} <= set(frame.columns):  # similarities in the same table, a row each
        frame = frame.drop(columns=["measure", "value"]).drop_duplicates(ignore_index=True)
    if "score" not in frame.columns and "gain" in frame.columns:
        frame = frame.assign(score=frame["gain"])
    frame = pairs.check_pairs(frame, name=str(path), keys=("method", "model", "metric", "seed"))
    kinds = [c for c in ("method", "model", "metric") if c in frame and len(set(frame[c])) > 1]
    if kinds:
        frame["method"] = frame[kinds].astype(str).agg(" ".join, axis=1)
    if frame["score"].isna().all():
        raise InputError(f"{path}: column 'score' has no number in it: expected one for some pairs")
    if "method" in frame and (pairs.owner(frame) == "").any():
        raise InputError(f"{path}: column 'method' is empty in some rows: expected a name")
    if "seed" in frame and frame["seed"].isna().any():
        row = int(frame["seed"].isna().to_numpy().argmax()) + 1
        raise InputError(f"{path}: column 'seed' is empty in row {row}: expected a seed")
    return frame


def read_similarity(path: Path, measures: Sequence[str] = ()) -> Alike:
    """Tidy source, target, measure, value from a tidy table or one with a column a measure.

    Columns without a name, constant ones, row numbers, settings and other scores are no measures,
    unless they are among the wanted `measures`. Raises InputError for a table without a measure, and
    for a wanted one that it lacks.
    """
    frame = _read_frame(path, path.stem)
    if {"measure", "value"} <= set(frame.columns):
        checked = pairs.check_pairs(frame, value="value", name=str(path))
        if (checked["measure"].astype(str).str.strip() == "").any():
            raise InputError(f"{path}: column 'measure' is empty in some rows: expected a name")
        names = list(map(str, checked["measure"].unique()))
        _check_wanted(path, measures, names)
        if measures:
            checked = checked[checked["measure"].isin(measures)].reset_index(drop=True)
        return Alike(checked, (f"measures used: {', '.join(measures or names)}",))
    numbers = [
        c
        for c in frame.columns
        if c not in ("source", "target") and pd.api.types.is_numeric_dtype(frame[c])
    ]
    reasons = {c: _no_measure(frame, c) for c in numbers}
    _check_wanted(path, measures, numbers)
    names = list(measures) or [c for c in numbers if not reasons[c]]
    if not names or not {"source", "target"} <= set(frame.columns):
        raise InputError(
            f"{path}: no similarity in it: expected columns source, target, measure, value, or "
            "source, target and one column of numbers for each measure"
        )
    # A table of scores may hold a pair once for each seed.
    keys = ["source", "target"]
    one = frame.groupby(keys, sort=False)[names].mean().reset_index() if "seed" in frame else frame
    long = one.melt(keys, names, var_name="measure", value_name="value")
    said = [f"measures used: {', '.join(names)}"]
    if not measures and (
        lost := [f"{c} ({why})" for c, why in reasons.items() if why and c != "score"]
    ):
        said.append(f"columns that are no measures: {', '.join(lost)}")
    return Alike(pairs.check_pairs(long, value="value", name=str(path)), tuple(said))


def _check_wanted(path: Path, measures: Sequence[str], known: Sequence[str]) -> None:
    for name in measures:
        if name not in known:
            raise InputError(
                f"{path}: measure '{name}' is not in it: expected some of {', '.join(known)}"
            )


def _no_measure(frame: pd.DataFrame, column: str) -> str:
    """Why a column of numbers is no similarity of source and target, or ""."""
    values = frame[column].dropna()
    words = set(re.split(r"[^a-z0-9]+", str(column).lower()))
    if not column.strip() or column.startswith("Unnamed:"):
        return "no name"
    if words & OUTCOMES or column.lower().endswith("score"):
        return "a score"
    if _plain(column) in SETTINGS:
        return "a setting"
    if values.nunique() < 2:
        return "constant"
    if len(values) == len(frame) and (values.diff().dropna() == 1).all():
        return "row numbers"
    return ""


def without_baselines(
    frame: pd.DataFrame, named: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """The table without sources that are no tasks and without averages, and the names of both."""
    targets = set(frame["target"])
    never = [name for name in frame["source"].unique() if name not in targets]
    found = [name for name in never if _plain(name) in BASELINES]
    spelt = set(map(_plain, targets))  # a target that is spelt in another way is no baseline
    others = [name for name in never if name not in found and _plain(name) not in spelt]
    if len(others) == 1 and frame["source"].nunique() - len(never) >= MIN_SOURCES:
        found += others
    found += [name for name in named if name in set(frame["source"]) and name not in found]
    averages = [name for name in pairs.task_order(frame) if _plain(name) in AVERAGES]
    found += [name for name in averages if name not in found]
    kept = ~(frame["source"].isin(found) | frame["target"].isin(averages))
    return frame[kept].reset_index(drop=True), found


def meeting(frame: pd.DataFrame) -> list[str]:
    """What is to be said where no or few sources are targets too, and of names that may be one."""
    sources, targets = list(frame["source"].unique()), list(frame["target"].unique())
    both = set(sources) & set(targets)
    alike = spelt_alike([*sources, *targets])
    more = f", as may {len(alike) - 1} more" if len(alike) > 1 else ""
    if 2 * len(both) >= min(len(sources), len(targets)):
        return [f"{alike[0]} may be one task{more}"] if alike else []
    count = f"{len(both)} of {len(sources)} sources" if both else f"none of {len(sources)} sources"
    said = f"{count} is a target too, so that source and target are taken for things of two kinds"
    if alike:
        said += f" (but {alike[0]} may be one{more})"
    return [said]


def spelt_alike(names: Sequence[str]) -> list[str]:
    """Names that differ in case, blanks or signs alone, two by two: they may be one task's."""
    spelt: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spelt.setdefault(_plain(name), []).append(name)
    return [f"'{same[0]}' and '{same[1]}'" for same in spelt.values() if len(same) > 1]


def covered(gains: pd.DataFrame, alike: pd.DataFrame, path: Path) -> list[str]:
    """What is to be said where similarities are not given for all pairs; InputError where for none."""
    off = gains[gains["source"] != gains["target"]]
    wanted = set(zip(off["source"], off["target"], strict=True))
    of = alike.dropna(subset=["value"])
    given = set(zip(of["source"], of["target"], strict=True)) & wanted
    if wanted and not given:
        source, target = min(wanted)
        raise InputError(
            f"{path}: no similarity of a pair of the tables: expected names as there ('{source}', '{target}')"
        )
    missing = len(wanted) - len(given)
    return [f"{path}: no similarity for {missing:,} of {len(wanted):,} pairs"] if missing else []


def _plain(name: str) -> str:
    """A name without what people spell in different ways: case, blanks, signs."""
    return "".join(c for c in name.casefold() if c.isalnum()) or name


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with no blanks around its names."""
    names = [c for c in pairs.NAMES if c in frame and not pd.api.types.is_numeric_dtype(frame[c])]
    return frame.assign(**{name: frame[name].str.strip() for name in names})


def _read_frame(path: Path, value: str = "score") -> pd.DataFrame:
    """A table with source and target, names without blanks around them; a square matrix made one, of the
    column `value`."""
    frame = pairs.read_frame(path)
    if "target" in frame or "score" in frame or len(frame.columns) < 3:
        return _stripped(frame)
    first = str(frame.columns[0])
    frame = pairs.read_frame(path, text=[*pairs.NAMES, first])
    names = frame[first].astype(str).str.strip()
    columns = [str(name).strip() for name in frame.columns[1:]]
    both = len(set(names) & set(columns))
    if 2 * both < max(len(names), len(columns)):
        raise InputError(
            f"{path}: columns {', '.join(map(str, frame.columns))}: expected source, target and score, or a "
            f"matrix of tasks by tasks ({both} of {len(names)} rows are called like a column)"
        )
    wide = frame.set_axis(["source", *columns], axis=1).assign(source=names)
    return wide.melt("source", var_name="target", value_name=value).astype({"target": str})
