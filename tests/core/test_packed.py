"""Tasks in one file: parquet, npz, and archives of any kind of task."""

import io
import json
import os
import stat
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks import archive
from mvlpt_core.tasks.base import remarks
from mvlpt_core.tasks.check import check_tasks, data_state
from mvlpt_core.tasks.kind import describe
from mvlpt_core.tasks.open import open_task
from support.task_files import expect, numbers, picture, write_images

ROW = TaskRow("toy", "parquet", "toy", "accuracy")
NPZ = TaskRow("toy", "npz", "toy.npz", "accuracy")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MVLPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


CLASSES = {"names": ["red_cat", "dog"], "_type": "ClassLabel"}


def write_parquet(path: Path, labels: list[Any], first: int, feature: Any = CLASSES) -> None:
    """Images numbered from `first`, five rows a group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"bytes": picture((first + i, 0, 99)), "path": f"{i}.png"} for i in range(len(labels))
    ]
    made = pa.table({"image": images, "label": labels, "id": range(len(labels))})
    if feature:
        info = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
        made = made.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(made, path, row_group_size=5)


@pytest.mark.parametrize("name", ["data/{}-00000-of-00001.parquet", "default/{}/0000.parquet"])
def test_parquet(tmp_path: Path, name: str) -> None:
    toy = tmp_path / "toy"
    write_parquet(toy / name.format("train"), [0, 1] * 6, 0)
    write_parquet(toy / name.format("validation"), [1], 30)
    write_parquet(toy / name.format("test"), [1, 0], 40)
    (toy / "README.md").write_text("about")
    row, root = describe(toy)
    assert (row.kind, row.metric, root) == ("parquet", "accuracy", tmp_path)
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("red cat", "dog")
    train = task.split("train")
    assert numbers(train) == {i: i % 2 for i in range(12)}
    assert numbers(task.split("test")) == {40: 1, 41: 0}
    got = {i: image.getpixel((0, 0)) for i, image in train.images([11, 0, 7])}
    assert got == {i: (i, 0, 99) for i in (0, 7, 11)}
    assert remarks([train, task.split("test")]) == [
        "columns that are not used: id",
        "2 files passed over: 1 .md, 1 in val, which is not used",
    ]


def test_parquet_of_many_labels_and_without_notes(tmp_path: Path) -> None:
    several = {"feature": CLASSES, "_type": "Sequence"}
    for part, first in (("train", 0), ("test", 9)):
        write_parquet(tmp_path / f"toy/{part}.parquet", [[0, 1], [1], [0]], first, several)
    assert describe(tmp_path / "toy")[0].metric == "map_11point"
    task = open_task(TaskRow("toy", "parquet", "toy", "map_11point"), tmp_path)
    assert numbers(task.split("test")) == {9: [1, 1], 10: [0, 1], 11: [1, 0]}
    for part, first in (("train", 0), ("test", 9)):
        write_parquet(tmp_path / f"toy/{part}.parquet", ["b_c", "a"], first, None)
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("a", "b c")
    assert numbers(task.split("test")) == {9: 1, 10: 0}


def test_one_parquet_file_is_divided(tmp_path: Path) -> None:
    write_parquet(tmp_path / "toy.parquet", [0, 1] * 10, 0)
    row, _ = describe(tmp_path / "toy.parquet")
    assert (row.kind, row.task) == ("parquet", "new_toy")
    task = open_task(row, tmp_path)
    assert len(task.split("test").labels) == 6
    lines = (tmp_path / "toy.parquet.split.tsv").read_text().splitlines()
    assert lines[1].startswith("toy.parquet#0\t")


def test_bad_parquet(tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    write_parquet(toy / "train.parquet", [0, 1], 0)
    write_parquet(toy / "test.parquet", [-1, -1], 0)
    expect(tmp_path, ROW, r"test\.parquet, row 0 \(from 0\): label -1: expected a name, or a whole")
    write_parquet(toy / "test.parquet", [0, 2], 0)
    expect(tmp_path, ROW, r"test\.parquet, row 1 \(from 0\): label 2: expected 0 to 1")
    write_parquet(toy / "test.parquet", [0, None], 0)
    expect(tmp_path, ROW, r"row 1 \(from 0\): label None")
    (toy / "test.parquet").write_bytes((toy / "train.parquet").read_bytes()[:-20])
    expect(tmp_path, ROW, r"test\.parquet is not a whole parquet file")
    write_parquet(toy / "test.parquet", [0, 1], 0)
    write_parquet(toy / "more.parquet", [0, 1], 0)
    expect(tmp_path, ROW, r"more\.parquet: neither its name nor its folder's tells a split")
    for file in toy.iterdir():
        file.unlink()
    two = pa.table({"image": [b"x"], "fine": [1], "coarse": [1]})
    pq.write_table(two, toy / "train.parquet")
    expect(
        tmp_path,
        ROW,
        r"train\.parquet has none among image, fine, coarse for labels: expected one, or its name as",
    )
    expect(
        tmp_path,
        replace(ROW, label_column="label"),
        r"train\.parquet has no column 'label', which label_column names: expected one of image, fine",
    )
    for label in ({"names": ["dog", "red_cat"], "_type": "ClassLabel"}, None):
        write_parquet(toy / "train.parquet", [0, 1], 0)
        write_parquet(toy / "test.parquet", [0, 1], 0, label)
        expect(tmp_path, ROW, r"train\.parquet has other columns or names of classes than .*test")
    (toy / "test.parquet").unlink()
    write_parquet(toy / "other/train.parquet", [0, 1], 0)
    expect(tmp_path, ROW, r"toy has parquet files of several data sets \(other/train\.parquet, tr")


def test_parquet_with_two_columns_of_labels(tmp_path: Path) -> None:
    for part, first in (("train", 0), ("test", 9)):
        path = tmp_path / f"toy/{part}.parquet"
        images = [{"bytes": picture((first + i, 0, 99)), "path": None} for i in range(3)]
        coarse = CLASSES | {"names": ["animal", "thing"]}
        made = pa.table({"img": images, "fine_label": [0, 1, 0], "coarse_label": [1, 1, 0]})
        features = {"fine_label": CLASSES, "coarse_label": coarse}
        notes = {"huggingface": json.dumps({"info": {"features": features}})}
        path.parent.mkdir(exist_ok=True)
        pq.write_table(made.replace_schema_metadata(notes), path)
    expect(tmp_path, ROW, r"has columns fine_label, coarse_label for labels: expected one, or its")
    row, root = describe(tmp_path / "toy", "coarse_label")
    task = open_task(row, root)
    assert task.classnames == ("animal", "thing")
    assert numbers(task.split("test")) == {9: 1, 10: 1, 11: 0}
    fine = open_task(replace(ROW, label_column="fine_label"), tmp_path)
    assert fine.classnames == ("red cat", "dog")
    assert remarks([fine.split("train")]) == ["columns that are not used: coarse_label"]


def write_npz(path: Path, **arrays: Any) -> None:
    np.savez(path, **{key: np.asarray(value) for key, value in arrays.items()})


def pixels(first: int, count: int) -> np.ndarray:
    found = np.zeros((count, 4, 5, 3), np.uint8)
    found[..., 0] = np.arange(first, first + count)[:, None, None]
    return found


def test_npz_of_medmnist(tmp_path: Path) -> None:
    write_npz(
        tmp_path / "toy.npz",
        train_images=pixels(0, 6),
        train_labels=np.array([[0], [1], [2]] * 2, np.uint8),
        val_images=pixels(10, 3),
        val_labels=[[0], [1], [2]],
        test_images=pixels(20, 3),
        test_labels=[[2], [1], [0]],
    )
    row, _ = describe(tmp_path / "toy.npz")
    assert (row.kind, row.metric, row.location) == ("npz", "accuracy", "toy.npz")
    task = open_task(NPZ, tmp_path)
    assert task.classnames == ("0", "1", "2")
    assert numbers(task.split("train")) == {i: i % 3 for i in range(6)}
    assert numbers(task.split("test")) == {20: 2, 21: 1, 22: 0}
    said = remarks([task.split("train")])
    assert said[0].startswith("classes have numbers for names ('0', '1', ...)")
    assert said[1] == "3 files passed over: 3 in val, which is not used"
    (tmp_path / "toy.classnames.txt").write_text("a\nb\nc\n")
    assert open_task(NPZ, tmp_path).classnames == ("a", "b", "c")
    assert data_state("toy", "npz", "toy.npz", str(tmp_path)).held
    assert check_tasks([NPZ], str(tmp_path))


def test_npz_grey_and_of_many_labels(tmp_path: Path) -> None:
    deep = np.arange(4 * 9, dtype=np.uint16).reshape(4, 3, 3) * 100
    hot = np.array([[1, 1], [0, 1], [1, 0], [0, 0]])
    write_npz(
        tmp_path / "toy.npz", train_images=deep, train_labels=hot, test_images=deep, test_labels=hot
    )
    row, _ = describe(tmp_path / "toy.npz")
    assert row.metric == "map_11point"
    split = open_task(row, tmp_path).split("train")
    assert split.labels.tolist() == hot.tolist()
    image = dict(split.images([3]))[3]
    assert image.getpixel((2, 2)) == (round(255 * 3500 / 4095),) * 3
    one = np.eye(2, dtype=int)[[0, 1, 0, 1]]
    write_npz(
        tmp_path / "toy.npz", train_images=deep, train_labels=one, test_images=deep, test_labels=one
    )
    assert open_task(NPZ, tmp_path).split("test").labels.tolist() == [0, 1, 0, 1]
    write_npz(tmp_path / "toy.npz", images=pixels(0, 10), labels=[0, 1] * 5)
    assert len(open_task(NPZ, tmp_path).split("test").labels) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [1]}, r"toy\.npz holds x: expected train_images"),
        ({"train_images": pixels(0, 2)}, r"has train_images but no train_labels"),
        (
            {"train_images": pixels(0, 2), "train_labels": [1]},
            r"train_labels \(1,\) and train_images \(2,",
        ),
        ({"train_images": [[1.5]], "train_labels": [1]}, r"train_images holds float64 \(1, 1\): "),
        ({"train_images": pixels(0, 2), "train_labels": [0.5, 1]}, r"train_labels holds float64"),
        (
            {"train_images": pixels(0, 2), "train_labels": [[2, 1], [0, 1]]},
            r"holds 2: expected zeros and",
        ),
        (
            {"train_images": pixels(0, 2), "train_labels": np.array([0, "a"], object)},
            r"cannot be read",
        ),
        (
            {"test_images": pixels(0, 2), "test_labels": [0, 1]},
            r"has test \(2 images\) but no train",
        ),
    ],
)
def test_bad_npz(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "toy.npz", **{k: np.asarray(v) for k, v in arrays.items()})
    expect(tmp_path, NPZ, message)
    (tmp_path / "toy.npz").write_bytes((tmp_path / "toy.npz").read_bytes()[:100])
    expect(tmp_path, NPZ, r"toy\.npz is not a whole \.npz archive")


def pack(folder: Path, to: Path, top: str = "") -> None:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    if to.suffix == ".zip":
        with zipfile.ZipFile(to, "w") as made:
            for file in files:
                made.write(file, top + file.relative_to(folder).as_posix())
    else:
        with tarfile.open(to, "w:gz" if to.suffix != ".tar" else "w") as tar:
            for file in files:
                tar.add(file, top + file.relative_to(folder).as_posix())


@pytest.mark.parametrize("name", ["birds.zip", "birds.tar", "birds.tar.gz", "birds.tgz"])
@pytest.mark.parametrize("top", ["", "the birds/"])
def test_archives(tmp_path: Path, cache: Path, name: str, top: str) -> None:
    source = tmp_path / "source"
    write_images(source / "Train", ["a/0.png", "b/0.png", "__MACOSX/._0.png"])
    write_images(source / "Test", ["a/0.png", "b/0.png"], 3)
    pack(source, tmp_path / name, top)
    row, root = describe(tmp_path / name)
    assert (row.task, row.kind, row.location, root) == ("new_birds", "folder", name, tmp_path)
    task = open_task(row, root)
    assert task.classnames == ("a", "b")
    assert numbers(task.split("test")) == {3: 0, 4: 1}
    (folder,) = (cache / "unpacked").iterdir()
    before = folder.stat().st_mtime_ns
    assert numbers(open_task(row, root).split("train")) == {0: 0, 1: 1}
    assert folder.stat().st_mtime_ns == before
    state = data_state("birds", "folder", name, str(tmp_path))
    pack(tmp_path / "source/Train", tmp_path / name)
    assert data_state("birds", "folder", name, str(tmp_path)).touched != state.touched
    assert len(open_task(row, root).classnames) == 2
    assert len(list((cache / "unpacked").iterdir())) == 2


def test_an_archive_of_a_table_and_one_that_is_divided(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_images(source, [f"{c}/{i}.png" for c in "ab" for i in range(4)])
    pack(source, tmp_path / "birds.zip", "birds/")
    row, root = describe(tmp_path / "birds.zip")
    assert len(open_task(row, root).split("test").labels) == 2
    text = (tmp_path / "birds.zip.split.tsv").read_text()
    assert text.startswith("file\tsplit\na/0.png\t")
    (source / "labels.csv").write_text(
        "file,label\n" + "".join(f"{c}/{i}.png,{c}\n" for c in "ab" for i in range(4))
    )
    pack(source, tmp_path / "table.zip")
    assert describe(tmp_path / "table.zip")[0].kind == "table"


def test_archives_that_are_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = TaskRow("toy", "folder", "bad.zip", "accuracy")

    def refused(row: TaskRow, message: str) -> None:
        expect(tmp_path, row, message)
        assert not list((cache / "unpacked").iterdir())

    def write(*members: tuple[Any, bytes]) -> None:
        with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in members:
                made.writestr(name, data)

    for name in ("../x.png", "/x.png", "a/../../x.png", "..\\x.png"):
        write((name, b"x"))
        refused(row, r"bad\.zip holds .*: expected names below its own folder")
    link = zipfile.ZipInfo("a/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    write((link, b"/etc"))
    refused(row, r"bad\.zip holds 'a/link', a link or device")
    monkeypatch.setattr(archive, "_LEAST", 1000)
    write(("a/0.png", bytes(10**6)))
    refused(row, r"bad\.zip unpacks to more than 100 times its size")
    (tmp_path / "bad.zip").write_bytes(b"PK no archive")
    refused(row, r"bad\.zip cannot be unpacked \(File is not a zip file\)")
    tar = TaskRow("toy", "folder", "bad.tar", "accuracy")
    for kind, target in ((tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "a"), (tarfile.CHRTYPE, "")):
        with tarfile.open(tmp_path / "bad.tar", "w") as made:
            info = tarfile.TarInfo("a/x")
            info.type, info.linkname = kind, target
            made.addfile(info)
        refused(tar, r"bad\.tar holds 'a/x', a link or device")
    with tarfile.open(tmp_path / "bad.tar", "w") as made:
        info = tarfile.TarInfo("../x")
        info.size = 1
        made.addfile(info, io.BytesIO(b"x"))
    refused(tar, r"bad\.tar holds '\.\./x': expected names below")
    assert not (tmp_path / "x.png").exists()
    assert not os.path.lexists(cache / "x")


def test_what_is_no_task(tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_text("")
    with pytest.raises(
        Exception,
        match=r"x\.pdf holds nothing: expected a folder, or a file ending in one of \.npz",
    ):
        describe(tmp_path / "x.pdf")
