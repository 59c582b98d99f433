"""What figures and report of one analysis share: order of tasks and methods, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from .read.pairs import task_order
from .read.study import Factors, factor_frame
from .vocabulary import MAIN_MEASURES


@dataclass(frozen=True)
class Wording:
    """How gains are spoken of. The defaults are a study's; `foreign` has those of others' tables.

    score_name, unit: what a gain is called and measured in; scale: units in one unit of the
    tables. own_name: the diagonal. heads_name: what stands beside each answer. noun: what several
    of these are. baseline: what gains are over, "" where that is not known. title: of the page.
    heatmap: caption of a heatmap, of `method`, `unit` and `score_name`. definition: of the gains.
    """

    score_name: str = "transfer gain"
    unit: str = "points"
    scale: float = 100.0
    own_name: str = "own prompt, tuned longer (control)"
    heads_name: str = "method"
    noun: str = "prompt method"
    baseline: str = "scratch"
    title: str = "Transferability study"
    heatmap: str = (
        "What each source (row) adds to each target (column) over tuning from scratch with "
        "{method} prompts, in {unit}; the grey numbers are means without the diagonal."
    )
    definition: str = (
        "gain = score from the source's prompt - score from scratch (same method, target, seed, "
        "budget and data order), in points; relative error reduction = gain / (1 - scratch); "
        "ceiling gain = gain / (best score seen on the target - scratch)"
    )

    @property
    def axis(self) -> str:
        """The name of an axis of gains."""
        return f"{self.score_name} ({self.unit})"


@dataclass(frozen=True)
class View:
    """The order of `tasks` and `methods`, the `measures` with figures of their own, the grouping
    `factors` (factor -> its value for each task, "" for none), the `wording`, and tasks of a second suite,
    which are `sources` alone."""

    tasks: Sequence[str]
    methods: Sequence[str]
    measures: Sequence[str] = MAIN_MEASURES
    factors: Factors = field(default_factory=dict)
    wording: Wording = Wording()
    sources: Sequence[str] = ()

    @property
    def givers(self) -> list[str]:
        """Every task that another one may start from; not the groups of several, nor means."""
        return [*self.tasks, *self.sources]

    @property
    def factor_names(self) -> list[str]:
        return list(self.factors)

    @property
    def factor_frame(self) -> pd.DataFrame:
        """task and one column a factor."""
        return factor_frame(self.tasks, self.factors)

    def order(self, gains: pd.DataFrame) -> list[str]:
        """Sources and targets of `gains`: the tasks, then groups that were sources."""
        return task_order(gains, self.tasks)
