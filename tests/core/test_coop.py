"""Folders with CoOp's splits, in the layouts that its data sets have."""

from pathlib import Path

import numpy as np
import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.open import open_task
from support.task_files import COLOURS, expect, picture, write_coop, write_splits

ROW = TaskRow("pets", "coop", "oxford_pets", "accuracy")


# As in pets, cars (whose paths start at the data set's own folder) and EuroSAT.
@pytest.mark.parametrize("images", ["images", "", "2750"])
def test_coop_splits(tmp_path: Path, images: str) -> None:
    write_coop(tmp_path / ROW.location, images)
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("red cat", "green dog", "blue cat")
    assert task.templates == ("a photo of a {c}.",)
    train, test = task.split("train"), task.split("test")
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert test.labels.tolist() == [0, 1, 2]
    for i, image in test.images([2, 0]):
        assert np.abs(np.asarray(image, int) - COLOURS[i]).max() < 12


def test_aircraft_comes_with_its_own_lists(tmp_path: Path) -> None:
    root = tmp_path / ROW.location
    (root / "images").mkdir(parents=True)
    (root / "variants.txt").write_text("A300\n707 320\n")
    for number, part in enumerate(("train", "val", "test")):
        lines = []
        for label, name in enumerate(("A300", "707 320")):
            lines.append(f"00{number}{label} {name}")
            data = picture(COLOURS[label], "jpg")
            (root / "images" / f"00{number}{label}.jpg").write_bytes(data)
        (root / f"images_variant_{part}.txt").write_text("\n".join(lines) + "\n")
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("A300", "707 320")
    assert task.split("test").labels.tolist() == [0, 1]
    assert len(list(task.split("train").images([0, 1]))) == 2
    (root / "images_variant_val.txt").write_text("0010 A400\n")
    expect(tmp_path, ROW, r"images_variant_val.txt, line 1: 'A400' is not in variants.txt")
    (root / "images_variant_val.txt").write_text("\n")
    expect(tmp_path, ROW, r"images_variant_val.txt is empty: expected an image and its class")


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        (
            "train",
            ["sub/0.jpg", "0", "red_cat"],
            r'train holds \["sub/0.jpg", "0", "red_cat"\]: exp',
        ),
        ("test", ["sub/0.jpg", 0], r"test holds .*expected \[image path, label, class name\]"),
        ("val", ["../0.jpg", 0, "red_cat"], r"val holds .*the path below the folder of images"),
        ("val", ["/0.jpg", 0, "red_cat"], r"val holds .*the path below the folder of images"),
        ("train", ["sub/0.jpg", -1, "red_cat"], r"train holds"),
        ("train", ["sub/0.jpg", 1, "red_cat"], r"class 1 .*expected one name a class"),
        ("val", ["sub/0.jpg", 4, "grey cat"], r"no image has label 3: expected each of 0 to 4"),
        ("val", ["sub/0.jpg", 3, ""], r"the name of class 3 .* says nothing"),
        (
            "train",
            ["sub/77.jpg", 2, "blue cat"],
            r"json names 1 image not there \(.*sub/77.jpg\): expected each",
        ),
        (
            "test",
            ["77.jpg", 2, "blue cat"],
            r"image 77.jpg of file .* is missing: expected it below",
        ),
    ],
)
def test_bad_entries(tmp_path: Path, part: str, entry: list, message: str) -> None:
    splits = write_coop(tmp_path / ROW.location)
    splits[part].insert(0, entry)
    write_splits(tmp_path / ROW.location, splits)
    expect(tmp_path, ROW, message)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([], r"expected a mapping with the keys train, val, test"),
        ({"train": [], "test": []}, r"expected a mapping with the keys train, val, test"),
        ({"train": [], "val": [], "test": []}, r"train is empty: expected entries"),
        ({"train": 3, "val": [], "test": []}, r"train is no list"),
    ],
)
def test_bad_split_files(tmp_path: Path, splits: object, message: str) -> None:
    write_coop(tmp_path / ROW.location)
    write_splits(tmp_path / ROW.location, splits)
    expect(tmp_path, ROW, message)


def test_other_folders(tmp_path: Path) -> None:
    expect(tmp_path, ROW, r"folder .*oxford_pets does not exist: expected split_zhou_\*\.json")
    root = tmp_path / ROW.location
    write_coop(root)
    (root / "split_zhou_Other.json").write_text("{}")
    expect(tmp_path, ROW, r"has 2 files of splits \(split_zhou_Other.json, .*\): expected one")
    (root / "split_zhou_Other.json").unlink()
    (root / "split_zhou_OxfordPets.json").write_text("{")
    expect(tmp_path, ROW, r"split_zhou_OxfordPets.json cannot be read as JSON")
    (root / "split_zhou_OxfordPets.json").unlink()
    expect(tmp_path, ROW, r"has no split_zhou_\*\.json: expected one, or variants.txt")


def test_an_empty_validation_part_is_fine(tmp_path: Path) -> None:
    splits = write_coop(tmp_path / ROW.location)
    write_splits(tmp_path / ROW.location, splits | {"val": []})
    assert len(open_task(ROW, tmp_path).split("train").labels) == 6
    write_splits(tmp_path / ROW.location, splits | {"test": splits["test"][:2]})
    with pytest.raises(InputError, match="class 'blue cat' of task pets has no images in split te"):
        open_task(ROW, tmp_path).split("test")


def test_a_mark_of_byte_order_changes_nothing(tmp_path: Path) -> None:
    write_coop(tmp_path / ROW.location)
    file = next((tmp_path / ROW.location).glob("split_zhou_*.json"))
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text(file.read_text("utf-8-sig"), encoding)
        assert open_task(ROW, tmp_path).classnames == ("red cat", "green dog", "blue cat")
        file.write_text(file.read_text(encoding), "utf-8")
