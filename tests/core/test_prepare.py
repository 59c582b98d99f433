"""Prepared files: contents, geometry, atomic writing, identical bytes, bad settings."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow, read_suite
from mvlpt_core.tasks.fewshot import sample_few_shot
from mvlpt_core.tasks.open import open_task
from mvlpt_core.tasks.prepare import image_transform, load_prepared, prepare_task

ROW = TaskRow("toy", "folder", "toy", "mean_per_class", ("a {c}",))
PREPROCESS = {"size": 8, "interpolation": "bicubic", "resize_mode": "shortest"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """11 training and 7 test images of each of 3 classes, all of different colours."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 11), ("test", 7)):
        for name in ("ant", "bee", "cat"):
            (tmp_path / "data" / "toy" / split / name).mkdir(parents=True)
            for k in range(n):
                image = Image.new("RGB", (8, 8), tuple(map(int, rng.integers(0, 256, 3))))
                image.save(tmp_path / "data" / "toy" / split / name / f"{k:02}.png")
    return tmp_path / "data"


def prepare(data: Path, out: Path, **changes: Any) -> None:
    settings: dict[str, Any] = {
        "preprocess": PREPROCESS,
        "shots": 5,
        "seeds": [1, 2],
        "val_share": 0.2,
        "max_test": None,
    }
    prepare_task(ROW, data, out=out, **{**settings, **changes})


def test_contents(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "new" / "toy.safetensors"
    prepare(data, out)
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    task = load_prepared(out)
    assert (task.name, task.classnames, task.templates) == (
        "toy",
        ("ant", "bee", "cat"),
        ("a {c}",),
    )
    assert (task.metric, task.multilabel, task.shots, task.image_size) == (
        "mean_per_class",
        False,
        5,
        8,
    )
    source = open_task(ROW, data)
    train, test = source.split("train"), source.split("test")
    originals = {i: np.asarray(image) for i, image in train.images(range(33))}
    pool = set()
    for seed in (1, 2):
        sample = sample_few_shot(train.labels, 3, 5, 0.2, seed, task="toy")
        for indices, into in ((sample.train, task.train[seed]), (sample.val, task.val[seed])):
            assert len(indices) == len(into)
            np.testing.assert_array_equal(task.labels[into], train.labels[indices])
            np.testing.assert_array_equal(task.images[into], [originals[i] for i in indices])
            pool |= set(indices)
    assert len(task.images) == len(task.labels) == len(pool) < 30  # seeds share images
    np.testing.assert_array_equal(task.test_labels, test.labels)
    np.testing.assert_array_equal(
        task.test_images, [np.asarray(image) for _, image in test.images(range(21))]
    )
    assert task.images.flags.writeable  # as torch wants it; the file stays as it is
    assert task.labels.dtype == task.train[1].dtype == np.int64


def test_file_is_plain_safetensors(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "toy.safetensors"
    prepare(data, out, shots=1)
    tensors, task = load_file(out), load_prepared(out)
    assert set(tensors) == {
        "images",
        "labels",
        "test_images",
        "test_labels",
        "train_1",
        "train_2",
        "val_1",
        "val_2",
    }
    np.testing.assert_array_equal(tensors["test_images"], task.test_images)
    np.testing.assert_array_equal(tensors["train_2"], task.train[2])
    assert tensors["val_1"].shape == task.val[1].shape == (0,)
    with safe_open(out, "numpy") as file:
        meta = json.loads(file.metadata()["task"])
    assert set(meta) == {
        "name",
        "classnames",
        "templates",
        "metric",
        "multilabel",
        "shots",
        "image_size",
        "source_digest",
    }


def test_bytes_depend_on_data_and_arguments_only(tmp_path: Path, data: Path) -> None:
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    prepare(data, paths[0])
    prepare(data, paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    file = sorted((data / "toy" / "test" / "ant").iterdir())[0]
    Image.new("RGB", (8, 8), (1, 2, 3)).save(file)
    prepare(data, paths[2])
    digests = {load_prepared(path).source_digest for path in paths}
    assert len(digests) == 2


def test_capped_test(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "toy.safetensors"
    prepare(data, out, max_test=6)
    assert np.bincount(load_prepared(out).test_labels).tolist() == [2, 2, 2]


def test_short_classes(tmp_path: Path, data: Path) -> None:
    for path in sorted((data / "toy" / "train" / "bee").iterdir())[2:]:
        path.unlink()
    out = tmp_path / "toy.safetensors"
    with pytest.raises(
        InputError, match=r"class 'bee' of task toy has only 2 training .* at most 2"
    ):
        prepare(data, out)
    assert not list(tmp_path.glob("*toy*"))
    prepare(data, out, short_classes="use_all")
    task = load_prepared(out)
    assert np.bincount(task.labels[task.train[1]]).tolist() == [4, 1, 4]


def test_nothing_remains_on_failure(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out" / "toy.safetensors"
    broken = data / "toy" / "test" / "cat" / "06.png"  # the last image that is decoded
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"cat/06\.png does not decode"):
        prepare(data, out)
    assert not list(out.parent.iterdir())
    broken.write_bytes(whole)
    prepare(data, out)
    before = out.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(InputError, match=r"cat/06\.png does not decode"):
        prepare(data, out)
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_test": 0}, r"max_test is 0: expected null or a number of at least 1"),
        ({"seeds": []}, r"seeds are \[\]: expected one or more"),
        ({"seeds": [1, 1]}, r"seeds are \[1, 1\]: expected one or more different"),
        ({"shots": 0}, r"shots is 0"),
        ({"preprocess": {**PREPROCESS, "resize_mode": "longest"}}, r"resize_mode 'longest'"),
        ({"preprocess": {**PREPROCESS, "interpolation": "random"}}, r"interpolation 'random'"),
    ],
)
def test_bad_settings(tmp_path: Path, data: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(data, tmp_path / "toy.safetensors", **changes)
    assert not list(tmp_path.glob("*toy*"))


@pytest.mark.parametrize("size", [(7, 11), (11, 7), (8, 8), (9, 30), (31, 10), (100, 8)])
def test_geometry_is_torchvisions(size: tuple[int, int]) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    bicubic = transforms.InterpolationMode.BICUBIC
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    reference = transforms.Compose([transforms.Resize(8, bicubic), transforms.CenterCrop(8)])
    np.testing.assert_array_equal(image_transform(PREPROCESS)(image), np.asarray(reference(image)))
    squash = image_transform({**PREPROCESS, "resize_mode": "squash"})(image)
    np.testing.assert_array_equal(squash, image.resize((8, 8), Image.Resampling.BICUBIC))


def test_same_size_is_untouched() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(image_transform(PREPROCESS)(Image.fromarray(pixels)), pixels)


def test_load_rejects_other_files(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match=r"none is not a prepared task"):
        load_prepared(tmp_path / "none")
    out = tmp_path / "toy.safetensors"
    prepare(data, out)
    whole = out.read_bytes()
    for content in (b"", b"text", whole[:100], whole[:-1], b"\x02" + bytes(7) + b"{}"):
        out.write_bytes(content)
        with pytest.raises(InputError, match=r"toy\.safetensors is not a prepared task"):
            load_prepared(out)


def test_prepared_is_frozen(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "toy.safetensors"
    prepare(data, out)
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_prepared(out).name = "other"  # type: ignore[misc]


@pytest.mark.skipif(
    not os.environ.get("MVLPT_DATA_ROOT"),
    reason="MVLPT_DATA_ROOT does not name the folder with the tasks of config/suites/realtasks.tsv",
)
def test_real_tasks(tmp_path: Path) -> None:
    rows = read_suite(Path(__file__).parents[2] / "config" / "suites" / "realtasks.tsv")
    preprocess = {**PREPROCESS, "size": 32}
    for row in rows:
        out = tmp_path / f"{row.task}.safetensors"
        prepare_task(row, None, preprocess, 16, [1], 0.2, 200, out, "use_all")
        task = load_prepared(out)
        assert len(task.test_images) == len(task.test_labels) <= 200
        seen = task.labels[task.train[1]]
        classes = np.flatnonzero(seen.any(0)) if task.multilabel else np.unique(seen)
        assert classes.tolist() == list(range(len(task.classnames)))


def test_drawn_task(tmp_path: Path) -> None:
    from mvlpt_core.testbed import TASKS, draw_split

    name = next(iter(TASKS))
    out = tmp_path / "drawn.safetensors"
    row = TaskRow(name, "testbed", name, "accuracy")
    prepare_task(row, None, {**PREPROCESS, "size": 32}, 2, [1], 0.2, None, out)
    task = load_prepared(out)
    pixels, labels = draw_split(name, "test")
    np.testing.assert_array_equal(task.test_images, pixels)
    np.testing.assert_array_equal(task.test_labels, labels)
    assert task.classnames == TASKS[name].classnames
