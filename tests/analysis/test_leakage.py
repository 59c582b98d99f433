"""Identical images in a source's sample and a target's test split are found and told."""

import numpy as np

from mvlpt_analysis.read.leakage import LEAKAGE_COLUMNS, shared_images, told
from mvlpt_core.contract.tensors import write_tensors


def prepared(folder, name, part, images, **more):
    """A prepared file as far as its hashes matter; an image is a number."""
    path = folder / f"{name}_{part}.safetensors"
    hashes = np.zeros((len(images), 16), np.uint8)
    hashes[:, 3] = images
    write_tensors(path, "task", {"name": name, "part": part, **more}, {"hashes": hashes})
    return path


def test_shared_images_are_counted_by_source_and_target(tmp_path):
    tests = [prepared(tmp_path, "a", "test", [1, 2, 3]), prepared(tmp_path, "b", "test", [4, 2])]
    samples = [
        prepared(tmp_path, "a", "sample", [7, 2, 4, 4], shots=2, seed=1),
        prepared(tmp_path, "b", "sample", [8, 9], shots=2, seed=1),
    ]
    table = shared_images(tests, samples)
    assert list(table.columns) == list(LEAKAGE_COLUMNS)
    assert table.values.tolist() == [["a", "a", 2, 1, 1, 3, 3], ["a", "b", 2, 1, 2, 3, 2]]
    own, other = told(table)
    assert own == "a and a share images: 1 of a's 3 test images are in a few-shot sample of a."
    assert other.startswith("a and b share images: 2 of b's 2 test images")
    none = shared_images(tests, samples[1:])
    assert list(none.columns) == list(LEAKAGE_COLUMNS)
    assert told(none) == []
