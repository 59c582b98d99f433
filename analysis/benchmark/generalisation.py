"""Multitask initialisation: tasks started from prompts of several others. From one set of tasks to others it
is the paper's cross-task generalisation benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM

from .table import (
    AS_IS,
    MULTITASK,
    PROBE,
    RUN_COLUMNS,
    SCRATCH,
    SINGLE,
    ZERO_SHOT,
    Benchmark,
    Entry,
    as_runs,
    baseline_runs,
    benchmark,
    check_scores,
    methods_of,
    tuned_alone,
)

PUBLISHED = Path(__file__).with_name("published.csv")
# The targets that the published averages are over, as `config/suites/elevater.tsv` names them.
PUBLISHED_TARGETS = frozenset(
    (
        *("hateful-memes", "cifar-10", "mnist", "resisc45_clip", "country211"),
        *("voc-2007-classification", "cifar-100", "patch-camelyon", "rendered-sst2"),
        *("gtsrb", "fer-2013", "kitti-distance"),
    )
)
PUBLISHED_COLUMNS = (
    *("backbone", "entry", "method", "kind", "shots", "n_targets", "same_targets"),
    *("ours", "low", "high", "published", "reading"),
    *("difference", "difference_low", "difference_high"),
)


@dataclass(frozen=True)
class Way:
    """A way to start tasks from several: the start of each target, and the tasks behind it."""

    name: str
    starts: Mapping[str, str]
    members: Mapping[str, Sequence[str]]


def generalisation(
    scores: pd.DataFrame,
    ways: Sequence[Way],
    targets: Sequence[str] | None = None,
    level: float = 0.95,
) -> Benchmark:
    """Targets x {zero-shot, linear probe, and by method: scratch; for each way to start from several tasks,
    the tuned run and its prompt as it is (step 0); best single source} x shots, from a study's scores.

    `targets` by default: the tasks that have a start in every way; where there are none, in any. The best
    single source is, among the tasks behind a target's starts, the one with the best mean test score on the
    target: chosen with hindsight, so that it bounds what choosing one source can give. Differences are
    those of each way to scratch, to its prompt as it is, to the ways before it, to the best single source,
    to zero-shot and to the linear probe. Targets that are among the tasks behind their own start are noted.
    Raises `InputError` for a target without a start, and where no task was tuned from one.
    """
    scores = check_scores(scores)
    methods = methods_of(scores)
    targets = _targets(scores, ways, targets)
    here = scores[scores["target"].isin(targets)]
    labels = [way.name if len(ways) > 1 else "" for way in ways]
    entries = [Entry(ZERO_SHOT), Entry(PROBE), *(Entry(SCRATCH, m) for m in methods)]
    entries += [Entry(kind, m, w) for kind in (MULTITASK, AS_IS) for m in methods for w in labels]
    entries += [Entry(SINGLE, m) for m in methods]
    members = {
        task: tuple(dict.fromkeys(t for way in ways for t in way.members.get(task, ())))
        for task in targets
    }
    runs, contrasts = baseline_runs(here, targets), []
    for method in methods:
        runs.append(as_runs(Entry(SCRATCH, method), tuned_alone(here, method, RANDOM)))
        runs.append(best_single(here, method, members))
        others = [Entry(SCRATCH, method), Entry(SINGLE, method), Entry(ZERO_SHOT), Entry(PROBE)]
        before: list[Entry] = []
        for way, label in zip(ways, labels, strict=True):
            own, as_is = Entry(MULTITASK, method, label), Entry(AS_IS, method, label)
            started = _started(here, method, way.starts)
            runs += [as_runs(own, started), as_runs(as_is, started, "step0")]
            contrasts += [(own, minus) for minus in (*others[:1], as_is, *before, *others[1:])]
            before.append(own)
    title = "Multitask initialisation" if len(ways) > 1 else f"Generalisation from {ways[0].name}"
    known = pd.concat(runs, ignore_index=True)
    found = benchmark(title, known, entries, targets, contrasts, level)
    inside = [
        f"{way.name}: {task} is among the tasks behind its own start"
        for way in ways
        for task in targets
        if task in way.members.get(task, ())
    ]
    return replace(found, notes=tuple(inside))


def _targets(scores: pd.DataFrame, ways: Sequence[Way], targets: Sequence[str] | None) -> list[str]:
    """The targets wanted, checked."""
    known = list(dict.fromkeys(task for way in ways for task in way.starts))
    shared = [task for task in known if all(task in way.starts for way in ways)]
    lost = [task for task in targets or () if task not in known]
    if lost:
        raise InputError(f"target '{lost[0]}' has no start from several tasks: expected one")
    if not any(len(_started(scores, None, way.starts)) for way in ways):
        names = ", ".join(way.name for way in ways) or "none"
        raise InputError(
            f"generalisation: no task was tuned from several ({names}): expected such runs"
        )
    return list(targets) if targets is not None else shared or known


def _started(scores: pd.DataFrame, method: str | None, starts: Mapping[str, str]) -> pd.DataFrame:
    """Runs of each task from its start, of one method or of all."""
    alone = scores[scores["group"] == scores["target"]]
    if method is not None:
        alone = alone[alone["method"] == method]
    return alone[alone["start"] == alone["target"].map(dict(starts))]


def best_single(
    scores: pd.DataFrame, method: str, members: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Runs (`RUN_COLUMNS`) of each target from the single task, among its set's `members`, with the best
    mean score over seeds, by shots; only sources with as many finished seeds as any compete, the first
    of equals wins. `source` names it."""
    alone = scores[(scores["group"] == scores["target"]) & (scores["method"] == method)]
    chosen = [alone.iloc[:0].assign(source="")]
    for (target, _), rows in alone.groupby(["target", "shots"], sort=False):
        of_set = [task for task in members.get(str(target), ()) if task != target]
        rows = rows[rows["start"].isin(of_set) & rows["score"].notna()]
        if rows.empty:
            continue
        by_source = rows.groupby("start")["score"].agg(["mean", "size"])
        by_source = by_source[by_source["size"] == by_source["size"].max()]
        by_source = by_source.reindex([task for task in of_set if task in by_source.index])
        best = by_source["mean"].idxmax()
        chosen.append(rows[rows["start"] == best].assign(source=best))
    found = pd.concat(chosen).assign(entry=Entry(SINGLE, method).name)
    return found[list(RUN_COLUMNS)]


def beside_published(result: Benchmark, backbone: str) -> pd.DataFrame:
    """Our averages beside the authors' (`PUBLISHED_COLUMNS`, scores between 0 and 1), by shots; no rows
    for a backbone (open_clip's name, `ViT-B-16`) without published ones.

    The published averages are read off a figure, give or take `reading`, and their number of shots is
    not stated. The interval of the difference is that of our average with the targets as units,
    the published value taken as exact; `same_targets` says whether ours are over the same tasks.
    """
    known = pd.read_csv(PUBLISHED, keep_default_na=False, dtype=str)
    known = known[known["backbone"] == backbone.replace("/", "-")].drop(columns="shots")
    found = result.averages.merge(known, on=["method", "kind"])
    found = found[found["score"].notna()]
    left = found["reason"] != ""
    same = (set(result.targets) == PUBLISHED_TARGETS) & ~left
    published = found["average"].astype(float) / 100
    found = found.assign(
        ours=found["score"],
        published=published,
        reading=found["reading"].astype(float) / 100,
        difference=found["score"] - published,
        difference_low=found["low"] - published,
        difference_high=found["high"] - published,
        same_targets=same.astype(bool),
    )
    return found[list(PUBLISHED_COLUMNS)].reset_index(drop=True)
