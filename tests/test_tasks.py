"""Task readers: what they return, and the sentence for every way that data can be wrong."""

import io
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mvlpt_core.errors import InputError
from mvlpt_core.suite import TaskRow, read_suite
from mvlpt_core.tasks import find_data_root, open_task
from mvlpt_core.tasks.base import decode_image, to_rgb

WDS = TaskRow("toy", "wds", "toy", "accuracy")
FOLDER = TaskRow("toy", "folder", "toy", "accuracy")
COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]


def picture(colour: tuple[int, int, int], suffix: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix))
    return buffer.getvalue()


def npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def samples(numbers: range, suffix: str = "png") -> dict[str, bytes]:
    """Sample i has class i % 3 and that class's colour."""
    members = {}
    for i in numbers:
        members[f"s{i:04}.{suffix}"] = picture(COLOURS[i % 3], suffix)
        members[f"s{i:04}.cls"] = str(i % 3).encode()
    return members


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "toy"
    for split in ("train", "test"):
        for i, (name, suffix) in enumerate([("b_ird", "jpg"), ("Ant", "bmp"), ("cat", "PNG")]):
            (root / split / name).mkdir(parents=True)
            for k in range(2):
                data = picture(COLOURS[i], suffix.lower())
                (root / split / name / f"{k}.{suffix}").write_bytes(data)
            (root / split / name / "notes.txt").write_text("no image")
    return root


def expect(tmp_path: Path, row: TaskRow, message: str, split: str = "train") -> None:
    """Opening the task, reading a split and decoding all of it fails with one sentence."""

    def read_all() -> None:
        found = open_task(row, tmp_path).split(split)
        list(found.images(range(len(found.labels))))

    with pytest.raises(InputError, match=message) as caught:
        read_all()
    assert "\n" not in str(caught.value)


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
        (
            "classnames.txt",
            "a\nb\na\n",
            r"classnames\.txt: class name 'a' .* class 0 and of class 2",
        ),
        ("classnames.txt", "a\n\nb\n", r"classnames\.txt: the name of class 1 .* is empty"),
        ("classnames.txt", "a\n", r"classnames\.txt has 1 class names: expected at least two"),
        ("classnames.txt", "a\nb\n", r"label 2 of s0002\.cls in .* is out of range"),
        ("classnames.txt", "a\nb\nc\nd\n", r"class 'd' of task toy has no images in split train"),
        ("zeroshot_classification_templates.txt", "a photo\n", r"'a photo' of task toy has no \{c"),
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


def test_own_templates_win(tmp_path: Path, wds: Path) -> None:
    row = TaskRow("toy", "wds", "toy", "accuracy", ("my {c}",))
    assert open_task(row, tmp_path).templates == ("my {c}",)
    (wds / "zeroshot_classification_templates.txt").unlink()
    assert open_task(WDS, tmp_path).templates == ("a photo of a {c}.",)


def test_folder(tmp_path: Path, folder: Path) -> None:
    task = open_task(FOLDER, tmp_path)
    assert task.classnames == ("Ant", "b ird", "cat")
    assert task.templates == ("a photo of a {c}.",)
    train = task.split("train")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for i, image in train.images([5, 0, 2]):
        want = COLOURS[{0: 1, 2: 0, 5: 2}[i]]
        assert np.abs(np.asarray(image, int) - want).max() < 12
    assert next(train.images([5]))[1].size == (8, 6)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\nb_ird\nAnt\n", ("cat", "b ird", "Ant")),
        ("cat\nb ird\nAnt\n", ("cat", "b ird", "Ant")),
        ("cat\tthe cat\nb_ird\ta_bird\nAnt\tant\n", ("the cat", "a_bird", "ant")),
    ],
)
def test_folder_class_list(tmp_path: Path, folder: Path, text: str, names: tuple[str, ...]) -> None:
    (folder / "classnames.txt").write_text(text)
    (folder / "zeroshot_classification_templates.txt").write_text("{c}!\n")
    task = open_task(FOLDER, tmp_path)
    assert (task.classnames, task.templates) == (names, ("{c}!",))
    first = next(task.split("test").images([0]))[1]
    assert first.getpixel((0, 0)) == COLOURS[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\nAnt\n", r"classnames\.txt, line 2: 'dog' is not a class folder"),
        ("cat\nAnt\ncat\n", r"classnames\.txt, line 3: class folder 'cat' occurs twice"),
        ("cat\nAnt\n", r"classnames\.txt has no line for class folder 'b_ird'"),
        ("cat\tx\nAnt\tx\nb_ird\ty\n", r"classnames\.txt: class name 'x' is that of class 0"),
    ],
)
def test_bad_folder_class_list(tmp_path: Path, folder: Path, text: str, message: str) -> None:
    (folder / "classnames.txt").write_text(text)
    expect(tmp_path, FOLDER, message)


def test_bad_folder(tmp_path: Path, folder: Path) -> None:
    expect(tmp_path, TaskRow("x", "folder", "none", "accuracy"), r"folder .*none does not exist")
    (tmp_path / "none").mkdir()
    expect(tmp_path, TaskRow("x", "folder", "none", "accuracy"), r"folder .*none is empty")
    expect(tmp_path, TaskRow("x", "wds", "none", "accuracy"), r"folder .*none is empty")
    (folder / "test" / "dog").mkdir()
    expect(tmp_path, FOLDER, r"class folder .*test/dog has no counterpart in .*train")
    (folder / "train" / "dog").mkdir()
    expect(tmp_path, FOLDER, r"class folder .*train/dog has no images: expected .*\.jpg, \.jpeg")
    (folder / "train" / "dog" / "1.jpg").write_bytes(picture(COLOURS[0], "jpg")[:200])
    expect(tmp_path, FOLDER, r"image .*train/dog/1\.jpg does not decode")
    expect(tmp_path, FOLDER, r"class folder .*test/dog has no images", "test")
    two = TaskRow("toy", "folder", "toy", "roc_auc")
    expect(tmp_path, two, r"metric 'roc_auc' of task toy needs exactly 2 classes, but there are 4")
    expect(tmp_path, TaskRow("toy", "folder", "toy", "map_11point"), r"needs multi-label data")


def test_folder_names_that_become_equal(tmp_path: Path, folder: Path) -> None:
    for split in ("train", "test"):
        (folder / split / "b ird").mkdir()
    expect(tmp_path, FOLDER, r"class name 'b ird' is that of class 1 and of class 2")


def test_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MVLPT_DATA_ROOT", raising=False)
    with pytest.raises(InputError, match=r"task toy .* data_root .* MVLPT_DATA_ROOT"):
        find_data_root(None, "toy")
    with pytest.raises(InputError, match=r"nowhere is not a folder: .*data_root.*MVLPT_DATA_ROOT"):
        find_data_root(tmp_path / "nowhere", "toy")
    monkeypatch.setenv("MVLPT_DATA_ROOT", str(tmp_path))
    assert find_data_root("", "toy") == tmp_path
    assert find_data_root(tmp_path.parent, "toy") == tmp_path.parent  # the setting wins


def test_testbed_dispatch(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)

    def draw_split(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        assert (name, split) == ("drawn", "train")
        return pixels, np.array([1, 0, 1])

    drawn = SimpleNamespace(classnames=["a", "b"], templates=["on a {c}"])
    stand_in = SimpleNamespace(TASKS={"drawn": drawn}, draw_split=draw_split)
    monkeypatch.setitem(sys.modules, "mvlpt_core.testbed", stand_in)
    monkeypatch.setattr("mvlpt_core.testbed", stand_in, raising=False)
    task = open_task(TaskRow("mine", "testbed", "drawn", "accuracy"))
    assert (task.classnames, task.templates) == (("a", "b"), ("on a {c}",))
    train = task.split("train")
    assert train.labels.tolist() == [1, 0, 1]
    for i, image in train.images([2, 0]):
        np.testing.assert_array_equal(np.asarray(image), pixels[i])
    with pytest.raises(InputError, match=r"location 'y' of task x is not .* expected one of drawn"):
        open_task(TaskRow("x", "testbed", "y", "accuracy"))


def test_images_become_rgb() -> None:
    assert to_rgb(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)
    assert to_rgb(Image.new("1", (1, 1), 1)).getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(Image.new("CMYK", (1, 1), (255, 0, 0, 0))).getpixel((0, 0)) == (0, 255, 255)
    assert to_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    half = to_rgb(Image.new("LA", (1, 1), (0, 128))).getpixel((0, 0))
    assert isinstance(half, tuple)
    assert half[0] == pytest.approx(127, abs=1)
    deep = Image.fromarray(np.full((1, 1), 257 * 9, np.uint16))
    assert to_rgb(deep).getpixel((0, 0)) == (9, 9, 9)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    buffer = io.BytesIO()
    palette.save(buffer, "png", transparency=0)
    image = decode_image(buffer.getvalue(), "x")
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_formats_that_start_programs_are_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "eps")
    with pytest.raises(InputError, match=r"image x\.jpg does not decode \(unknown format\)"):
        decode_image(buffer.getvalue(), "x.jpg")
    assert decode_image(picture((1, 2, 3)), "png-called.jpg").getpixel((0, 0)) == (1, 2, 3)


def test_opening_folders_imports_no_torch(tmp_path: Path, folder: Path) -> None:
    program = (
        "import sys; from mvlpt_core.prepare import TaskRow, open_task;"
        f"t = open_task(TaskRow('toy', 'folder', 'toy', 'accuracy'), {str(tmp_path)!r});"
        "list(t.split('train').images([0])); assert not {'torch', 'webdataset'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=env, check=True)


@pytest.mark.skipif(
    not os.environ.get("MVLPT_DATA_ROOT"),
    reason="MVLPT_DATA_ROOT does not name the folder with the tasks of config/suites/realtasks.tsv",
)
def test_real_tasks() -> None:
    for row in read_suite(Path(__file__).parent.parent / "config" / "suites" / "realtasks.tsv"):
        task = open_task(row)
        for name in ("train", "test"):
            split = task.split(name)
            index, image = next(split.images([len(split.labels) - 1]))
            assert (index, image.mode) == (len(split.labels) - 1, "RGB")
        assert task.multilabel == (row.task == "voc_multilabel")
        assert len(task.templates) > 1
