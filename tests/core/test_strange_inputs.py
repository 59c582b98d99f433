"""Data as strangers hold them: what each kind of oddity comes to, a right value or one sentence."""

import gzip
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from mvlpt.cli import main
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.contract.templates import read_templates
from mvlpt_core.tasks.base import remarks
from mvlpt_core.tasks.kind import describe
from mvlpt_core.tasks.open import open_task
from support import bad_text
from support.task_files import expect, numbers, picture, samples, write_images, write_tar

TABLE = TaskRow("toy", "table", "toy", "accuracy")
FOLDER = TaskRow("toy", "folder", "toy", "accuracy")
PARQUET = TaskRow("toy", "parquet", "toy", "accuracy")
WDS = TaskRow("toy", "wds", "toy", "accuracy")
NAMES = [f"{i}.png" for i in range(6)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVLPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Six images, numbered, and no table yet."""
    write_images(tmp_path / "toy/images", NAMES)
    return tmp_path / "toy"


def classes(folder: Path, names: str = "ab", first: int = 0) -> None:
    write_images(folder, [f"{c}/{i}.png" for c in names for i in range(3)], first)


def rows(header: str, line: str) -> str:
    """Images 0 to 3 to train and 4, 5 to test, of class i % 2."""
    lines = [line.format(i=i, k=i % 2, s="test" if i > 3 else "train") for i in range(6)]
    return "\n".join([header, *lines, ""])


def read(tmp_path: Path, row: TaskRow = TABLE) -> tuple[tuple[str, ...], dict[int, Any]]:
    """Class names, and labels of the test images."""
    task = open_task(row, tmp_path)
    return task.classnames, numbers(task.split("test"))


# Tables


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (",file,label,split", "{i},images/{i}.png,c{k},{s}"),  # as DataFrame.to_csv writes it
        ("file,label,split,,", "images/{i}.png,c{k},{s},,"),  # as a spreadsheet does
        ("id,label,split", "{i},c{k},{s}"),
        ("Image Path,Class Name,Split", "images\\{i}.png,c{k},{s}"),
        ("image_id,file,label,split", "7,{i}.png,c{k},{s}"),
        ("file,label,split", "images/{i},c{k},{s}\n,,"),  # a row without a value is none
    ],
)
def test_columns_and_files_of_any_form(tmp_path: Path, toy: Path, header: str, line: str) -> None:
    (toy / "labels.csv").write_text(rows(header, line))
    assert describe(toy)[0].kind == "table"
    assert read(tmp_path) == (("c0", "c1"), {4: 0, 5: 1})


def test_a_file_named_with_all_folders_above(tmp_path: Path, toy: Path) -> None:
    (toy / "labels.csv").write_text(
        rows("file,label,split", f"{toy}/images/{{i}}.png,c{{k}},{{s}}")
    )
    assert read(tmp_path) == (("c0", "c1"), {4: 0, 5: 1})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_in_the_encodings_that_say_so(tmp_path: Path, toy: Path, encoding: str) -> None:
    text = rows("file\tlabel\tsplit", "{i}.png\tbär{k}\t{s}")
    (toy / "labels.csv").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert read(tmp_path) == (("bär0", "bär1"), {4: 0, 5: 1})


def write_sheets(path: Path, **sheets: list[list[Any]]) -> None:
    book = Workbook()
    for number, (title, lines) in enumerate(sheets.items()):
        sheet = book.create_sheet(title, number)
        for line in lines:
            sheet.append(line)
    book.save(path)


def test_a_spreadsheet(tmp_path: Path, toy: Path) -> None:
    lines = [["id", "label", "split"]]
    lines += [[i, 10 + i % 2, "test" if i > 3 else "train"] for i in range(6)]  # type: ignore[list-item]
    write_sheets(toy / "labels.xlsx", one=lines, two=[])
    assert describe(toy)[0].kind == "table"
    assert read(tmp_path) == (("10", "11"), {4: 0, 5: 1})
    write_sheets(toy / "labels.xlsx", one=lines, two=[["file", "label"], ["0.png", 1]])
    expect(tmp_path, TABLE, r"labels\.xlsx has sheets one, two: expected one with rows")
    write_sheets(toy / "labels.xlsx", one=[["file", "label"], ["0.png", True]])
    expect(tmp_path, TABLE, r"image 0\.png has label True: expected a name, or a whole number")
    (toy / "labels.xlsx").write_bytes(b"PK\3\4")
    expect(tmp_path, TABLE, r"labels\.xlsx is not a whole \.xlsx file")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            rows("file,label", "{i}.png,bär").encode("latin-1"),
            r"labels\.csv cannot be read as UTF-8",
        ),
        (rows("file,label", "{i}.png,c{k}").encode("utf-16-le"), r"\(it holds zero bytes\)"),
        (
            gzip.compress(b"file,label", mtime=0),
            r"labels\.csv cannot be read .*\(it holds a gzip file\)",
        ),
        (b"file,label\n", r"labels\.csv has no rows"),
        (b"file,label,label\n0.png,a,b\n", r"labels\.csv: a column occurs twice in file, label"),
        (b"0.png,a\n1.png,b\n", r"labels\.csv has no column of the file \(0\.png, a\)"),
        (b"file,cat,dog\n0.png,1,0\n", r"no column of the label \(file, cat, dog\): expected one"),
        (b'file,label\n0.png,"a\n', r"labels\.csv, line 2: not CSV \(unexpected end of data\)"),
        (b"file,label\n0.PNG,a\n", r"names 1 image not there \(line 2: 0\.PNG; 0\.png is there\)"),
        (b"file,label\n0,1\n1,0\n2,-1\n", r"1 image with label '-1', where others have numbers"),
        (b"file,label\n0,1\n1,nan\n2,NaN\n", r"1 image with label 'NaN', where others have"),
        (b"file,label\n0,a|b\n1,a|b\n", r"every image has all labels \(a, b\): expected the names"),
        (b"file,label\n0,a|a\n", r"image 0 has label 'a\|a', one of them twice"),
    ],
)
def test_a_table_that_is_none_says_why(
    tmp_path: Path, toy: Path, data: bytes, message: str
) -> None:
    (toy / "labels.csv").write_bytes(data)
    refused(toy, message)


def refused(path: Path, message: str) -> None:
    """As `mvlpt check` and `init` open data: one sentence."""
    with pytest.raises(InputError, match=message) as caught:
        describe(path)
    assert "\n" not in str(caught.value)


def test_a_split_is_not_lost_because_its_table_cannot_be_read(tmp_path: Path, toy: Path) -> None:
    (toy / "train.csv").write_text(rows("file,label", "{i}.png,c{k}"))
    (toy / "test.csv").write_bytes("file,label\n2.png,b\xe4r\n".encode("latin-1"))
    refused(toy, r"test\.csv cannot be read as UTF-8 text")
    (toy / "test.csv").rename(toy / "notes.csv")  # no split's
    assert "1 .csv" in remarks([open_task(TABLE, tmp_path).split("train")])[-1]


def test_labels_that_are_numbers_in_disguise(tmp_path: Path, toy: Path) -> None:
    (toy / "labels.csv").write_text(rows("file,label,split", "{i}.png,{k}.0,{s}"))
    assert read(tmp_path) == (("0", "1"), {4: 0, 5: 1})
    (toy / "labels.csv").write_text(rows("file,label,split", "{i}.png,{k}.5,{s}"))
    assert read(tmp_path) == (("0.5", "1.5"), {4: 0, 5: 1})
    assert (
        "numbers for names ('0.5', '1.5'" in remarks([open_task(TABLE, tmp_path).split("train")])[0]
    )
    (toy / "labels.csv").unlink()
    lines = rows("", '{{"file": "{i}.png", "label": {k}.0, "split": "{s}"}}')
    (toy / "labels.ndjson").write_text(lines)
    assert read(tmp_path) == (("0", "1"), {4: 0, 5: 1})
    (toy / "labels.ndjson").write_text('{"file": "0.png", "label": "a", "label": "b"}\n')
    expect(tmp_path, TABLE, r"line 1: expected a JSON object, with each key once")


def test_a_class_that_may_be_no_label_is_told(tmp_path: Path, toy: Path) -> None:
    text = rows("file,label,split", "{i}.png,c{k},{s}").replace("c1", "None")
    (toy / "labels.csv").write_text(text)
    (line,) = remarks([open_task(TABLE, tmp_path).split("train")])
    assert line == "label 'None' counts as a class of this name"


# Folders


@pytest.mark.parametrize("above", ["train", "x/train", "toy/test"])
def test_folders_of_splits_below_one_that_is_called_like_a_split(
    tmp_path: Path, above: str
) -> None:
    classes(tmp_path / "toy" / above / "train")
    classes(tmp_path / "toy" / above / "test", first=50)
    assert read(tmp_path, FOLDER) == (("a", "b"), {50: 0, 51: 0, 52: 0, 53: 1, 54: 1, 55: 1})


def test_splits_that_were_unpacked_into_folders_of_their_name(tmp_path: Path) -> None:
    classes(tmp_path / "toy/train/train")
    classes(tmp_path / "toy/eval/evaluation", first=50)
    assert read(tmp_path, FOLDER)[1] == {50: 0, 51: 0, 52: 0, 53: 1, 54: 1, 55: 1}
    (tmp_path / "toy/train/more").mkdir()
    refused(
        tmp_path / "toy",
        r"class folder .*train/train holds a, b: expected the folders of the splits",
    )


@pytest.mark.parametrize(("one", "other"), [("cat", "Cat"), ("caf\u00e9", "cafe\u0301")])
def test_classes_that_differ_in_letters_that_look_alike(
    tmp_path: Path, one: str, other: str
) -> None:
    for split, name in (("train", one), ("test", other)):
        write_images(tmp_path / "toy" / split, [f"{name}/0.png", "dog/0.png"])
    message = f"no counterpart in .*test, where {other!a} is not {one!a} letter by letter"
    expect(tmp_path, FOLDER, message.replace("\\", "\\\\"))


@pytest.mark.parametrize(
    ("files", "held"),
    [
        (["images/0.png", "labels.xls"], r"1 image, images/, labels\.xls"),
        (["images/0.png", "labels.csv.gz"], r"1 image, images/, labels\.csv\.gz"),
        (["train.zip", "test.zip"], r"0 images, test\.zip, train\.zip"),
        (["data-0.arrow", "state.json", "a.b", "c.d", "e.f"], r"0 images, a\.b, .*, e\.f, 1 more"),
    ],
)
def test_a_folder_without_classes_says_what_it_holds(
    tmp_path: Path, files: list[str], held: str
) -> None:
    for name in files:
        (tmp_path / "toy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / name).write_bytes(picture((1, 2, 3)) if "png" in name else b"x")
    refused(tmp_path / "toy", rf"toy has {held}: expected one folder of images a class")


def test_names_that_are_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        classes(tmp_path / "toy" / split, first=50 * (split == "test"))
    bad = os.fsdecode(b"\xe4.png")
    (tmp_path / "toy/train/a/0.png").rename(tmp_path / "toy/train/a" / bad)
    arguments = [
        "check",
        str(tmp_path / "toy"),
        "--workers",
        "1",
        "--cache",
        str(tmp_path / "seen"),
    ]
    for _ in range(2):  # the second time from memory
        assert main(arguments) == 0
        assert " 6 " in capsys.readouterr().out
    for split in ("train", "test"):
        (tmp_path / "toy" / split / "a").rename(tmp_path / "toy" / split / bad)
    expect(tmp_path, FOLDER, r"the name of class 1 .* '\\udce4\.png', is not UTF-8")


def test_a_class_name_that_the_text_tower_has_no_room_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        classes(tmp_path / "toy" / split, first=50 * (split == "test"))
        (tmp_path / "toy" / split / "a").rename(tmp_path / "toy" / split / "_".join("w" * 60))
    assert main(["check", str(tmp_path / "toy"), "--workers", "1"]) == 1
    assert "has 60 tokens, and the text tower has room for 58" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "x.png",
            picture((1, 2, 3)),
            "holds an image (PNG): expected a folder, or a file ending in",
        ),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "holds a 7-Zip archive: expected a folder"),
        ("labels.csv.gz", gzip.compress(b"a", mtime=0), "holds a gzip file: expected a folder"),
        ("x.npy", b"\x93NUMPY", "holds a NumPy array (.npy): expected a folder"),
        ("", b"", "no such file: expected a configuration in YAML, a suite or a task's data"),
    ],
)
def test_a_file_that_is_no_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, message: str
) -> None:
    path = tmp_path / (name or "nothing")
    if name:
        path.write_bytes(data)
    assert main(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# Files of many images


def write_parquet(path: Path, labels: list[Any], first: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": picture((first + i, 0, 99)), "path": None} for i in range(len(labels))]
    pq.write_table(pa.table({"image": images, "label": labels}), path)


def test_parquet_files_that_are_missing(tmp_path: Path) -> None:
    write_parquet(tmp_path / "toy/train-00000-of-00003.parquet", [0, 1])
    write_parquet(tmp_path / "toy/train-00002-of-00003.parquet", [0, 1], 9)
    write_parquet(tmp_path / "toy/test-00000-of-00001.parquet", [0, 1], 20)
    refused(
        tmp_path / "toy", r"toy has 2 of 3 parquet files of train: expected number 00001 as well"
    )
    write_parquet(tmp_path / "toy/train-00001-of-00003.PARQUET", [1, 1], 5)
    train = open_task(PARQUET, tmp_path).split("train")
    assert numbers(train) == {0: 0, 1: 1, 5: 1, 6: 1, 9: 0, 10: 1}


def test_labels_of_parquet_files(tmp_path: Path) -> None:
    for labels, message in (
        ([0.0, float("nan")], r"row 1 \(from 0\): label nan: expected a name, or a whole number"),
        ([True, False], r"label True: expected a name, or a whole number"),
        ([[1, 0, 0], [0, 1, 0]], r"label \[1, 0, 0\], one of them twice"),
        ([[1, 0], [0, 1]], r"every image has all labels \(0, 1\)"),
    ):
        write_parquet(tmp_path / "toy/train.parquet", labels)
        write_parquet(tmp_path / "toy/test.parquet", labels, 9)
        refused(tmp_path / "toy", message)
    write_parquet(tmp_path / "toy/train.parquet", [3.0, 5.0])
    write_parquet(tmp_path / "toy/test.parquet", [5.0, 3.0], 9)
    assert read(tmp_path, PARQUET) == (("3", "5"), {9: 1, 10: 0})


def test_parquet_files_whose_text_is_none(tmp_path: Path) -> None:
    write_parquet(tmp_path / "toy/train.parquet", [0, 1])
    images = pq.read_table(tmp_path / "toy/train.parquet")["image"]
    test = pa.table({"image": images, "label": bad_text.column([b"cat", b"d\x8bg"])})
    pq.write_table(test, tmp_path / "toy/train.parquet")
    pq.write_table(test, tmp_path / "toy/test.parquet")
    refused(tmp_path / "toy", r"parquet: column label cannot be read \(.*can't decode")
    bad_text.write_with_bad_name(
        pa.table({"image": images, "label": [0, 1]}), "label", tmp_path / "toy/test.parquet"
    )
    refused(tmp_path / "toy", r"parquet is not a whole parquet file \(.*can't decode")


def test_arrays_of_a_split_in_any_case_and_once(tmp_path: Path) -> None:
    images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    held = {"Train_Images": images, "Train_Labels": [0, 1, 0, 1]}
    held |= {"test_images": images + 1, "test_labels": [1, 0, 1, 0]}
    np.savez(tmp_path / "toy.npz", **held)  # type: ignore[arg-type]
    row, root = describe(tmp_path / "toy.npz")
    assert open_task(row, root).split("test").labels.tolist() == [1, 0, 1, 0]
    np.savez(tmp_path / "toy.npz", testing_images=images, testing_labels=[0, 1, 0, 1], **held)  # type: ignore[arg-type]
    refused(tmp_path / "toy.npz", r"has testing_images and test_images: expected one array")
    np.save(tmp_path / "x.npy", images)
    (tmp_path / "x.npy").rename(tmp_path / "toy.npz")
    refused(tmp_path / "toy.npz", r"is not a whole \.npz archive \(it holds a NumPy array")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        write_tar(tmp_path / "toy" / split / "0.tar", samples(range(3)))
        (tmp_path / "toy" / split / "nshards.txt").write_text("1")
    (tmp_path / "toy/classnames.txt").write_text("red\ngreen\nblue\n")
    return tmp_path / "toy"


def test_shards(tmp_path: Path, shards: Path) -> None:
    tar, count = shards / "train/0.tar", shards / "train/nshards.txt"
    count.write_text("99999999999")  # is not made a list of
    expect(tmp_path, WDS, r"1\.tar is missing: .*nshards\.txt says 99999999999")
    count.write_text("1")
    whole = tar.read_bytes()
    tar.write_bytes(whole + whole)
    expect(tmp_path, WDS, r"0\.tar is not a whole tar archive: there is more behind its end mark")
    tar.write_bytes(gzip.compress(whole))
    expect(tmp_path, WDS, r"0\.tar is not a whole tar archive: it holds a gzip file")
    tar.write_bytes(whole)
    (shards / "test").rename(shards / "val")
    expect(tmp_path, WDS, r"toy/test does not exist, of folders there is train, val", "test")


@pytest.mark.parametrize("label", ["0_1", "+1", "\u0661", "1.0", "0x1"])
def test_labels_of_shards_are_plain_numbers(tmp_path: Path, shards: Path, label: str) -> None:
    write_tar(shards / "train/0.tar", {"a.png": picture((1, 2, 3)), "a.cls": label.encode()})
    expect(tmp_path, WDS, r"label '.*' of a\.cls .* is not a whole number")


# Archives


@pytest.mark.parametrize("form", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_archives_by_their_short_names(tmp_path: Path, form: str) -> None:
    for split in ("train", "test"):
        classes(tmp_path / "birds" / split, first=50 * (split == "test"))
    made = Path(shutil.make_archive(str(tmp_path / "made"), form, tmp_path, "birds"))
    short = {"gztar": ".TGZ", "bztar": ".tbz2", "xztar": ".txz"}.get(form, f".{form.upper()}")
    row, root = describe(made.rename(tmp_path / f"toy{short}"))
    assert row.task == "new_toy"
    assert numbers(open_task(row, root).split("test")) == {50: 0, 51: 0, 52: 0, 53: 1, 54: 1, 55: 1}


def test_two_tars_that_were_joined(tmp_path: Path) -> None:
    write_tar(tmp_path / "one.tar", {"train/a/0.png": picture((1, 2, 3))})
    write_tar(tmp_path / "two.tar", {"train/b/0.png": picture((1, 2, 4))})
    joined = (tmp_path / "one.tar").read_bytes() + (tmp_path / "two.tar").read_bytes()
    (tmp_path / "toy.tar").write_bytes(joined)
    refused(
        tmp_path / "toy.tar", r"toy\.tar cannot be unpacked \(there is more behind its end mark"
    )


def test_errors_of_an_archive_name_it_once(tmp_path: Path) -> None:
    def zipped(**members: bytes) -> Path:
        with zipfile.ZipFile(tmp_path / "toy.zip", "w") as made:
            for name, data in members.items():
                made.writestr(name, data)
        return tmp_path / "toy.zip"

    path = str(tmp_path / "toy.zip")
    for members, message in (
        ({"../x": b""}, f"archive {path} holds '../x': expected names below its own folder"),
        ({"a.png": picture((1, 2, 3))}, f"folder {path} has 1 image: expected one folder"),
        ({"train.zip": b"", "test.zip": b""}, f"folder {path} has 0 images, test.zip, train.zip: "),
    ):
        with pytest.raises(InputError) as caught:
            describe(zipped(**members))
        assert str(caught.value).startswith(message)
    (tmp_path / "toy.zip").write_bytes(picture((1, 2, 3)))
    refused(tmp_path / "toy.zip", r"cannot be unpacked \(it holds an image \(PNG\)\)")


def test_a_flag_is_no_label_of_coop(tmp_path: Path) -> None:
    write_images(tmp_path / "toy/images", NAMES)
    part = [[f"{i}.png", i % 2, f"c{i % 2}"] for i in range(4)]
    splits = {"train": part, "val": [], "test": [["4.png", True, "c1"]]}
    (tmp_path / "toy/split_zhou_Toy.json").write_text(json.dumps(splits))
    refused(tmp_path / "toy", r'test holds \["4\.png", true, "c1"\]: expected \[image path, label')


@pytest.mark.parametrize("text", ["a ${c}.", "a {c}, a type of %s", "a {c} of %(c)s"])
def test_templates_of_other_languages(text: str) -> None:
    with pytest.raises(InputError, match=r"expected text with \{c\}"):
        read_templates(text, "x")
