"""What the benchmarks share: entries (the columns of a table), cells, averages and differences.

Scores lie between 0 and 1. A *run* here is one score of an entry on a target with some shots and a
seed; a *cell* is its mean over seeds, an *average* the mean of cells over targets, all entries
over the same ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import PROBE, ZERO_SHOT

from ..stats.variance import mean_interval, mean_intervals

SCRATCH = "scratch"
MULTITASK, AS_IS, SINGLE = "multitask", "as_is", "single"
KINDS = (ZERO_SHOT, PROBE, SCRATCH, MULTITASK, AS_IS, SINGLE)
# What the paper calls the methods; others keep their own name.
PAPER = {"text": "CoOp", "visual": "VPT", "unified": "UPT"}
NEEDED = ("method", "group", "start", "target", "shots", "seed", "score", "zero_shot", "step0")
RUN_COLUMNS = ("entry", "target", "shots", "seed", "score", "source")
CELL_COLUMNS = (
    *("entry", "method", "kind", "target", "shots", "score", "low", "high"),
    *("n_seeds", "n_diverged", "source", "reason"),
)
AVERAGE_COLUMNS = (
    *("entry", "method", "kind", "shots", "score", "low", "high"),
    *("over_zero_shot", "over_zero_shot_low", "over_zero_shot_high", "n_targets", "reason"),
)
DIFFERENCE_COLUMNS = (
    *("entry", "minus", "method", "target", "shots", "difference", "low", "high", "p"),
    *("n", "unit", "reason"),
)


@dataclass(frozen=True)
class Entry:
    """One column of a table: a prompt method (or "") in one of the `KINDS`; where there are several ways
    to start from many tasks, the `way`."""

    kind: str
    method: str = ""
    way: str = ""

    @property
    def name(self) -> str:
        """What readers see: CoOp from scratch, MCoOp from a multitask prompt."""
        if self.kind in (ZERO_SHOT, PROBE):
            return {ZERO_SHOT: "zero-shot", PROBE: "linear probe"}[self.kind]
        own = PAPER.get(self.method, self.method)
        joint = f"M{own}" if self.method in PAPER else f"multitask {own}"
        if self.way:
            joint = f"{own} from {self.way}"
        return {
            SCRATCH: own,
            MULTITASK: joint,
            AS_IS: f"{joint} as it is" if not self.way else f"{own}, {self.way} as it is",
            SINGLE: f"{own} from best source",
        }[self.kind]

    @property
    def hindsight(self) -> bool:
        """Chosen by the test scores that it is shown with: better than anyone could have known."""
        return self.kind == SINGLE


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's tables: `cells` (`CELL_COLUMNS`, each entry on each target for all shots),
    `averages` (`AVERAGE_COLUMNS`) and `differences` (`DIFFERENCE_COLUMNS`); `notes` for its readers."""

    title: str
    entries: tuple[Entry, ...]
    targets: tuple[str, ...]
    shots: tuple[int, ...]
    cells: pd.DataFrame
    averages: pd.DataFrame
    differences: pd.DataFrame
    notes: tuple[str, ...] = ()


def benchmark(
    title: str,
    runs: pd.DataFrame,
    entries: Sequence[Entry],
    targets: Sequence[str],
    contrasts: Iterable[tuple[Entry, Entry]],
    level: float = 0.95,
) -> Benchmark:
    """The tables of `runs` (`RUN_COLUMNS`); entries without any run are left out.

    `contrasts` are pairs (entry, minus) whose differences are wanted. Raises `InputError` if there is
    no run, or one occurs twice.
    """
    if runs.empty:
        raise InputError(f"{title}: there are no runs: expected runs of one task from random")
    repeated = runs.duplicated(["entry", "target", "shots", "seed"])
    if repeated.any():
        row = runs[repeated].iloc[0]
        raise InputError(
            f"{title}: {row['entry']} on '{row['target']}' with {row['shots']} shots and seed "
            f"{row['seed']} occurs twice: expected once"
        )
    present = set(runs.loc[runs["score"].notna(), "entry"])
    kept = tuple(entry for entry in entries if entry.name in present)
    shots = tuple(int(k) for k in sorted(runs["shots"].unique()))
    cells = cell_table(runs, kept, targets, shots, level)
    pairs = [pair for pair in contrasts if set(pair) <= set(kept)]
    return Benchmark(
        title,
        kept,
        tuple(targets),
        shots,
        cells,
        average_table(cells, kept, level),
        difference_table(runs, pairs, targets, shots, level),
    )


def shots_name(shots: object) -> str:
    """A number of shots in words."""
    return f"{shots} shot{'' if shots == 1 else 's'}"


def check_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of a study (`read.gather.SCORE_COLUMNS`). Raises `InputError` for a missing column
    and for a task with two zero-shot scores."""
    for column in NEEDED:
        if column not in scores.columns:
            raise InputError(f"scores: column '{column}' is missing: expected a study's scores")
    zero_shot = scores.groupby("target")["zero_shot"]
    several = zero_shot.max() > zero_shot.min()
    if several.any():
        raise InputError(
            f"scores: task '{several[several].index[0]}' has more than one zero-shot score: "
            "expected one"
        )
    return scores


def methods_of(scores: pd.DataFrame) -> list[str]:
    """The prompt methods among the runs: those of the paper in its order, then others by name."""
    found = set(scores["method"]) - {PROBE}
    return [m for m in PAPER if m in found] + sorted(found - set(PAPER))


def tuned_alone(scores: pd.DataFrame, method: str, start: str) -> pd.DataFrame:
    """A method's runs that tune one task from `start`."""
    alone = scores["group"] == scores["target"]
    return scores[alone & (scores["method"] == method) & (scores["start"] == start)]


def as_runs(entry: Entry, rows: pd.DataFrame, score: str = "score") -> pd.DataFrame:
    """Rows of the scores as runs of an entry."""
    found = rows.assign(entry=entry.name, score=rows[score].astype(float), source="")
    return found[list(RUN_COLUMNS)]


def baseline_runs(scores: pd.DataFrame, targets: Collection[str]) -> list[pd.DataFrame]:
    """Runs of zero-shot, once for all shots that occur (its seed is 0), and of the linear probe."""
    here = scores[scores["target"].isin(targets)]
    zero = here[["target", "zero_shot"]].drop_duplicates()
    zero = zero.merge(scores[["shots"]].drop_duplicates(), how="cross")
    return [
        as_runs(Entry(ZERO_SHOT), zero.assign(seed=0), "zero_shot"),
        as_runs(Entry(PROBE), tuned_alone(here, PROBE, ZERO_SHOT)),
    ]


def cell_table(
    runs: pd.DataFrame,
    entries: Sequence[Entry],
    targets: Sequence[str],
    shots: Sequence[int],
    level: float = 0.95,
) -> pd.DataFrame:
    """`CELL_COLUMNS`: mean and t interval over the seeds that finished, the variances of an entry's targets
    moderated by one another; every cell is there, one without a score says why in `reason`, as does one
    with fewer seeds than there are."""
    keys = ["entry", "target", "shots"]
    found = dict(list(runs.groupby(keys)))
    tuned = runs[runs["entry"] != Entry(ZERO_SHOT).name]
    seeds = tuned.groupby("shots")["seed"].nunique()
    rows: list[tuple[object, ...]] = []
    for k in shots:
        scores = {
            (entry.name, target): part["score"].to_numpy(float)
            if (part := found.get((entry.name, target, k))) is not None
            else np.array([])
            for target in targets
            for entry in entries
        }
        intervals: dict[tuple[str, str], tuple[float, float, float, float]] = {}
        for entry in entries:
            means = mean_intervals([scores[entry.name, target] for target in targets], level)
            intervals |= {(entry.name, t): m for t, m in zip(targets, means, strict=True)}
        for target in targets:
            for entry in entries:
                part = found.get((entry.name, target, k))
                values = scores[entry.name, target]
                done = values[np.isfinite(values)]
                mean, low, high, _ = intervals[entry.name, target]
                source = "" if part is None else str(part["source"].iloc[0])
                wanted = 1 if entry.kind == ZERO_SHOT else int(seeds.get(k, 0))
                reason = _lack(len(values), len(done), wanted)
                what = (entry.name, entry.method, entry.kind, target, k)
                rows.append(
                    (*what, mean, low, high, len(done), len(values) - len(done), source, reason)
                )
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS))


def _lack(ran: int, done: int, wanted: int) -> str:
    if not ran:
        return "no run"
    if done < ran:
        return f"{ran - done} of {ran} runs diverged"
    return "" if done >= wanted else f"{done} of {wanted} seeds"


def common_targets(cells: pd.DataFrame, entries: Sequence[Entry], shots: int) -> list[str]:
    """The targets on which every entry (that has a score at all with these shots) has one; entries
    chosen with hindsight do not count."""
    names = [entry.name for entry in entries if not entry.hindsight]
    here = cells[(cells["shots"] == shots) & cells["entry"].isin(names)]
    scores = here.pivot_table(index="target", columns="entry", values="score", sort=False)
    return list(scores[scores.notna().all(axis=1)].index)


def average_table(
    cells: pd.DataFrame, entries: Sequence[Entry], level: float = 0.95
) -> pd.DataFrame:
    """`AVERAGE_COLUMNS`: mean over the targets that all entries have (`common_targets`), t interval
    with targets as units; likewise of the difference to zero-shot on the same targets.

    An entry that lacks one of these has no average; `reason` says it, and which targets are left out.
    """
    rows: list[tuple[object, ...]] = []
    for k, here in cells.groupby("shots"):
        shared = common_targets(cells, entries, int(str(k)))
        left = [target for target in here["target"].unique() if target not in shared]
        score = here.pivot_table(index="target", columns="entry", values="score", dropna=False)
        score = score.reindex(index=shared, columns=[entry.name for entry in entries])
        zero = score[Entry(ZERO_SHOT).name] if Entry(ZERO_SHOT) in entries else np.nan
        for entry in entries:
            own = score[entry.name]
            absent = list(own[own.isna()].index)
            what = (entry.name, entry.method, entry.kind, k)
            if absent or not shared:
                why = "no run" if own.isna().all() else f"no score on {', '.join(absent)}"
                rows.append((*what, *[np.nan] * 6, 0, why))
                continue
            gain = (own - zero).to_numpy(float)
            why = f"left out: {', '.join(left)}" if left else ""
            rows.append(
                (
                    *what,
                    *mean_interval(own.to_numpy(float), level)[:3],
                    *mean_interval(gain, level)[:3],
                    len(own),
                    why,
                )
            )
    return pd.DataFrame(rows, columns=list(AVERAGE_COLUMNS))


def difference_table(
    runs: pd.DataFrame,
    contrasts: Sequence[tuple[Entry, Entry]],
    targets: Sequence[str],
    shots: Sequence[int],
    level: float = 0.95,
) -> pd.DataFrame:
    """`DIFFERENCE_COLUMNS` of each contrast and shots: on each target, paired by seed (`unit`
    seeds; the targets' variances moderated by one another), and with an empty target their mean over
    targets (`unit` targets), p against 0.

    Zero-shot has one score for all seeds. p-values are not corrected for how many there are.
    """
    rows: list[tuple[object, ...]] = []
    for entry, minus in contrasts:
        for k in shots:
            first, second = (
                runs[(runs["entry"] == e.name) & (runs["shots"] == k)] for e in (entry, minus)
            )
            keys = ["target"] if minus.kind == ZERO_SHOT else ["target", "seed"]
            both = first.merge(second, on=keys, suffixes=("", "_minus"))
            both = both.assign(d=both["score"] - both["score_minus"])
            what = (entry.name, minus.name, entry.method)
            means = []
            by_target = [
                both.loc[both["target"] == target, "d"].dropna().to_numpy(float)
                for target in targets
            ]
            intervals = mean_intervals(by_target, level)
            for target, d, interval in zip(targets, by_target, intervals, strict=True):
                reason = "" if len(d) else "no seed has both scores"
                rows.append((*what, target, k, *interval, len(d), "seeds", reason))
                means.append(interval[0])
            left = [t for t, mean in zip(targets, means, strict=True) if np.isnan(mean)]
            known = len(means) - len(left)
            reason = f"left out: {', '.join(left)}" if left else ""
            reason = reason if known else "no task has both scores"
            found = mean_interval(np.array(means), level)
            rows.append((*what, None, k, *found, known, "targets", reason))
    return pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))
