"""Folders of images in the shapes that people have: every file used, refused or counted; images divided
where there is no test split."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow, read_suite
from mvlpt_core.tasks.base import remarks
from mvlpt_core.tasks.check import check_tasks, data_state
from mvlpt_core.tasks.kind import describe
from mvlpt_core.tasks.open import open_task
from mvlpt_core.tasks.splits import held_out
from support.task_files import expect, numbers, picture, write_images

ROW = TaskRow("toy", "folder", "toy", "accuracy")


def split_sizes(root: Path, row: TaskRow = ROW) -> tuple[int, int]:
    task = open_task(row, root)
    return len(task.split("train").labels), len(task.split("test").labels)


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("Train", "TEST"), ("training", "Testing")]
)
def test_splits_by_any_name(tmp_path: Path, train: str, test: str) -> None:
    for split, first in ((train, 0), (test, 4)):
        write_images(tmp_path / "toy" / split, ["a/0.png", "a/1.png", "b/0.png", "b/1.png"], first)
    task = open_task(ROW, tmp_path)
    assert numbers(task.split("train")) == {0: 0, 1: 0, 2: 1, 3: 1}
    assert numbers(task.split("test")) == {4: 0, 5: 0, 6: 1, 7: 1}


@pytest.mark.parametrize("val", ["val", "Valid", "validation", "DEV"])
def test_val_stands_for_the_test_where_the_suite_says_so(tmp_path: Path, val: str) -> None:
    write_images(tmp_path / "toy" / "train", ["a/0.png", "b/0.png"])
    write_images(tmp_path / "toy" / val, ["a/0.png", "b/0.png"], 2)
    message = rf"toy has train \(folder train\) and val \(folder {val}\) but no test: expected"
    expect(tmp_path, ROW, message)
    suite = tmp_path / "suite.tsv"
    suite.write_text(
        "task\tkind\tlocation\tmetric\ttest\ntoy\tfolder\ttoy\taccuracy\tval\n"
        "other\tfolder\tother\taccuracy\t12\n"
    )
    row, other = read_suite(suite)
    assert (row.test_split, row.test, other.test_split, other.test) == ("val", None, "", 12)
    assert numbers(open_task(row, tmp_path).split("test")) == {2: 0, 3: 1}
    write_images(tmp_path / "toy" / "test", ["a/0.png", "b/0.png"], 4)
    assert numbers(open_task(ROW, tmp_path).split("test")) == {4: 0, 5: 1}
    assert numbers(open_task(row, tmp_path).split("test")) == {2: 0, 3: 1}
    assert remarks([open_task(row, tmp_path).split("train")]) == [
        "val stands for the test split",
        "2 files passed over: 2 in test, which is not used",
    ]
    suite.write_text("task\tkind\tlocation\tmetric\ttest\ntoy\tfolder\ttoy\taccuracy\tdev\n")
    with pytest.raises(InputError, match=r"line 2: test 'dev': expected a whole number"):
        read_suite(suite)


def test_splits_that_are_not_clear(tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    write_images(toy, ["train/a/0.png", "train/b/0.png", "Train/a/0.png", "test/a/1.png"])
    expect(tmp_path, ROW, r"toy has Train and train: expected one folder of split train")
    shutil.rmtree(toy / "Train")
    expect(tmp_path, ROW, r"class folder .*train/b has no counterpart in .*test")
    shutil.rmtree(toy / "train")
    expect(tmp_path, ROW, r"toy has test \(folder test\) but no train: expected train and test")
    write_images(toy, ["train/a/0.png", "train/b/0.png"])
    shutil.rmtree(toy / "test")
    write_images(toy, ["test/0.png", "test/1.png"])
    expect(tmp_path, ROW, r"test has 2 images and no class folders: expected .*, or a table of lab")
    shutil.rmtree(toy)
    write_images(toy, ["0.png", "1.png"])
    expect(tmp_path, ROW, r"toy has 2 images: expected one folder of images a class")
    shutil.rmtree(toy)
    write_images(toy, ["a/train/0.png", "a/test/0.png", "b/train/0.png", "b/test/0.png"])
    expect(tmp_path, ROW, r"class folder .*a holds test, train: expected the folders of the splits")


def test_a_test_without_labels(tmp_path: Path) -> None:
    write_images(tmp_path / "toy", ["train/a/0.png", "train/b/0.png", "val/a/0.png", "val/b/0.png"])
    write_images(tmp_path / "toy", ["test/0.png", "test/1.png", "test/2.png"], 4)
    expect(
        tmp_path, ROW, r"test has no class folders, as train and val have: expected them, or val"
    )
    row, root = describe(tmp_path / "toy")
    assert row.test_split == "val"
    task = open_task(row, root)
    assert numbers(task.split("test")) == {2: 0, 3: 1}
    assert remarks([task.split("train")]) == [
        "val stands for the test split",
        "3 files passed over: 3 in test, which is no split",
    ]
    shutil.rmtree(tmp_path / "toy/test")
    shutil.rmtree(tmp_path / "toy/val")
    expect(tmp_path, replace(ROW, test_split="val"), r"toy has no val for the suite's 'test: val'")
    shutil.move(tmp_path / "toy/train", tmp_path / "whole")
    row = replace(ROW, location="whole", test_split="val")
    expect(tmp_path, row, r"whole has no val for the suite's 'test: val'")


def test_names_with_blanks_are_divided(tmp_path: Path) -> None:
    write_images(tmp_path / "toy", [f"{c}/ {i} .png" for c in (" a", "b ") for i in range(4)])
    assert split_sizes(tmp_path) == (6, 2)
    assert split_sizes(tmp_path) == (6, 2)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_images(tmp_path / "toy", [f"{c}/{i}.png" for c in ("bus", "train") for i in range(5)])
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("bus", "train")
    assert split_sizes(tmp_path) == (6, 4)


def test_every_file_is_used_or_counted(tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    used = ["0.JPG", "1.tif", "2.JFIF", "3.ppm", "4.gif", "deep/er/5.PNG", "6", "7.v2"]
    write_images(toy / "train/a", used)
    write_images(toy, ["train/b/0.png", "test/a/0.png", "test/b/0.png"], 20)
    write_images(toy, ["train/loose.png", "extra/x.png", "extra/deep/y.png", "top.png"], 30)
    write_images(toy, ["__MACOSX/z.png", "train/__MACOSX/a.png", "train/a/.hidden.png"], 40)
    for name in ("train/a/Thumbs.db", "train/a/notes.txt", "train/b/data.XML", "train/b/README"):
        (toy / name).write_text("no image")
    (toy / "classnames.txt").write_text("a\nb\n")
    (toy / "train/b/gone.png").symlink_to(toy / "nowhere.png")
    (toy / "train/b/loop").symlink_to(toy / "train")
    task = open_task(ROW, tmp_path)
    train = task.split("train")
    assert task.classnames == ("a", "b")
    assert train.labels.tolist() == [0] * len(used) + [1]
    found = {number // 4 for number in numbers(train)}  # JPEG is not exact
    assert found == {0, 1, 5}
    assert remarks([train, task.split("test")]) == [
        "1 image in folders below a class's count as of the class (train)",
        "13 files passed over: 4 hidden or of the system, 2 in extra, which is no split, 2 outside the class "
        "folders, 1 .txt, 1 .xml, 1 dangling links, 1 links back to a folder above, 1 without a suffix",
    ]
    assert sum(p.is_file() or p.is_symlink() for p in toy.rglob("*")) == 13 + 9 + 2 + 1
    assert check_tasks([ROW], str(tmp_path))[-1].startswith("task toy: 13 files passed over: ")


def test_images_without_splits_are_divided_once(tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    write_images(toy, [f"{c}/{i}.png" for c in "abc" for i in range(10)])
    for i in range(5):  # the same pixels in another file, and under another label
        (toy / f"a/again{i}.bmp").write_bytes(picture((0, 0, 99), "bmp"))
    (toy / "b/also.png").write_bytes(picture((0, 0, 99)))
    before = data_state("toy", "folder", "toy", str(tmp_path))
    task = open_task(ROW, tmp_path)
    train, test = task.split("train"), task.split("test")
    assert not numbers(train).keys() & numbers(test).keys()
    assert len(train.labels) + len(test.labels) == 36
    assert all(2 <= count <= 4 for count in np.bincount(test.labels))
    table = tmp_path / "toy.split.tsv"
    assert data_state("toy", "folder", "toy", str(tmp_path)).touched != before.touched
    assert remarks([train, test]) == [
        f"the data have no test split: {len(test.labels)} images of 36 are held out, equal images on one "
        f"side, as {table} says"
    ]
    lines = table.read_text().splitlines()
    assert lines[0] == "file\tsplit"
    assert len(lines) == 37
    # What stands there counts.
    moved = next(i for i, line in enumerate(lines) if line.endswith("\ttest"))
    lines[moved] = lines[moved].replace("\ttest", "\ttrain")
    table.write_text("\n".join(lines))
    assert split_sizes(tmp_path) == (len(train.labels) + 1, len(test.labels) - 1)
    # Edited in a spreadsheet, too.
    table.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert split_sizes(tmp_path) == (len(train.labels) + 1, len(test.labels) - 1)
    table.unlink()
    assert split_sizes(tmp_path) == (len(train.labels), len(test.labels))
    # Only train, without a test: the same.
    shutil.move(toy, tmp_path / "train")
    shutil.move(tmp_path / "train", toy / "train")
    expect(
        tmp_path, ROW, r"split\.tsv has no line for 36 images \(train/a/0\.png\): expected .* anew"
    )
    table.unlink()
    assert split_sizes(tmp_path) == (len(train.labels), len(test.labels))


def test_a_table_of_the_division_that_does_not_fit(tmp_path: Path) -> None:
    write_images(tmp_path / "toy", [f"{c}/{i}.png" for c in "ab" for i in range(4)])
    table = tmp_path / "toy.split.tsv"
    split_sizes(tmp_path)
    text = table.read_text()
    table.write_text(text + "gone.png\ttest\n")
    expect(tmp_path, ROW, r"toy\.split\.tsv names, but the data have not, 1 image \(gone\.png\)")
    for line in ("a/0.png\ttest", "x.png\tval", "x"):
        table.write_text(text + line)
        expect(
            tmp_path, ROW, r"toy\.split\.tsv, line 10: expected an image, named once, a tab, and"
        )
    table.write_text("nothing")
    expect(tmp_path, ROW, r"toy\.split\.tsv: expected the columns file and split")
    table.unlink()
    (tmp_path / "toy/a/0.png").write_bytes(b"broken")
    expect(tmp_path, ROW, r"image .*toy/a/0\.png does not decode")


def test_data_that_may_not_be_written_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "toy", [f"{c}/{i}.png" for c in "ab" for i in range(4)])
    monkeypatch.setenv("MVLPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mvlpt_core.tasks.splits.os.access", lambda path, mode: False)
    assert split_sizes(tmp_path) == (6, 2)
    (table,) = (tmp_path / "cache/splits").iterdir()
    assert table.name.startswith("toy-")
    assert not (tmp_path / "toy.split.tsv").exists()
    assert str(table) in remarks([open_task(ROW, tmp_path).split("train")])[0]


def test_a_class_without_two_different_images(tmp_path: Path) -> None:
    write_images(tmp_path / "toy", [f"a/{i}.png" for i in range(4)])
    for i in range(3):
        write_images(tmp_path / "toy/b", [f"{i}.png"], 9)
    expect(
        tmp_path,
        ROW,
        r"class 1 \(counted from 0\) of .*toy has 3 images, all alike \(b/0\.png\): expected two",
    )


def test_one_folder_in_a_folder(tmp_path: Path) -> None:
    write_images(tmp_path / "toy/birds/images", [f"{c}/{i}.png" for c in "ab" for i in range(4)])
    (tmp_path / "toy/.DS_Store").write_text("")
    assert open_task(ROW, tmp_path).classnames == ("a", "b")
    assert split_sizes(tmp_path) == (6, 2)


def test_the_share_held_out_is_that_of_each_class() -> None:
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(4), [2, 10, 50, 1000]))
    test = held_out(np.arange(len(labels)), labels)
    assert [int(test[labels == c].sum()) for c in range(4)] == [1, 3, 15, 300]
    groups = random.integers(0, 200, len(labels))
    test = held_out(groups, labels)
    assert all(len(set(test[groups == group])) == 1 for group in set(groups))
    assert 0.2 < test.mean() < 0.35
    hot = (random.random((300, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02]).astype(np.uint8)
    test = held_out(np.arange(300), hot)
    for side in (test, ~test):
        assert hot[side].any(0).all()


def test_a_split_of_the_suite_where_the_kind_has_its_own(tmp_path: Path) -> None:
    for kind in ("coop", "testbed"):
        row = replace(ROW, kind=kind, test_split="val")
        expect(tmp_path, row, rf"test 'val' of task toy: kind {kind} has a test split of its own")
