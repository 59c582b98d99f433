"""WebDataset folders: what is read, and the sentence for every way that they can be wrong."""

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.base import remarks
from mvlpt_core.tasks.open import open_task
from support.task_files import COLOURS, expect, npy, picture, samples, write_tar

WDS = TaskRow("toy", "wds", "toy", "accuracy")


@pytest.fixture
def wds(tmp_path: Path) -> Path:
    root = tmp_path / "toy"
    write_tar(root / "train" / "0.tar", samples(range(4)))
    write_tar(root / "train" / "1.tar", samples(range(4, 7), "webp"))
    write_tar(root / "test" / "0.tar", samples(range(3), "jpg"))
    (root / "train" / "nshards.txt").write_text("2\n")
    (root / "test" / "nshards.txt").write_text("1")
    (root / "classnames.txt").write_text("red\ngreen thing\nblue\n\n")
    (root / "zeroshot_classification_templates.txt").write_text("a {c}.\nthe {c}.\n")
    return root


def test_webdataset(tmp_path: Path, wds: Path) -> None:
    task = open_task(WDS, tmp_path)
    assert task.classnames == ("red", "green thing", "blue")
    assert task.templates == ("a {c}.", "the {c}.")
    assert not task.multilabel
    train = task.split("train")
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert train.labels.dtype == np.int64
    decoded = dict(train.images([6, 2, 3]))  # two shards, not in order
    assert set(decoded) == {2, 3, 6}
    for i, image in decoded.items():
        assert image.mode == "RGB"
        assert np.abs(np.asarray(image, int) - COLOURS[i % 3]).max() < 12
    assert task.split("test").labels.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="split 'val' of task toy is unknown"):
        task.split("val")


def test_webdataset_decodes_only_what_is_asked_for(tmp_path: Path, wds: Path) -> None:
    members = {**samples(range(4)), "s0001.png": b"broken"}
    write_tar(wds / "train" / "0.tar", members)
    train = open_task(WDS, tmp_path).split("train")
    assert [i for i, _ in train.images([0, 2])] == [0, 2]
    expect(tmp_path, WDS, r"image s0001\.png in .*train/0\.tar does not decode")


def test_webdataset_members_may_be_sorted_by_kind(tmp_path: Path, wds: Path) -> None:
    members = samples(range(4))
    by_kind = dict(sorted(members.items(), key=lambda item: item[0][-3:]))
    write_tar(wds / "train" / "0.tar", by_kind)
    train = open_task(WDS, tmp_path).split("train")
    assert train.labels.tolist()[:4] == [0, 1, 2, 0]


def test_webdataset_multilabel(tmp_path: Path, wds: Path) -> None:
    (wds / "dataset_type.txt").write_text("multilabel\n")
    vectors = [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    for split in ("train", "test"):
        (wds / split / "nshards.txt").write_text("1")
        members = {}
        for i, vector in enumerate(vectors):
            members[f"{i}.jpg"] = picture(COLOURS[i], "jpg")
            members[f"{i}.cls"] = b"0"
            members[f"{i}.npy"] = npy(np.array(vector, np.float32))
        write_tar(wds / split / "0.tar", members)
    row = TaskRow("toy", "wds", "toy", "map_11point")
    train = open_task(row, tmp_path).split("train")
    assert train.labels.tolist() == vectors
    assert train.labels.dtype == np.uint8
    expect(tmp_path, WDS, r"metric 'accuracy' of task toy does not fit multi-label data")

    for data, message in [
        (npy([1, 0]), r"label 0\.npy in .*0\.tar has shape \(2,\): expected \(3,\)"),
        (npy([1, 0, 2]), r"label 0\.npy in .* not a multi-hot vector"),
        (npy(np.array([{}, 1, 0], object)), r"label 0\.npy in .* not a plain \.npy array"),
        (pickle.dumps([1, 0, 1]), r"label 0\.npy in .* not a plain \.npy array"),
        (b"", r"label 0\.npy in .* not a plain \.npy array"),
    ]:
        write_tar(wds / "train" / "0.tar", {**members, "0.npy": data})
        expect(tmp_path, row, message)
    write_tar(wds / "train" / "0.tar", {**members, "1.npy": npy([0, 0, 0])})
    expect(tmp_path, row, r"class 'green thing' of task toy has no images in split train")


@dataclass
class Bomb:
    """Unpickling this makes a folder."""

    path: str

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_webdataset_never_unpickles(tmp_path: Path, wds: Path) -> None:
    members = samples(range(4))
    for i, suffix in enumerate(["pyd", "pickle", "pth", "pkl"]):
        members[f"s000{i}.{suffix}"] = pickle.dumps(Bomb(str(tmp_path / "boom")))
    write_tar(wds / "train" / "0.tar", members)
    train = open_task(WDS, tmp_path).split("train")
    assert len(list(train.images(range(7)))) == 7
    assert not (tmp_path / "boom").exists()


def test_webdataset_leaves_no_files(tmp_path: Path, wds: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    list(open_task(WDS, tmp_path).split("train").images(range(7)))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("cut", [100, 600, 512 * 4, 512 * 16, -20])
def test_truncated_tar(tmp_path: Path, wds: Path, cut: int) -> None:
    shard = wds / "train" / "0.tar"
    data = shard.read_bytes()
    end = data.rstrip(b"\0")
    shard.write_bytes(data[:cut] if cut > 0 else end[:cut])
    expect(tmp_path, WDS, r"file .*train/0\.tar is not a whole tar archive")


def test_damaged_header_is_not_the_end(tmp_path: Path, wds: Path) -> None:
    shard = wds / "train" / "0.tar"
    data = bytearray(shard.read_bytes())
    at = data.index(b"s0002.png")
    data[at + 100 : at + 160] = b"\xff" * 60
    shard.write_bytes(data)
    expect(tmp_path, WDS, r"file .*train/0\.tar is not a whole tar archive: no valid header")


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("s0000.cls", b"3", r"label 3 of s0000\.cls in .*0\.tar is out of range: expected 0 to 2"),
        ("s0000.cls", b"-1", r"label -1 of s0000\.cls in .* is out of range"),
        ("s0000.cls", b"red", r"label 'red' of s0000\.cls in .* is not a whole number"),
        ("s0000.jpg", b"", r"sample s0000 in .*0\.tar has both s0000\.png and s0000\.jpg"),
        ("s0009.cls", b"0", r"sample s0009 in .*0\.tar has no image: expected .* jpg, jpeg"),
        ("s0009.png", b"", r"sample s0009 in .*0\.tar has no label: expected .* cls"),
        ("s0000.png", b"GIF89a", r"image s0000\.png in .*0\.tar does not decode"),
        ("s0000.png", picture((1, 2, 3))[:45], r"image s0000\.png in .*0\.tar does not decode"),
    ],
)
def test_bad_sample(tmp_path: Path, wds: Path, member: str, data: bytes, message: str) -> None:
    write_tar(wds / "train" / "0.tar", {**samples(range(4)), member: data})
    expect(tmp_path, WDS, message)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("classnames.txt", None, r"file .*toy/classnames\.txt is missing: expected one class"),
        ("classnames.txt", "a\n\nb\n", r"task toy: the name of class 1 .* says nothing"),
        ("classnames.txt", "a\n", r"classnames\.txt has 1 class names: expected at least two"),
        ("classnames.txt", "a\nb\n", r"label 2 of s0002\.cls in .* is out of range"),
        ("classnames.txt", "a\nb\nc\nd\n", r"class 'd' of task toy has no images in split train"),
        (
            "zeroshot_classification_templates.txt",
            "a photo\n",
            r"'a photo' of task toy: expected text",
        ),
        ("dataset_type.txt", "retrieval", r"dataset_type\.txt says 'retrieval': expected"),
        ("train/nshards.txt", None, r"file .*train/nshards\.txt is missing"),
        ("train/nshards.txt", "two", r"nshards\.txt says 'two': expected a number"),
        ("train/nshards.txt", "3", r"file .*train/2\.tar is missing: .*nshards\.txt says 3"),
    ],
)
def test_bad_webdataset_folder(
    tmp_path: Path, wds: Path, file: str, text: str | None, message: str
) -> None:
    if text is None:
        (wds / file).unlink()
    else:
        (wds / file).write_text(text)
    expect(tmp_path, WDS, message)


def test_webdataset_without_samples(tmp_path: Path, wds: Path) -> None:
    write_tar(wds / "test" / "0.tar", {"readme.txt": b"nothing"})
    expect(tmp_path, WDS, r"the tar files of .*test hold no samples", "test")


def test_templates_in_a_published_form(tmp_path: Path, wds: Path) -> None:
    file = wds / "zeroshot_classification_templates.txt"
    file.write_text("lambda c: f'a bad photo of a {c}.',\nlambda c: f'a {c}.',\n")
    assert open_task(WDS, tmp_path).templates == ("a bad photo of a {c}.", "a {c}.")
    file.write_text('["a {class}", "the {class}"]')
    assert open_task(WDS, tmp_path).templates == ("a {c}", "the {c}")


def test_own_templates_win(tmp_path: Path, wds: Path) -> None:
    row = TaskRow("toy", "wds", "toy", "accuracy", ("my {c}",))
    assert open_task(row, tmp_path).templates == ("my {c}",)
    (wds / "zeroshot_classification_templates.txt").unlink()
    assert open_task(WDS, tmp_path).templates == ("a photo of a {c}.",)


def test_keys_with_a_dot_are_samples(tmp_path: Path, wds: Path) -> None:
    plain = samples(range(4))
    members = {name.replace("s0003", "s0003.v2"): data for name, data in plain.items()}
    further = {"s0000.mask.png": b"", "s0001.json": b"{}", "__meta__/x": b"", "s0002.cls.bak": b""}
    write_tar(wds / "train" / "0.tar", members | further)
    (wds / "train" / "7.tar").write_bytes(b"")
    (wds / "val").mkdir()
    (wds / "val" / "0.tar").write_bytes(b"")
    train = open_task(WDS, tmp_path).split("train")
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    decoded = dict(train.images([3]))
    assert np.abs(np.asarray(decoded[3], int) - COLOURS[0]).max() < 12
    assert remarks([train]) == [
        "6 files passed over: 2 .tar, 1 .bak in tar files, 1 .json in tar files, 1 hidden or of the system, "
        "1 in tar files, beside a sample's own image and label"
    ]
    write_tar(wds / "train" / "0.tar", plain | {"s9.v2.jpg": b""})
    expect(
        tmp_path, WDS, r"sample s9 in .*0\.tar has s9\.v2\.jpg without its other half: expected an"
    )
    write_tar(wds / "train" / "0.tar", plain | {"s9.v2.jpg": b"", "s9.cls": b"0"})
    expect(tmp_path, WDS, r"sample s9 in .*0\.tar has s9\.v2\.jpg without its other half")
