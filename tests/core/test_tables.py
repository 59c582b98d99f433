"""Images with a table of their labels: what is read, and the sentence for every way it can be wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import remarks
from mvlpt_core.tasks.kind import describe
from mvlpt_core.tasks.open import open_task
from support.task_files import expect, numbers, write_images

ROW = TaskRow("toy", "table", "toy", "accuracy")
MULTI = TaskRow("toy", "table", "toy", "map_11point")
TRAIN = ["0.png", "1.png", "2.png", "3.png"]
TEST = ["4.png", "5.png"]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Six images, numbered, and no table yet."""
    write_images(tmp_path / "toy/images", [*TRAIN, *TEST])
    return tmp_path / "toy"


def table(path: Path, header: str, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows, ""]))


SPLIT = [
    f"images/{i}.png,{'cat' if i % 2 else 'big_dog'},{'test' if i > 3 else 'train'}"
    for i in range(6)
]


@pytest.mark.parametrize(
    "header", ["file,label,split", "FileName,Class,Subset", "path,target,split"]
)
@pytest.mark.parametrize("tab", [",", ";", "\t"])
def test_a_table_with_splits(tmp_path: Path, toy: Path, header: str, tab: str) -> None:
    rows = [line.replace(",", tab) for line in SPLIT]
    table(toy / "labels.csv", header.replace(",", tab), rows)
    assert describe(toy)[0].kind == "table"
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("big dog", "cat")
    assert numbers(task.split("train")) == {0: 0, 1: 1, 2: 0, 3: 1}
    assert numbers(task.split("test")) == {4: 0, 5: 1}
    assert remarks([task.split("train")]) == []
    # The table itself as the task, and as a .tsv.
    assert describe(toy / "labels.csv")[0].kind == "table"
    (toy / "labels.csv").rename(toy / "labels.tsv")
    table(
        toy / "labels.tsv", header.replace(",", "\t"), [line.replace(",", "\t") for line in SPLIT]
    )
    row = TaskRow("toy", "table", "toy/labels.tsv", "accuracy")
    assert numbers(open_task(row, tmp_path).split("test")) == {4: 0, 5: 1}


def test_a_table_without_splits_is_divided(tmp_path: Path, toy: Path) -> None:
    write_images(toy / "images", ["6.PNG", "not_named.png"], 6)
    table(toy / "labels.csv", "image,label,width", [f"{i}.png,{'ab'[i % 2]},8" for i in range(6)])
    (toy / "readme.md").write_text("hello")
    task = open_task(ROW, tmp_path)
    train, test = task.split("train"), task.split("test")
    assert (len(train.labels), len(test.labels)) == (4, 2)
    assert (tmp_path / "toy.split.tsv").read_text().startswith("file\tsplit\nimages/0.png\t")
    assert remarks([train, test]) == [
        "columns of the table that are not used: width",
        f"the data have no test split: 2 images of 6 are held out, equal images on one side, as "
        f"{tmp_path / 'toy.split.tsv'} says",
        "3 files passed over: 2 images that the table does not name, 1 .md",
    ]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_imagefolder_of_hugging_face(tmp_path: Path, name: str) -> None:
    for part, files, first in (("train", TRAIN, 0), ("test", TEST, 4), ("validation", TEST, 6)):
        write_images(tmp_path / "toy" / part, files, first)
        labels = ["cat" if i % 2 else "dog" for i in range(len(files))]
        if name.endswith("csv"):
            rows = [f"{file},{label}" for file, label in zip(files, labels, strict=True)]
            table(tmp_path / "toy" / part / name, "file_name,label", rows)
        else:
            lines = [
                json.dumps({"file_name": f, "label": v}) for f, v in zip(files, labels, strict=True)
            ]
            (tmp_path / "toy" / part / name).write_text("\n".join(lines) + "\n")
    assert describe(tmp_path / "toy")[0].kind == "table"
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("cat", "dog")
    assert numbers(task.split("train")) == {0: 1, 1: 0, 2: 1, 3: 0}
    assert numbers(task.split("test")) == {4: 1, 5: 0}
    assert remarks([task.split("train")]) == ["2 files passed over: 2 in val, which is not used"]
    row = TaskRow("toy", "table", "toy", "accuracy", test_split="val")
    assert numbers(open_task(row, tmp_path).split("test")) == {6: 1, 7: 0}


def test_tables_called_like_splits(tmp_path: Path, toy: Path) -> None:
    table(
        toy / "train.csv", "id,image,label", [f"{i},images/{i}.png,{'ab'[i % 2]}" for i in range(4)]
    )
    table(toy / "test_labels.csv", "id,image,label", ["4,images/4.png,a", "5,images/5.png,b"])
    task = open_task(ROW, tmp_path)
    assert numbers(task.split("test")) == {4: 0, 5: 1}
    table(toy / "more.csv", "id,image,label", ["4,images/4.png,a"])
    expect(tmp_path, ROW, r"toy has 3 tables of labels \(more\.csv, test_labels\.csv, train\.csv\)")


@pytest.mark.parametrize(
    "lines",
    [
        ["0.png,a|b", "1.png,b", "2.png,a", "3.png,b"],
        ["0.png,a;b", "1.png,b", "2.png,a", "3.png,b"],
        ["0.png,b", "1.png,b", "2.png,a", "0.png,a", "3.png,b", "3.png,b"],
    ],
)
def test_several_labels_an_image(tmp_path: Path, toy: Path, lines: list[str]) -> None:
    test = ["4.png,a", "5.png,b"]
    rows = [f"{line},{'test' if line in test else 'train'}" for line in [*lines, *test]]
    table(toy / "labels.csv", "file,label,split", rows)
    task = open_task(MULTI, tmp_path)
    assert task.multilabel
    assert numbers(task.split("train")) == {0: [1, 1], 1: [0, 1], 2: [1, 0], 3: [0, 1]}
    assert describe(toy)[0].metric == "map_11point"
    said = remarks([task.split("train")])
    assert said[0].startswith("multi-label: 1 image of 6 with several labels (first: table ")
    assert said[1:] == ["rows of the table that repeat another: 1"] * (len(lines) == 6)
    expect(tmp_path, ROW, r"metric 'accuracy' of task toy does not fit multi-label data")


def test_labels_that_are_numbers(tmp_path: Path, toy: Path) -> None:
    table(toy / "labels.csv", "file,label", [f"{i}.png,{(2, 10)[i % 2]}" for i in range(6)])
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("2", "10")
    assert "classes have numbers for names ('2', '10', ...)" in remarks([task.split("train")])[0]
    (toy / "classnames.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    expect(
        tmp_path, ROW, r"classnames\.txt has 10 lines, and a label is 10: expected a line for each"
    )
    table(toy / "labels.csv", "file,label", [f"{i}.png,{i % 2}" for i in range(6)])
    (toy / "classnames.txt").write_text("cat\ndog\n")
    assert open_task(ROW, tmp_path).classnames == ("cat", "dog")
    table(toy / "labels.csv", "file,label", [f"{i}.png,{'ab'[i % 2]}" for i in range(6)])
    (toy / "classnames.txt").write_text("b\tbird\na\tant\n")
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("bird", "ant")
    assert {n: y for s in ("train", "test") for n, y in numbers(task.split(s)).items()} == {
        i: 1 - i % 2 for i in range(6)
    }


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            "file,label",
            ["0.png,a", "9.png,b", "8.png,b"],
            r"names 2 images not there \(line 3: 9\.png\)",
        ),
        ("file,label", ["../0.png,a"], r"line 2: file '\.\./0\.png': expected a path below"),
        (
            "file,label",
            ["0.png,"],
            r"line 2: image 0\.png has label '': expected a name, or a whole",
        ),
        ("file,label", ["0.png,a|"], r"line 2: image 0\.png has label 'a\|'"),
        ("file,label", ["0.png"], r"line 2: 1 fields: expected 2 \(file, label\)"),
        ("file,label", [], r"labels\.csv has no rows"),
        (
            "id,width",
            ["0,2"],
            r"labels\.csv has no column of the label \(id, width\): expected one, called",
        ),
        ("file,width", ["0.png,2"], r"labels\.csv has no column of the label \(file, width\)"),
        ("file,class,label", ["0.png,a,b"], r"labels\.csv has columns class, label: expected one"),
        ("file,label,label", ["0.png,a,b"], r"a column occurs twice"),
        (
            "file,label,split",
            ["0.png,a,fold3"],
            r"line 2: split 'fold3': expected train, val or test",
        ),
        (
            "file,label,split",
            ["0.png,a,train", "0.png,a,test"],
            r"line 3: 0\.png is in split test, and ",
        ),
        ("file,label", ["0.png,a", "1.png,a"], r"toy has 1 class names: expected at least two"),
        ("file,label,split", ["0.png,a,train", "1.png,b,val"], r"and val \(1 image\) but no test"),
        (
            "file,label,split",
            ["0.png,a,test", "1.png,b,test"],
            r"has test \(2 images\) but no train",
        ),
        (
            "file,label,split",
            ["0.png,a,train", "1.png,b,train", "2.png,a,test"],
            r"class 'b' .* split test",
        ),
    ],
)
def test_bad_tables(tmp_path: Path, toy: Path, header: str, rows: list[str], message: str) -> None:
    table(toy / "labels.csv", header, rows)
    row = TaskRow("toy", "table", "toy/labels.csv", "accuracy")
    expect(tmp_path, row, message, "test")


def test_a_column_of_labels_that_is_named(tmp_path: Path, toy: Path) -> None:
    rows = [f"{line},{i % 3}" for i, line in enumerate(SPLIT)]
    table(toy / "labels.csv", "file,class,split,colour", rows)
    row, root = describe(toy, "colour")
    task = open_task(row, root)
    assert numbers(task.split("train")) == {0: 0, 1: 1, 2: 2, 3: 0}
    assert remarks([task.split("train")])[0] == "columns of the table that are not used: class"
    expect(
        tmp_path,
        replace(ROW, location="toy/labels.csv", label_column="color"),
        r"labels\.csv has no column of the label \(file, class, split, colour\): expected one, called color$",
    )
    table(toy / "labels.csv", "file,class,label,split", rows)
    expect(tmp_path, ROW, r"labels\.csv has columns class, label: .*, or its name as label_column")
    row = replace(ROW, kind="folder", label_column="x")
    expect(
        tmp_path,
        row,
        r"label_column 'x' of task toy: kind folder has no columns of labels: expected",
    )


@pytest.mark.parametrize("between", [" ", "\t", ", ", ";"])
def test_lists_of_files_and_labels(tmp_path: Path, toy: Path, between: str) -> None:
    (toy / "images/0.png").rename(toy / "images/a picture.png")
    train = ["a picture.png", "1.png", "2.png", "3.png"]
    for name, files in (("train", train), ("test", TEST)):
        lines = [f"{file}{between}{i % 2}" for i, file in enumerate(files)]
        (toy / f"{name}_list.txt").write_text("\n".join(lines) + "\n")
    (toy / "README.txt").write_text("Six pictures.\n")
    (toy / "classnames.txt").write_text("cat\ndog\n")
    row, root = describe(toy)
    assert row.kind == "table"
    task = open_task(row, root)
    assert task.classnames == ("cat", "dog")
    assert numbers(task.split("train")) == {0: 0, 1: 1, 2: 0, 3: 1}
    assert numbers(task.split("test")) == {4: 0, 5: 1}
    with (toy / "test_list.txt").open("a") as file:
        file.write("6.png\n")
    expect(tmp_path, ROW, r"test_list\.txt, line 3: '6\.png': expected a file and its label")


def test_a_table_that_is_no_text(tmp_path: Path, toy: Path) -> None:
    (toy / "metadata.jsonl").write_text("[1]\n")
    row = TaskRow("toy", "table", "toy/metadata.jsonl", "accuracy")
    expect(tmp_path, row, r"metadata\.jsonl, line 1: expected a JSON object")
    (toy / "labels.csv").write_bytes(b"file,label\n\xff\xfe,a\n")
    row = TaskRow("toy", "table", "toy/labels.csv", "accuracy")
    expect(tmp_path, row, r"labels\.csv cannot be read as UTF-8 text")
    shutil.rmtree(toy / "images")
    (toy / "labels.csv").unlink()
    (toy / "metadata.jsonl").unlink()
    (toy / "0.txt").write_text("")
    expect(tmp_path, ROW, r"toy has no table of labels: expected one of \.csv")
