"""Gains pulled towards what their source, target and opposite pair tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..read.pairs import square
from ..stats.shrink import shrunk


def shrunk_gains(
    seeds: pd.DataFrame, table: pd.DataFrame, tasks: Sequence[str] | None = None
) -> np.ndarray:
    """`stats.shrink` of each row [n] of a gains `table` (method, source, target, se, interval), from the
    gains by seed (`table.seed_gains`); NaN on the diagonal and for sources that are none of the `tasks`
    (None: all are), such as groups.

    With one seed the noise is that of test images, where the table has it.
    """
    out = np.full(len(table), np.nan)
    for method, rows in table.reset_index(drop=True).groupby("method", sort=False):
        runs = seeds[seeds["method"] == method]
        known = set(runs["source"]) if tasks is None else set(tasks)
        rows, runs = rows[rows["source"].isin(known)], runs[runs["source"].isin(known)]
        names = list(dict.fromkeys([*rows["source"], *rows["target"]]))
        if not names:
            continue
        cubes = np.array([square(own, "gain", names) for _, own in runs.groupby("seed")])
        images = rows[rows["interval"] == "images"]
        noise = square(images, "se", names) ** 2 if len(images) else None
        found = shrunk(cubes, noise)
        place = {name: i for i, name in enumerate(names)}
        out[rows.index] = found[rows["source"].map(place), rows["target"].map(place)]
    return out
