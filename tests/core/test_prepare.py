"""Prepared files: contents, geometry, atomic writing, identical bytes, bad settings."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow, read_suite
from mvlpt_core.contract.tensors import read_tensors
from mvlpt_core.tasks.base import hash_pixels
from mvlpt_core.tasks.fewshot import sample_few_shot
from mvlpt_core.tasks.open import open_task
from mvlpt_core.tasks.prepare import (
    image_transform,
    load_sample,
    load_test,
    prepare_sample,
    prepare_test,
    read_hashes,
    read_preprocess,
)
from mvlpt_core.tasks.views import crop_flip

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


SAMPLE: dict[str, Any] = {"shots": 5, "seed": 1, "val_share": 0.2, "short_classes": "error"}


def sample(data: Path, out: Path, **changes: Any) -> None:
    settings = {"preprocess": PREPROCESS, **SAMPLE, **changes}
    prepare_sample(ROW.task, ROW.kind, ROW.location, data, out=out, **settings)


def test(data: Path, out: Path, **changes: Any) -> None:
    prepare_test(ROW, data, out=out, **{"preprocess": PREPROCESS, "max_test": None, **changes})


test.__test__ = False  # type: ignore[attr-defined]


def test_a_test_split_holds_classes_images_and_labels(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "new" / "test.safetensors"
    test(data, out)
    assert sorted(p.name for p in out.parent.iterdir()) == ["test.npy", "test.safetensors"]
    task = load_test(out)
    assert (task.name, task.classnames, task.templates) == (
        "toy",
        ("ant", "bee", "cat"),
        ("a {c}",),
    )
    assert (task.metric, task.multilabel, task.image_size) == ("mean_per_class", False, 8)
    source = open_task(ROW, data).split("test")
    np.testing.assert_array_equal(task.labels, source.labels)
    np.testing.assert_array_equal(
        task.images, [np.asarray(image) for _, image in source.images(range(21))]
    )
    assert task.images.flags.writeable  # as torch wants it; the file stays as it is
    assert task.labels.dtype == np.int64


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sample_holds_its_images_and_parts(tmp_path: Path, data: Path, seed: int) -> None:
    out = tmp_path / "sample.safetensors"
    sample(data, out, seed=seed)
    found = load_sample(out)
    assert (found.name, found.shots, found.seed) == ("toy", 5, seed)
    train = open_task(ROW, data).split("train")
    originals = {i: np.asarray(image) for i, image in train.images(range(33))}
    drawn = sample_few_shot(train.labels, 3, 5, 0.2, seed, task="toy")
    for indices, into in ((drawn.train, found.train), (drawn.val, found.val)):
        assert len(indices) == len(into)
        np.testing.assert_array_equal(found.labels[into], train.labels[indices])
        np.testing.assert_array_equal(found.images[into], [originals[i] for i in indices])
    assert sorted([*found.train, *found.val]) == list(range(15))
    assert found.train.dtype == np.int64


def test_hashes_are_those_of_the_decoded_pixels(tmp_path: Path, data: Path) -> None:
    out, small = tmp_path / "test.safetensors", tmp_path / "small.safetensors"
    test(data, out)
    test(data, small, preprocess={**PREPROCESS, "size": 4})
    source = dict(open_task(ROW, data).split("test").images(range(21)))
    raw = np.array([hash_pixels(np.asarray(source[i])) for i in range(21)])
    for path in (out, small):
        part, found = read_hashes(path)
        assert part == "test"
        np.testing.assert_array_equal(found, raw)
    assert (
        hash_pixels(np.zeros((2, 3, 3), np.uint8)).tolist()
        != hash_pixels(np.zeros((3, 2, 3), np.uint8)).tolist()
    )
    headers = [read_tensors(path, "task")[0] for path in (out, small)]
    assert headers[0]["content"] == headers[1]["content"]
    assert headers[0]["images"] != headers[1]["images"]


def test_a_sample_may_hold_views_of_its_training_images(tmp_path: Path, data: Path) -> None:
    plain, many, fewer = (tmp_path / f"{name}.safetensors" for name in ("plain", "many", "fewer"))
    sample(data, plain)
    sample(data, many, views=3)
    sample(data, fewer, views=2, shots=2)
    found, without, prefix = load_sample(many), load_sample(plain), load_sample(fewer)
    assert without.views.shape == (0, len(without.train), 8, 8, 3)
    assert found.views.shape == (3, len(found.train), 8, 8, 3)
    np.testing.assert_array_equal(found.images, without.images)
    np.testing.assert_array_equal(found.labels, without.labels)
    np.testing.assert_array_equal(found.train, without.train)
    for held in (found, prefix):  # images of one colour: a view shows whose it is
        for view in held.views:
            np.testing.assert_array_equal(view, held.images[held.train])
    assert len(prefix.views) == 2


def test_a_view_is_a_crop_of_the_original_of_the_stated_size_and_shape() -> None:
    """The channels say where a pixel comes from: red its column, green its row."""
    width, height, size = 250, 180, 32
    original = np.zeros((height, width, 3), np.uint8)
    original[..., 0], original[..., 1] = np.arange(width), np.arange(height)[:, None]
    image, flips, areas = Image.fromarray(original), 0, []
    for seed in range(300):
        view = crop_flip(image, size, Image.Resampling.BILINEAR, np.random.default_rng(seed))
        assert view.shape == (size, size, 3)
        columns, rows = view[..., 0].astype(float).mean(0), view[..., 1].astype(float).mean(1)
        # From the middle of the second to that of the last but one pixel: size - 3 steps.
        w = (columns[-2] - columns[1]) / (size - 3) * size
        h = (rows[-2] - rows[1]) / (size - 3) * size
        flips += w < 0
        areas.append(abs(w) * h / (width * height))
        assert 0.7 < abs(w) / h < 1.4
        assert 0.06 < areas[-1] < 1.03
    assert 110 < flips < 190
    assert min(areas) < 0.15
    assert max(areas) > 0.85


def test_a_long_image_gives_its_centre() -> None:
    original = np.zeros((2000, 10, 3), np.uint8)
    original[993:1007] = 255
    image = Image.fromarray(original)
    views = [
        crop_flip(image, 8, Image.Resampling.BILINEAR, np.random.default_rng(seed))
        for seed in range(20)
    ]
    assert any((view[1:-1] == 255).all() for view in views)


def test_one_shot_has_no_validation_part(tmp_path: Path, data: Path) -> None:
    sample(data, tmp_path / "one.safetensors", shots=1)
    assert load_sample(tmp_path / "one.safetensors").val.shape == (0,)


def test_bytes_depend_on_data_and_arguments_only(tmp_path: Path, data: Path) -> None:
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    test(data, paths[0])
    test(data, paths[1])
    for suffix in (".safetensors", ".npy"):
        first, second = (path.with_suffix(suffix).read_bytes() for path in paths[:2])
        assert first == second
    file = sorted((data / "toy" / "test" / "ant").iterdir())[0]
    Image.new("RGB", (8, 8), (1, 2, 3)).save(file)
    test(data, paths[2])
    # The small file tells of other images too: it is what later jobs compare.
    assert paths[2].read_bytes() != paths[0].read_bytes()


def test_capped_test(tmp_path: Path, data: Path) -> None:
    test(data, tmp_path / "toy.safetensors", max_test=6)
    assert np.bincount(load_test(tmp_path / "toy.safetensors").labels).tolist() == [2, 2, 2]


def test_short_classes(tmp_path: Path, data: Path) -> None:
    for path in sorted((data / "toy" / "train" / "bee").iterdir())[2:]:
        path.unlink()
    out = tmp_path / "toy.safetensors"
    with pytest.raises(
        InputError, match=r"class 'bee' of task toy has only 2 training .* at most 2"
    ):
        sample(data, out)
    assert not list(tmp_path.glob("*toy*"))
    sample(data, out, short_classes="use_all")
    found = load_sample(out)
    assert np.bincount(found.labels[found.train]).tolist() == [4, 1, 4]


def test_nothing_remains_on_failure(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out" / "toy.safetensors"
    broken = data / "toy" / "test" / "cat" / "06.png"  # the last image that is decoded
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"cat/06\.png does not decode"):
        test(data, out)
    assert not list(out.parent.iterdir())
    broken.write_bytes(whole)
    test(data, out)
    before = {p.name: p.read_bytes() for p in out.parent.iterdir()}
    broken.write_bytes(b"")
    with pytest.raises(InputError, match=r"cat/06\.png does not decode"):
        test(data, out)
    assert {p.name: p.read_bytes() for p in out.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("prepared", "changes", "message"),
    [
        (test, {"max_test": 0}, r"max_test is 0: expected null or a number of at least 1"),
        (sample, {"shots": 0}, r"shots is 0"),
        (test, {"preprocess": {**PREPROCESS, "resize_mode": "longest"}}, "resize_mode 'longest'"),
        (sample, {"preprocess": {**PREPROCESS, "interpolation": "odd"}}, "interpolation 'odd'"),
    ],
)
def test_bad_settings(
    tmp_path: Path, data: Path, prepared: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prepared(data, tmp_path / "toy.safetensors", **changes)
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


def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match=r"none: no such file"):
        load_test(tmp_path / "none")
    out = tmp_path / "toy.safetensors"
    test(data, out)
    with pytest.raises(InputError, match=r"holds a task's test: expected its sample"):
        load_sample(out)
    whole = out.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for content in (b"", b"text", whole[:100], whole[:-1], bytes(flipped)):
        out.write_bytes(content)
        with pytest.raises(InputError, match=r"toy\.safetensors: "):
            load_test(out)
    out.write_bytes(whole)
    images = out.with_suffix(".npy")
    pixels = images.read_bytes()
    for content in (b"", pixels[:50], pixels[:-1]):
        images.write_bytes(content)
        with pytest.raises(InputError, match=r"toy\.npy: "):
            load_test(out)
    np.save(images, np.zeros((21, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"toy\.npy: holds uint8 \(21, 8, 8\): expected uint8"):
        load_test(out)
    images.unlink()
    with pytest.raises(InputError, match=r"toy\.npy: no such file: expected the images of toy"):
        load_test(out)


def test_a_description_of_no_backbone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "backbone.json"
    for content in ("", "[1]", "{}", '{"preprocess": 3}'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"backbone\.json: not a converted backbone"):
            read_preprocess(path)


@pytest.mark.skipif(
    not os.environ.get("MVLPT_DATA_ROOT"),
    reason="MVLPT_DATA_ROOT does not name the folder with the tasks of config/suites/realtasks.tsv",
)
def test_real_tasks(tmp_path: Path) -> None:
    rows = read_suite(Path(__file__).parents[2] / "config" / "suites" / "realtasks.tsv")
    preprocess = {**PREPROCESS, "size": 32}
    for row in rows:
        out = tmp_path / f"{row.task}.safetensors"
        prepare_test(row, None, preprocess, max_test=200, out=out)
        task = load_test(out)
        assert len(task.images) == len(task.labels) <= 200
        settings = {**SAMPLE, "shots": 16, "short_classes": "use_all"}
        prepare_sample(row.task, row.kind, row.location, None, preprocess, out=out, **settings)
        found = load_sample(out)
        seen = found.labels[found.train]
        classes = np.flatnonzero(seen.any(0)) if task.multilabel else np.unique(seen)
        assert classes.tolist() == list(range(len(task.classnames)))


def test_drawn_task(tmp_path: Path) -> None:
    from mvlpt_core.testbed import TASKS, draw_split

    name = next(iter(TASKS))
    out = tmp_path / "drawn.safetensors"
    row = TaskRow(name, "testbed", name, "accuracy")
    prepare_test(row, None, {**PREPROCESS, "size": 32}, max_test=None, out=out)
    task = load_test(out)
    pixels, labels = draw_split(name, "test")
    np.testing.assert_array_equal(task.images, pixels)
    np.testing.assert_array_equal(task.labels, labels)
    assert task.classnames == TASKS[name].classnames
