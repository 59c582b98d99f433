"""A task that was not in the study: which of the study's prompts should it start from?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from .choice.recommend import Recommendation, recommend
from .read.features import TaskFeatures
from .similarity.pairs import task_similarities
from .vocabulary import untrained


def recommend_start(
    new: TaskFeatures,
    tasks: Sequence[TaskFeatures],
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    prompts: Mapping[tuple[str, str], str],
    seed: int = 0,
) -> Recommendation:
    """Rank a study's prompts as starts for `new`, which needs no training; gains in score units.

    `tasks`: all tasks of the study (`read.features.read_tasks`); `gains`, `similarity`: its tables
    of one value of shots; `prompts`: (method, task) -> file. Sources that are groups of tasks have
    no similarity, and no rank.
    """
    names = [task.name for task in tasks]
    known = similarity[similarity["measure"].isin(untrained(similarity["measure"].unique()))]
    alike = task_similarities(tasks, seed, new=new)
    return recommend(gains[gains["source"].isin(names)], known, alike, prompts)
