"""The cross-task generalisation benchmark: one prompt tuned on a set of tasks, then used on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def generalisation(
    scores: pd.DataFrame,
    groups: Mapping[str, Sequence[str]],
    source_set: str | Mapping[str, str],
    targets: Sequence[str] | None = None,
    level: float = 0.95,
) -> Benchmark:
    """Targets x {zero-shot, linear probe, and by method: scratch, started from the set's prompt, that
    prompt as it is (step 0), best single source} x shots, from a study's scores.

    `groups` are the named groups with their members; `source_set` names the set, or each target's own
    (a set that leaves it out). `targets` by default: the tasks that were tuned from the set's prompt, less
    its members.
    The best single source is, among the set's members, the one with the best mean test score on the
    target: chosen with hindsight, so that it bounds what choosing one source can give. Differences are
    those of multitask starts to scratch, to the prompt as it is, to the best single source, to zero-shot
    and to the linear probe. Raises `InputError` for an unknown set, a target that is a member of its
    own set, and without any run from a set's prompt.
    """
    scores = check_scores(scores)
    methods = methods_of(scores)
    sets = _sets(scores, groups, source_set, targets)
    for target, name in sets.items():
        if target in groups[name]:
            raise InputError(
                f"generalisation: target '{target}' is in its own source set '{name}': expected a "
                "set that leaves it out"
            )
    here = scores[scores["target"].isin(list(sets))]
    entries = [Entry(ZERO_SHOT), Entry(PROBE)]
    entries += [Entry(kind, m) for kind in (SCRATCH, MULTITASK, AS_IS, SINGLE) for m in methods]
    runs = baseline_runs(here, sets)
    contrasts = []
    for method in methods:
        started = _from_sets(here, method, sets)
        runs += [
            as_runs(Entry(SCRATCH, method), tuned_alone(here, method, RANDOM)),
            as_runs(Entry(MULTITASK, method), started),
            as_runs(Entry(AS_IS, method), started, "step0"),
            best_single(here, method, {target: groups[name] for target, name in sets.items()}),
        ]
        own = Entry(MULTITASK, method)
        contrasts += [(own, Entry(kind, method)) for kind in (SCRATCH, AS_IS, SINGLE)]
        contrasts += [(own, Entry(ZERO_SHOT)), (own, Entry(PROBE))]
    names = sorted(set(sets.values()))
    title = f"Generalisation from {names[0] if len(names) == 1 else f'{len(names)} source sets'}"
    known = pd.concat(runs, ignore_index=True)
    return benchmark(title, known, entries, list(sets), contrasts, level)


def _sets(
    scores: pd.DataFrame,
    groups: Mapping[str, Sequence[str]],
    source_set: str | Mapping[str, str],
    targets: Sequence[str] | None,
) -> dict[str, str]:
    """The source set of each target."""
    names = [source_set] if isinstance(source_set, str) else list(source_set.values())
    for name in names:
        if name not in groups:
            known = ", ".join(groups) or "none"
            raise InputError(f"source set '{name}' is no group of the study: expected of {known}")
    alone = scores[scores["group"] == scores["target"]]
    if isinstance(source_set, str):
        if targets is None:
            found = alone.loc[alone["start"] == source_set, "target"].unique()
            targets = [str(task) for task in found if task not in groups[source_set]]
        sets = dict.fromkeys(targets, source_set)
    else:
        sets = dict(source_set)
        if targets is not None:
            lost = [task for task in targets if task not in sets]
            if lost:
                raise InputError(f"target '{lost[0]}' has no source set: expected one")
            sets = {task: sets[task] for task in targets}
    started = [alone[(alone["start"] == n) & (alone["target"] == t)] for t, n in sets.items()]
    if not any(len(part) for part in started):
        raise InputError(
            f"generalisation: no task was tuned from the prompt of {', '.join(sorted(set(names)))}: "
            "expected such runs"
        )
    return sets


def _from_sets(scores: pd.DataFrame, method: str, sets: Mapping[str, str]) -> pd.DataFrame:
    """A method's runs of each target from its set's prompt."""
    alone = scores[(scores["group"] == scores["target"]) & (scores["method"] == method)]
    return alone[alone["start"] == alone["target"].map(dict(sets))]


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
