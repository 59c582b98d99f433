"""The sources that a study would recommend for each of its own tasks, had it not known the task."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..vocabulary import untrained
from .gain_model import Grid, leave_one_out

CHOICE_COLUMNS = ("task", "source")


def chosen_sources(gains: pd.DataFrame, similarity: pd.DataFrame, k: int) -> pd.DataFrame:
    """`CHOICE_COLUMNS`: for every target of one method its `k` sources of greatest expected gain, best first.

    Expected by a model of gains (`gain_model`) fitted without the target, as target and as source, on the
    similarities that need no prompt. `gains`: source, target, gain; `similarity`: source, target,
    measure, value, both of one method. A target with fewer than `k` candidates has those there are.
    """
    grid = Grid.from_frames(gains, similarity, untrained(similarity["measure"].unique()))
    expected = leave_one_out(grid, drop_source=True)
    rows = []
    for t, target in enumerate(grid.targets):
        order = np.argsort(-expected[:, t], kind="stable")  # what is no candidate is NaN, and last
        best = [int(s) for s in order[:k] if np.isfinite(expected[s, t])]
        rows += [(target, grid.sources[s]) for s in best]
    return pd.DataFrame(rows, columns=list(CHOICE_COLUMNS))
