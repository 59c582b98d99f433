"""Tables that others made: any tidy source, target, score table gets figures and a report.

What stands for the gain is chosen by what the table has: its `gain`; `score - scratch`; the score
relative to the target's own (score[s, t] / score[t, t] - 1, Su et al. 2022); else the score
standardised within its target, which makes targets of different scales comparable. Where a table has
several seeds, the gains of each are kept, and each pair has an interval over them (`gains.others`).

What was left out, and what was taken for what, is said in sentences (`Given.notes`, `Alike.notes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from .catalogue import drawings, foreign_tables
from .choice.groups import CLUSTER_COLUMNS, profile_clusters
from .figures.gallery import draw_figures
from .figures.style import fonts
from .gains.agreement import agreements
from .gains.others import (
    DIFFERENCES,
    SEED_COLUMNS,
    has_seeds,
    in_shares,
    kind_of,
    pair_gains,
    run_gains,
)
from .gains.table import PAIR
from .read import pairs
from .read.others import covered, meeting, read_scores, read_similarity, without_baselines
from .report.made import made_today
from .report.page import Part, write_report
from .tables import call, explanations, made, rankings
from .view import View, Wording
from .vocabulary import MAIN_MEASURES

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
    """Tables of others as one: gains (`gains.others.PLAIN_COLUMNS`, with seeds `INTERVAL_COLUMNS` too), what
    stands for the gain and its unit, the sources that were left out because they are no tasks, what
    else is to be said of them, in sentences, and the gains of each seed (`SEED_COLUMNS`), if there are
    several."""

    gains: pd.DataFrame
    words: Wording
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()
    seed_gains: pd.DataFrame | None = None


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
        alike, notes = (
            read.table,
            (*notes, *read.notes, *covered(given.gains, read.table, similarity)),
        )
        pairs.write_frame(alike, out / "similarity.parquet")
    else:
        (out / "similarity.parquet").unlink(missing_ok=True)
    tables = _tables(given, alike, permutations=permutations, seed=seed, workers=workers)
    _write(tables, out)

    methods = list(dict.fromkeys(given.gains["method"]))
    words = given.words
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
        frame, dropped = without_baselines(read_scores(path), baselines)
        loaded.append(frame)
        left_out += dropped
        notes += [f"{path}: {note}" for note in meeting(frame)]
    for name in baselines:
        if name not in left_out:
            raise InputError(f"baseline '{name}' is no source: expected one of the tables'")
    if left_out:
        known = ", ".join(dict.fromkeys(left_out))
        notes.insert(0, f"sources left out as baselines or averages, which are no tasks: {known}")
    kind = kind_of(loaded) if gain == "auto" else gain
    words, said = _unit(kind, paths, loaded)
    notes += said
    tables = []
    for path, name, frame in zip(paths, names, loaded, strict=True):
        runs = frame.assign(gain=run_gains(frame, kind, path))
        if "method" not in runs.columns:
            runs["method"] = name
        elif len(paths) > 1:
            runs["method"] = name + " " + runs["method"].astype(str)
        tables.append(runs)
        if has_seeds(runs):
            notes.append(f"{path}: {_about_seeds(runs)}")
    of_seeds = [runs[list(SEED_COLUMNS)] for runs in tables if has_seeds(runs)]
    gains = [pair_gains(runs, kind, bool(of_seeds)) for runs in tables]
    return Given(
        pd.concat(gains, ignore_index=True),
        words,
        tuple(dict.fromkeys(left_out)),
        tuple(notes),
        pd.concat(of_seeds, ignore_index=True) if of_seeds else None,
    )


def _unit(
    kind: str, paths: Sequence[Path], loaded: Sequence[pd.DataFrame]
) -> tuple[Wording, list[str]]:
    """How gains of this kind are spoken of, and what is to be said of it: differences of scores are points
    where scores are shares, and else in the scores' own unit. Raises InputError where some tables have shares
    and others have not."""
    known = GAINS.get(kind, GAINS["gain"])  # `run_gains` refuses others
    if kind not in DIFFERENCES:
        return known, []
    beyond = [not in_shares(frame) for frame in loaded]
    if not any(beyond):
        return known, []
    large = paths[beyond.index(True)]
    if not all(beyond):
        raise InputError(
            f"{large} has scores beyond 1 and {paths[beyond.index(False)]} has none: expected one scale, "
            "percent or shares, in all"
        )
    note = f"{large}: scores go beyond 1, so gains are in the scores' own unit (percent: points)"
    return replace(known, unit="units of the score", scale=1.0), [note]


def _about_seeds(runs: pd.DataFrame) -> str:
    seeds = runs["seed"].unique()
    count = runs.groupby(PAIR)["gain"].count()
    text = f"{len(seeds)} seeds, so that gains are means over them and intervals are over seeds"
    few = int((count < len(seeds)).sum())
    return f"{text} ({few:,} of {len(count):,} pairs lack some)" if few else text


def _tables(
    given: Given,
    alike: pd.DataFrame,
    *,
    permutations: int,
    seed: int,
    workers: int,
) -> dict[str, pd.DataFrame]:
    gains, seeds = given.gains, given.seed_gains
    calls = explanations(gains, alike, ("gain",), permutations=permutations, seed=seed)
    calls += rankings(gains, alike)
    calls.append(call("clusters", cluster_table, gains))
    several = len(set(gains["method"])) > 1
    if several:
        calls.append(call("agreement", agreements, gains, permutations, seed))
    names = foreign_tables(len(alike) > 0, several, seeds is not None)
    known = {"gains": gains} if seeds is None else {"gains": gains, "seed_gains": seeds}
    return {**made(calls, names, workers), **known}


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
