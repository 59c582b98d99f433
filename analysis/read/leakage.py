"""Images that a source was tuned on and a target is tested with: the same content under two names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.tensors import read_tensors

LEAKAGE_COLUMNS = ("source", "target", "shots", "seed", "shared", "n_sample", "n_test")


def shared_images(
    test_files: Iterable[str | Path], sample_files: Iterable[str | Path]
) -> pd.DataFrame:
    """`LEAKAGE_COLUMNS`: for every few-shot sample and every test split that have images in common, how many
    of the test images are `shared`, by the hashes of the decoded pixels in prepared files.

    A task's own test split is compared with its sample too. Raises `InputError`, naming the file, for one
    that is not whole.
    """
    tests = []
    for path in test_files:
        header, tensors = read_tensors(path, "task", ("name", "part"))
        tests.append((header["name"], [row.tobytes() for row in tensors["hashes"]]))
    rows = []
    for path in sample_files:
        header, tensors = read_tensors(path, "task", ("name", "part", "shots", "seed"))
        sample = {row.tobytes() for row in tensors["hashes"]}
        for target, images in tests:
            shared = sum(image in sample for image in images)
            if shared:
                what = (header["name"], target, header["shots"], header["seed"])
                rows.append((*what, shared, len(sample), len(images)))
    return pd.DataFrame(rows, columns=list(LEAKAGE_COLUMNS))


def told(table: pd.DataFrame) -> list[str]:
    """What the table says, in sentences; none where nothing is shared."""
    return [
        f"{source} and {target} share images: {int(part['shared'].max())} of {target}'s "
        f"{int(part['n_test'].max())} test images are in a few-shot sample of {source}"
        + ("." if source == target else f", so that what {source} gives {target} is flattered.")
        for (source, target), part in table.groupby(["source", "target"], sort=False)
    ]
