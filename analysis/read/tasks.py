"""What is known of the tasks themselves: classes, images, and the score of a guess."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mvlpt_core.contract.tensors import read_tensors

TASK_COLUMNS = ("task", "metric", "classes", "test", "chance")
SAMPLE_COLUMNS = ("task", "shots", "seed", "train", "val")


def task_sizes(test_files: Iterable[str | Path]) -> pd.DataFrame:
    """`TASK_COLUMNS` from the prepared test splits: numbers of classes and of test images, and the
    `chance_level`. Raises `InputError`, naming the file, for one that is not whole."""
    rows = []
    for path in test_files:
        header, tensors = read_tensors(path, "task", ("name", "part", "classnames", "metric"))
        labels, classes, metric = tensors["labels"], len(header["classnames"]), header["metric"]
        chance = chance_level(metric, labels, classes)
        rows.append((header["name"], metric, classes, len(labels), chance))
    return pd.DataFrame(rows, columns=list(TASK_COLUMNS))


def sample_sizes(sample_files: Iterable[str | Path]) -> pd.DataFrame:
    """`SAMPLE_COLUMNS` from prepared few-shot samples: images to train on and to choose checkpoints
    with. Raises `InputError`, naming the file, for one that is not whole."""
    rows = []
    for path in sample_files:
        header, tensors = read_tensors(path, "task", ("name", "part", "shots", "seed"))
        sizes = len(tensors["train"]), len(tensors["val"])
        rows.append((header["name"], header["shots"], header["seed"], *sizes))
    return pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS))


def chance_level(metric: str, labels: NDArray[np.integer], classes: int) -> float:
    """The expected score of a uniform guess among `classes`, for test labels [N] or multi-hot [N, C].

    1 / classes for accuracies, 1/2 for `roc_auc`; for `map_11point` the share of positive images, mean
    over the classes that have one: the precision of an order by chance.
    """
    if metric == "roc_auc":
        return 0.5
    if metric == "map_11point":
        share = (labels > 0).mean(0)
        return float(share[share > 0].mean())
    return 1 / classes
