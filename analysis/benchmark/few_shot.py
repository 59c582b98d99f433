"""The few-shot benchmark: every task tuned alone from random, for each method and number of shots."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mvlpt_core.contract.layout import RANDOM

from .table import (
    PROBE,
    SCRATCH,
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


def few_shot(
    scores: pd.DataFrame, targets: Sequence[str] | None = None, level: float = 0.95
) -> Benchmark:
    """Task x {zero-shot, linear probe, methods} x shots, from a study's scores.

    `targets` in the order of the tables; by default every task that was tuned alone. Differences
    are each method's to zero-shot and to the linear probe. Raises `InputError` without such runs.
    """
    scores = check_scores(scores)
    methods = methods_of(scores)
    if targets is None:
        alone = scores[(scores["group"] == scores["target"]) & (scores["start"] == RANDOM)]
        targets = [str(target) for target in alone["target"].unique()]
    here = scores[scores["target"].isin(targets)]
    entries = [Entry(ZERO_SHOT), Entry(PROBE), *(Entry(SCRATCH, method) for method in methods)]
    runs = [
        *baseline_runs(here, targets),
        *(as_runs(Entry(SCRATCH, m), tuned_alone(here, m, RANDOM)) for m in methods),
    ]
    contrasts = [
        (Entry(SCRATCH, m), base) for m in methods for base in (Entry(ZERO_SHOT), Entry(PROBE))
    ]
    return benchmark(
        "Few-shot benchmark", pd.concat(runs, ignore_index=True), entries, targets, contrasts, level
    )
