"""Every table and every figure of an analysis, known before any of them is made.

Imports nothing heavy, so that a workflow can declare all files while it is planned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

from mvlpt_core.contract.layout import FIGURE_SUFFIXES

from .vocabulary import MAIN_MEASURES

SCRATCH = "scratch"  # the `source` of runs that start from random, in curves and outcomes


@dataclass(frozen=True)
class Table:
    """A table: what it holds, and `module:CONSTANT`, the place below this package that names its
    columns. The tables of `by_method` are made method by method, so that `method` comes first."""

    name: str
    about: str
    home: str
    by_method: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The header (imports the module that makes the table)."""
        module, constant = self.home.split(":")
        names = tuple(getattr(import_module(f".{module}", __package__), constant))
        return ("method", *names) if self.by_method else names


_ALL = (
    Table("gains", "gain of every pair with intervals, p and q", "gains.table:GAIN_COLUMNS"),
    Table("seed_gains", "gain of every pair for each seed", "gains.others:SEED_COLUMNS"),
    Table(
        "variance",
        "how much of the variance of gains is the source's, target's, pair's and seed's",
        "gains.shares:VARIANCE_COLUMNS",
    ),
    Table(
        "seed_noise",
        "how much of a gain is the seed's, from pairs that were repeated with a second one",
        "gains.seed_noise:SEED_NOISE_COLUMNS",
    ),
    Table(
        "correlations",
        "correlation of gain with each similarity, tests by permutation of tasks",
        "association.tables:CORRELATION_COLUMNS",
    ),
    Table(
        "links",
        "good sources, good pairs and what goes beyond a family, apart",
        "association.links:LINK_COLUMNS",
    ),
    Table(
        "partial",
        "correlation with one similarity given the other",
        "association.tables:PARTIAL_COLUMNS",
    ),
    Table(
        "regression",
        "multiple regression of gain on similarities, tests by permutation of tasks",
        "association.tables:REGRESSION_COLUMNS",
    ),
    Table(
        "ranking",
        "quality of each way to choose sources, means over targets",
        "choice.ranking:RANKING_COLUMNS",
        by_method=True,
    ),
    Table(
        "ranking_by_target",
        "quality of each way to choose sources, target by target",
        "choice.ranking:RANKING_BY_TARGET_COLUMNS",
        by_method=True,
    ),
    Table(
        "completion",
        "how well part of the grid tells the rest of it",
        "choice.complete:COMPLETION_COLUMNS",
        by_method=True,
    ),
    Table(
        "completed",
        "gains of pairs that were not measured, estimated",
        "choice.complete:COMPLETED_COLUMNS",
        by_method=True,
    ),
    Table(
        "ranking_new_family",
        "quality of each way to choose sources for a family of tasks that is new",
        "choice.ranking:RANKING_COLUMNS",
        by_method=True,
    ),
    Table(
        "screen",
        "pairs ranked before any transfer run, by loss and gradient at each source's prompt",
        "choice.screen:SCREEN_COLUMNS",
    ),
    Table(
        "screen_links",
        "how far the screening's scores go with gain",
        "association.links:LINK_COLUMNS",
    ),
    Table(
        "groups",
        "groups for joint tuning with expected gain and stability",
        "choice.groups:GROUP_COLUMNS",
        by_method=True,
    ),
    Table(
        "clusters",
        "sources in clusters that help the same targets",
        "choice.groups:CLUSTER_COLUMNS",
    ),
    Table(
        "givers",
        "what each task gives and takes, established pairs counted",
        "choice.groups:GIVER_COLUMNS",
        by_method=True,
    ),
    Table(
        "task_effects",
        "mean gain of each task as source and as target",
        "gains.controls:TASK_EFFECT_COLUMNS",
    ),
    Table(
        "relations",
        "mean gain by relation of source and target",
        "gains.relations:RELATION_COLUMNS",
    ),
    Table("effects", "what sharing a factor adds", "gains.relations:EFFECT_COLUMNS"),
    Table(
        "asymmetry",
        "how far gains differ between the two directions of a pair",
        "gains.controls:ASYMMETRY_COLUMNS",
    ),
    Table(
        "diagonal",
        "control: tuning on from a task's own prompt",
        "gains.controls:DIAGONAL_COLUMNS",
    ),
    Table(
        "measures",
        "what each similarity is and which values it takes",
        "association.measures:MEASURE_COLUMNS",
    ),
    Table(
        "measure_correlations",
        "how similarities correlate with one another",
        "association.measures:MEASURE_CORRELATION_COLUMNS",
    ),
    Table(
        "agreement",
        "how far the gains of every two methods or given tables agree, beyond sources and targets too",
        "gains.agreement:AGREEMENT_COLUMNS",
    ),
)
TABLES = {table.name: table for table in _ALL}
_FOREIGN = ("seed_gains", "clusters")  # of tables by others alone
# Of every study: `groups` by a stage of its own, all others by the stage `statistics`.
STUDY_TABLES = tuple(name for name in TABLES if name not in _FOREIGN)
STATISTICS = tuple(name for name in STUDY_TABLES if name != "groups")
# Columns that hold words; all others hold numbers, and those of `FLAGS` true or false.
CAPTIONS = ("name", "title", "caption")
TEXT = frozenset(
    (
        *("method", "source", "target", "task", "measure", "metric", "gain_kind", "scope"),
        *("statistic", "given", "term", "relation", "effect", "role", "ranker", "a", "b", "kind"),
        *("component", "unit", "rule", "link", "factor", "verdict", "model", "mates"),
        *("description", "interval", "reason", *CAPTIONS),
    )
)
FLAGS = frozenset(("diagonal", "excludes_zero", "significant", "symmetric"))


def foreign_tables(similarity: bool, several: bool, seeds: bool = False) -> list[str]:
    """The tables of others' tables: with a `similarity` to explain gains, `several` compared, or `seeds`."""
    names = ["gains", "ranking", "ranking_by_target", "ranking_new_family", "clusters"]
    if similarity:
        names += [
            "correlations",
            "links",
            "partial",
            "regression",
            "measures",
            "measure_correlations",
        ]
    names += ["agreement"] * several + ["seed_gains", "givers"] * seeds
    return [name for name in TABLES if name in names]


@dataclass(frozen=True)
class Drawing:
    """A figure to draw: the name of its files, its kind (`figures.gallery.KINDS`), and the method
    or measure that it shows, if it shows one."""

    name: str
    kind: str
    subject: str = ""


def drawings(
    methods: Sequence[str],
    measures: Sequence[str] = MAIN_MEASURES,
    *,
    has_factors: bool,
    has_curves: bool = True,
    has_groups: bool = True,
    has_seeds: bool = True,
    has_estimates: bool = False,
) -> list[Drawing]:
    """Every figure of an analysis in the order of the report.

    `measures`: those with figures of their own; `has_factors`: whether the suite groups its tasks;
    learning curves, groups and gains by seed belong to studies only, estimates to those of which a designed
    part of the grid is measured. Names are safe and distinct.
    """
    shown: list[tuple[str, str]] = [("gains", method) for method in methods]
    shown += [("gains_all_methods", "")] * (len(methods) > 1)
    shown += [("gains_shrunk", method) for method in methods if has_seeds]
    shown += [("completed", method) for method in methods if has_estimates]
    shown += [("relations", "")] * has_factors
    shown += [("scatter", measure) for measure in measures]
    shown += [("correlations", "")] * bool(measures)
    shown += [("similarity", measure) for measure in measures]
    shown += [("learning_curves", "")] * has_curves
    shown += [("ranking_quality", "")]
    shown += [("clusters", method) for method in methods]
    shown += [("graph", method) for method in methods if has_groups]
    taken = [kind for kind, subject in shown if not subject]
    out = []
    for kind, subject in shown:
        name = distinct(f"{kind}_{subject}", taken) if subject else kind
        taken.append(name)
        out.append(Drawing(name, kind, subject))
    return out


def figures(
    methods: Sequence[str],
    measures: Sequence[str] = MAIN_MEASURES,
    *,
    has_factors: bool,
    has_curves: bool = True,
    has_groups: bool = True,
    has_seeds: bool = True,
    has_estimates: bool = False,
) -> list[str]:
    """The names of `drawings`: files are `<name>.png`, `.svg` and `.pdf`."""
    wanted = {"has_factors": has_factors, "has_curves": has_curves, "has_groups": has_groups}
    wanted |= {"has_seeds": has_seeds, "has_estimates": has_estimates}
    return [drawing.name for drawing in drawings(methods, measures, **wanted)]


def distinct(name: str, taken: Iterable[str], longest: int = 80) -> str:
    """A file name of letters, digits, _ and - that no other equals in any case."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:longest]
    used = {other.casefold() for other in taken}
    number, found = 1, safe
    while found.casefold() in used:
        number += 1
        found = f"{safe}_{number}"
    return found


@dataclass(frozen=True)
class Files:
    """The files of a benchmark: what it is about, its tables (the first one as parquet too) and figures."""

    about: str
    tables: tuple[str, ...]
    figures: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """All of them, below one folder."""
        name = self.tables[0]
        files = [f"{name}.{suffix}" for suffix in ("parquet", "md", "tex", "json")]
        files += [f"{table}.csv" for table in self.tables]
        return files + [f"{own}.{suffix}" for own in self.figures for suffix in FIGURE_SUFFIXES]


def _with_differences(name: str, *further: str) -> tuple[str, ...]:
    return (name, f"{name}_averages", f"{name}_differences", *further)


BENCHMARKS = {
    "few_shot": Files(
        "every task tuned alone from random, by shots",
        _with_differences("few_shot"),
        ("few_shot", "few_shot_tasks"),
    ),
    "generalisation": Files(
        "tasks started from prompts of several others",
        _with_differences("generalisation", "generalisation_published"),
        ("generalisation", "generalisation_tasks"),
    ),
    "adaptation": Files(
        "tasks tuned together in groups, against each alone", ("adaptation",), ("adaptation",)
    ),
    "joint_pairs": Files(
        "every two tasks tuned together, beside one from the other's prompt",
        ("joint_pairs", "joint_pairs_modes"),
        ("joint_pairs",),
    ),
}
