"""Tables that others made: any tidy source, target, score table gets figures and a report.

What stands for the gain is chosen by what the table has: its `gain`; `score - scratch`; the score
relative to the target's own (score[s, t] / score[t, t] - 1, Su et al. 2022); else the score
standardised within its target, which makes targets of different scales comparable.

A table may also be a square matrix, its first column the sources' names. What was left out, and what
was taken for what, is said in sentences (`Given.notes`, `Alike.notes`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from .catalogue import drawings, foreign_tables
from .choice.groups import profile_clusters
from .figures.gallery import draw_figures
from .figures.style import fonts
from .read import pairs
from .report.made import made_today
from .report.page import Part, write_report
from .stats.resample import bootstrap_mean, unit_counts
from .tables import call, explanations, made, rankings
from .view import View, Wording
from .vocabulary import MAIN_MEASURES

CLUSTER_COLUMNS = ("method", "cluster", "task")
AGREEMENT_COLUMNS = ("a", "b", "n_pairs", "spearman", "spearman_per_target", "low", "high")
# Rows that published tables keep beside those of tasks: the target's own network, no training. Case,
# blanks and signs do not count.
BASELINES = ("self", "random", "scratch", "pretrained", "finetuned", "zeroshot", "baseline")
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
_OTHERS: dict[str, Any] = {
    "own_name": "source = target",
    "heads_name": "table",
    "noun": "table",
    "baseline": "",
    "title": "Transfer table",
    "heatmap": "{score_name} of each source (row) on each target (column) in {method}, in {unit}; "
    "the grey numbers are means without the diagonal.",
    "definition": "",
}


def _words(score_name: str, unit: str, scale: float) -> Wording:
    return Wording(score_name, unit, scale, **_OTHERS)


# What may stand for the gain, and how it is spoken of.
GAINS = {
    "gain": _words("gain", "points", 100.0),
    "minus_scratch": _words("gain over scratch", "points", 100.0),
    "relative": _words("score against the target's own", "percent", 100.0),
    "standardised": _words("standardised score", "s.d. within target", 1.0),
}


@dataclass(frozen=True)
class Given:
    """Tables of others as one: gains (method, source, target, score, gain), what stands for the
    gain (a key of `GAINS`), the sources that were left out because they are no tasks, and what else
    is to be said of them, in sentences."""

    gains: pd.DataFrame
    kind: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alike:
    """Similarities (source, target, measure, value), and which were used and not, in sentences."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Analysed:
    """Where the report is, and what is to be said of the tables, in sentences."""

    report: Path
    notes: tuple[str, ...]


def analyse_tables(
    paths: Sequence[Path],
    out: Path,
    similarity: Path | None = None,
    gain: str = "auto",
    permutations: int = 10_000,
    bootstrap: int = 2000,
    seed: int = 0,
    workers: int = 1,
    baselines: Sequence[str] = (),
    measures: Sequence[str] = (),
) -> Analysed:
    """Analyse one table, or several beside each other, into the folder `out`.

    `similarity`: a tidy source, target, measure, value table, or a source, target table with one
    column a measure (higher = more alike); it may be the table itself. `gain`: `auto` or one of
    `GAINS`; `workers`: processes used. Sources that are no tasks are left out: `baselines`, those
    named as in `BASELINES`, and a single one that is never a target while all others are.
    `measures`: which of the similarities (all that can be some). Writes tables/, figures/,
    correlations.csv and .parquet, similarity.parquet and report.html.
    """
    out = Path(out)
    given = read_given(paths, gain, baselines)
    alike, notes = pd.DataFrame(columns=["source", "target", "measure", "value"]), given.notes
    if similarity is not None:
        read = read_similarity(similarity, measures)
        alike, notes = read.table, (*notes, *read.notes)
        pairs.write_frame(alike, out / "similarity.parquet")
    else:
        (out / "similarity.parquet").unlink(missing_ok=True)
    draws = {"permutations": permutations, "bootstrap": bootstrap, "seed": seed}
    tables = _tables(given.gains, alike, **draws, workers=workers)
    _write(tables, out)

    methods = list(dict.fromkeys(given.gains["method"]))
    words = GAINS[given.kind]
    view = View(pairs.task_order(given.gains), methods, _shown(alike), wording=words)
    of_studies = dict.fromkeys(("has_factors", "has_curves", "has_groups", "has_seeds"), False)
    wanted = drawings(methods, view.measures, **of_studies)
    frames = {**tables, "similarity": alike}
    captions = draw_figures(frames, view, out / "figures", wanted=wanted, workers=workers)
    pairs.write_frame(captions, out / "figures" / "captions.csv")
    lost = fonts([*view.tasks, *methods, *view.measures])[1]
    if lost:
        said = f"no font here has all letters of {', '.join(lost)}: figures show boxes for them"
        notes = (*notes, f"{said}; the SVG files keep the letters")
    figures = {drawing.name: out / "figures" / f"{drawing.name}.png" for drawing in wanted}
    protocol = {"what is analysed": f"{words.score_name}, in {words.unit}"}
    if given.left_out:
        protocol["sources left out, as no tasks"] = ", ".join(given.left_out)
    if notes:
        protocol["said of the tables"] = "; ".join(notes)
    path = out / "report.html"
    name = out.resolve().name
    shown = {"": Part(frames, captions, figures)}
    write_report(path, name, shown, view, protocol, made=made_today())
    return Analysed(path, notes)


def read_given(paths: Sequence[Path], gain: str = "auto", baselines: Sequence[str] = ()) -> Given:
    """Read the tables and make a gain of what they have. Raises InputError, naming the file, for
    one that is no table of source, target and score, or cannot give the wanted gain, and for
    `baselines` that are no source."""
    names = _short([path.stem for path in paths])
    loaded, left_out, notes = [], [], []
    for path in paths:
        frame, dropped = _without_baselines(_read(path), baselines)
        loaded.append(frame)
        left_out += dropped
        notes += [f"{path}: {note}" for note in _meeting(frame)]
    for name in baselines:
        if name not in left_out:
            raise InputError(f"baseline '{name}' is no source: expected one of the tables'")
    if left_out:
        known = ", ".join(dict.fromkeys(left_out))
        notes.insert(0, f"sources left out as baselines, which are no tasks: {known}")
    kind = _kind(loaded) if gain == "auto" else gain
    parts = []
    for path, name, frame in zip(paths, names, loaded, strict=True):
        part = frame.assign(gain=_gain(frame, kind, path))
        if "method" not in part.columns:
            part["method"] = name
        elif len(paths) > 1:
            part["method"] = name + " " + part["method"].astype(str)
        parts.append(part)
    gains = pd.concat(parts, ignore_index=True)[["method", "source", "target", "score", "gain"]]
    return Given(gains, kind, tuple(dict.fromkeys(left_out)), tuple(notes))


def _tables(
    gains: pd.DataFrame,
    alike: pd.DataFrame,
    *,
    permutations: int,
    bootstrap: int,
    seed: int,
    workers: int,
) -> dict[str, pd.DataFrame]:
    calls = explanations(gains, alike, ("gain",), permutations=permutations, seed=seed)
    calls += rankings(gains, alike)
    calls.append(call("clusters", cluster_table, gains))
    several = len(set(gains["method"])) > 1
    if several:
        calls.append(call("agreement", agreement, gains, bootstrap, seed))
    names = foreign_tables(len(alike) > 0, several)
    return {**made(calls, names, workers), "gains": gains}


def _write(tables: dict[str, pd.DataFrame], out: Path) -> None:
    for name, table in tables.items():
        if name == "correlations":
            for suffix in ("csv", "parquet"):
                pairs.write_frame(table, out / f"{name}.{suffix}")
        else:
            pairs.write_frame(table, out / "tables" / f"{name}.csv")


def _shown(alike: pd.DataFrame) -> list[str]:
    """Measures with figures of their own: the cosines where they are known, else the first two."""
    present = list(alike["measure"].unique())
    return [m for m in MAIN_MEASURES if m in present] or present[:2]


def _short(names: list[str]) -> list[str]:
    """Names of tables without the words that all of them begin with. Raises
    InputError for a name that occurs twice."""
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise InputError(f"two tables are called '{twice}': expected different names")
    words = [name.split("_") for name in names]
    while len(names) > 1 and len({w[0] for w in words}) == 1 and min(map(len, words)) > 1:
        words = [w[1:] for w in words]
    return ["_".join(w) for w in words]


def _plain(name: str) -> str:
    """A name without what people spell in different ways: case, blanks, signs."""
    return "".join(c for c in name.casefold() if c.isalnum()) or name


def _without_baselines(
    frame: pd.DataFrame, named: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """The table without sources that are no tasks, and the names of these."""
    targets = set(frame["target"])
    never = [name for name in frame["source"].unique() if name not in targets]
    found = [name for name in never if _plain(name) in BASELINES]
    others = [name for name in never if name not in found]
    if len(others) == 1 and frame["source"].nunique() - len(never) >= MIN_SOURCES:
        found += others
    found += [name for name in named if name in set(frame["source"]) and name not in found]
    return frame[~frame["source"].isin(found)].reset_index(drop=True), found


def _meeting(frame: pd.DataFrame) -> list[str]:
    """What is to be said where no or few sources are targets too."""
    sources, targets = list(frame["source"].unique()), list(frame["target"].unique())
    both = set(sources) & set(targets)
    if 2 * len(both) >= min(len(sources), len(targets)):
        return []
    spelt = {_plain(name): name for name in targets}
    alike = [(s, spelt[_plain(s)]) for s in sources if s not in both and _plain(s) in spelt]
    count = f"{len(both)} of {len(sources)} sources" if both else f"none of {len(sources)} sources"
    said = f"{count} is a target too, so that source and target are taken for things of two kinds"
    if alike:
        said += f" (but source '{alike[0][0]}' and target '{alike[0][1]}' may be one)"
    return [said]


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with no blanks around its names."""
    names = [c for c in pairs.NAMES if c in frame and not pd.api.types.is_numeric_dtype(frame[c])]
    return frame.assign(**{name: frame[name].str.strip() for name in names})


def _read_frame(path: Path) -> pd.DataFrame:
    """A table with source and target, names without blanks around them; a square matrix made one."""
    frame = pairs.read_frame(path)
    if "target" in frame or "score" in frame or len(frame.columns) < 3:
        return _stripped(frame)
    first = str(frame.columns[0])
    frame = pairs.read_frame(path, text=[*pairs.NAMES, first])
    names = frame[first].astype(str).str.strip()
    columns = [str(name).strip() for name in frame.columns[1:]]
    if 2 * len(set(names) & set(columns)) < max(len(names), len(columns)):
        return _stripped(frame)
    wide = frame.set_axis(["source", *columns], axis=1).assign(source=names)
    return wide.melt("source", var_name="target", value_name="score").astype({"target": str})


def _read(path: Path) -> pd.DataFrame:
    """A pair table; where it names models or metrics, these take the place of methods."""
    frame = _read_frame(path)
    if {"measure", "value"} <= set(frame.columns):  # similarities in the same table, a row each
        frame = frame.drop(columns=["measure", "value"]).drop_duplicates(ignore_index=True)
    if "score" not in frame.columns and "gain" in frame.columns:
        frame = frame.assign(score=frame["gain"])
    frame = pairs.check_pairs(frame, name=str(path), keys=("method", "model", "metric", "seed"))
    kinds = [c for c in ("method", "model", "metric") if c in frame and len(set(frame[c])) > 1]
    if kinds:
        frame["method"] = frame[kinds].astype(str).agg(" ".join, axis=1)
    if "method" in frame and (pairs.owner(frame) == "").any():
        raise InputError(f"{path}: column 'method' is empty in some rows: expected a name")
    keys = [c for c in ("method", "source", "target") if c in frame.columns]
    if frame.duplicated(keys).any():  # seeds
        numbers = frame.select_dtypes("number").columns.difference([*keys, "seed"])
        frame = frame.groupby(keys, sort=False)[list(numbers)].mean().reset_index()
    return frame


def _own(frame: pd.DataFrame) -> pd.Series:
    """score / own score, method by method."""
    keys = frame["method"] if "method" in frame else pd.Series("", frame.index)
    parts = [pairs.relative_to_own(part) for _, part in frame.groupby(keys, sort=False)]
    return pd.concat(parts).reindex(frame.index)


def _kind(frames: Sequence[pd.DataFrame]) -> str:
    """What stands for the gain, by what all tables have."""
    for column, kind in (("gain", "gain"), ("scratch", "minus_scratch")):
        if all(column in frame.columns for frame in frames):
            return kind

    # Affinities have no natural zero and no common scale: a table is read as scores only where
    # nearly every target has one of its own and scores are of one size.
    def scores(frame: pd.DataFrame) -> bool:
        known = frame["score"].notna()
        covered = _own(frame)[known].notna().mean() > 0.8
        low, high = frame.loc[known, "score"].quantile([0.1, 0.9])
        return bool(covered and high > 0.05 and low >= 0)

    return "relative" if all(scores(frame) for frame in frames) else "standardised"


def _gain(frame: pd.DataFrame, kind: str, path: Path) -> pd.Series:
    if kind not in GAINS:
        raise InputError(f"gain is '{kind}': expected one of auto, {', '.join(GAINS)}")
    needed = {"gain": "gain", "minus_scratch": "scratch"}.get(kind)
    if needed is not None and needed not in frame.columns:
        raise InputError(f"{path}: column '{needed}' is missing: expected it for gain '{kind}'")
    if kind == "gain":
        return pairs.numeric(frame, "gain", str(path))
    if kind == "minus_scratch":
        return frame["score"] - pairs.numeric(frame, "scratch", str(path))
    if kind == "relative":
        return _own(frame) - 1
    keys = [c for c in ("method", "target") if c in frame.columns]
    # The target's own score is no transfer and may dwarf the rest.
    other = frame["score"].where(frame["source"] != frame["target"])
    groups = other.groupby([frame[c] for c in keys])
    spread = groups.transform("std")
    return (frame["score"] - groups.transform("mean")) / spread.where(spread > 0)


def read_similarity(path: Path, measures: Sequence[str] = ()) -> Alike:
    """Tidy source, target, measure, value from a tidy table or one with a column a measure.

    Columns without a name, constant ones, row numbers, settings and other scores are no measures,
    unless they are among the wanted `measures`. Raises InputError for a table without a measure, and
    for a wanted one that it lacks.
    """
    frame = _read_frame(path)
    if {"measure", "value"} <= set(frame.columns):
        checked = pairs.check_pairs(frame, value="value", name=str(path))
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
    long = frame.melt(["source", "target"], names, var_name="measure", value_name="value")
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


def cluster_table(gains: pd.DataFrame) -> pd.DataFrame:
    """method, cluster, task: sources by `choice.groups.profile_clusters`."""
    parts = [pd.DataFrame(columns=list(CLUSTER_COLUMNS))]
    for method, frame in gains.groupby("method", sort=False):
        wide = pairs.pivot(frame, "gain")
        own = np.array(wide.index)[:, None] == np.array(wide.columns)[None, :]
        labels = profile_clusters(wide.to_numpy(float), own) + 1
        table = pd.DataFrame({"method": method, "cluster": labels, "task": wide.index})
        parts.append(table.sort_values("cluster", kind="stable"))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def agreement(gains: pd.DataFrame, bootstrap: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How far the tables of `gains` agree on the pairs they share, off the diagonal: a, b, n_pairs,
    spearman (all pairs), spearman_per_target (mean over targets) with low, high from a bootstrap
    over targets."""
    off = gains[gains["source"] != gains["target"]]
    wide = off.pivot_table(index=["source", "target"], columns="method", values="gain", sort=False)
    rng = np.random.default_rng(seed)
    rows = []
    for a, b in combinations(dict.fromkeys(gains["method"]), 2):
        if a not in wide or b not in wide:
            continue
        both = wide[[a, b]].dropna()
        ranks = both.groupby(level="target").rank()
        by_target = [
            part[a].corr(part[b])
            for _, part in ranks.groupby(level="target")
            if len(part) >= 3 and len(set(part[a])) > 1 and len(set(part[b])) > 1
        ]
        values = np.array(by_target)
        mean, low, high = bootstrap_mean(values, unit_counts(len(values), bootstrap, rng))
        pooled = both[a].rank().corr(both[b].rank()) if len(both) >= 3 else np.nan
        rows.append((a, b, len(both), pooled, mean, low, high))
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))
