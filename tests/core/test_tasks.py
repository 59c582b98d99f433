"""Image folders, drawn tasks and decoding: results, and a sentence for all that can be wrong."""

import io
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from zlib import compress, crc32

import numpy as np
import pytest
from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow, read_suite
from mvlpt_core.tasks.decode import Decoding, decode_image, described, notes, to_rgb
from mvlpt_core.tasks.open import find_data_root, open_task
from support.task_files import COLOURS, expect, picture

FOLDER = TaskRow("toy", "folder", "toy", "accuracy")


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
        ("cat\ndog\nAnt\n", r"classnames\.txt, line 2: 'dog' is no class folder or label"),
        ("cat\nAnt\ncat\n", r"classnames\.txt, line 3: class folder 'cat' occurs twice"),
        ("cat\nAnt\n", r"classnames\.txt has no line for class folder 'b_ird'"),
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


def test_names_of_the_suite_stand_for_the_datas(tmp_path: Path, folder: Path) -> None:
    (folder / "classnames.txt").write_text("cat\t\u200b\nAnt\tx\nb_ird\tx\n")
    expect(tmp_path, FOLDER, r"task toy: the name of class 0 \(counted from 0\), .*, says nothing")
    row = replace(FOLDER, names=("cat", "ant", "bird"))
    assert open_task(row, tmp_path).classnames == ("cat", "ant", "bird")
    expect(
        tmp_path, replace(FOLDER, names=("cat", "ant")), r"task toy has 2 names .* and 3 classes"
    )


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\x07", "\u200d\ufeff", "\u00ad"])
def test_names_that_cannot_be_seen(tmp_path: Path, folder: Path, name: str) -> None:
    row = replace(FOLDER, names=("cat", name, "bird"))
    expect(tmp_path, row, r"task toy: the name of class 1 .* says nothing to the text tower")


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
    assert to_rgb(deep, Decoding(grey_bits=16)).getpixel((0, 0)) == (9, 9, 9)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    buffer = io.BytesIO()
    palette.save(buffer, "png", transparency=0)
    image = decode_image(buffer.getvalue(), "x")
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


@pytest.mark.parametrize("suffix", ["png", "tiff", "ppm"])
@pytest.mark.parametrize(
    ("bits", "by"), [(16, 16), (13, 14), (12, 12), (10, 10), (9, 10), (8, 8), (3, 8)]
)
def test_deep_grey_is_scaled_by_the_bits_in_use(suffix: str, bits: int, by: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 300).astype(np.uint16).reshape(15, 20)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, suffix)
    image = decode_image(buffer.getvalue(), "x")
    expected = np.round(255 * (ramp / (2**by - 1)))
    np.testing.assert_array_equal(np.asarray(image)[..., 1], expected)
    flat = bits == 3  # 7 of 255
    assert notes(image) == (f"deep{by}", *["flat"] * flat)
    dark = decode_image(buffer.getvalue(), "x", Decoding(grey_bits=16))
    np.testing.assert_array_equal(np.asarray(dark)[..., 1], np.round(ramp / 257))
    assert notes(dark)[1:] == (("flat",) if bits < 13 else ())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[-4, np.nan, 4]], np.float32), [0, 0, 255]),
        (np.array([[0, 100_000, 200_000]], np.int32), [0, 128, 255]),
        (np.array([[7, 7, 7]], np.float32), [0, 0, 0]),
    ],
)
def test_grey_without_a_range_is_scaled_by_its_values(
    values: np.ndarray, expected: list[int]
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "tiff")
    image = decode_image(buffer.getvalue(), "x")
    assert np.asarray(image)[0, :, 0].tolist() == expected
    assert notes(image)[0] == "deep"


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_deep_colour_of_few_bits_is_told(kind: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (6, 5, channels)).astype(np.uint16)
    if channels in (2, 4):
        values[..., -1] = 65535  # nothing is transparent
    assert notes(decode_image(deep_png(values, kind), "x")) == ("flat",)
    assert notes(decode_image(deep_png(values * 16, kind), "x")) == ()


def test_values_above_the_bits_that_the_suite_says_are_told() -> None:
    image = Image.fromarray(np.array([[0, 4095]], np.uint16))
    assert notes(to_rgb(image, Decoding(grey_bits=11))) == ("deep11", "cut")
    told = described({"deep11": 3, "cut": 1}, Decoding(grey_bits=11))
    assert told == [
        "grey images of 16 bits were scaled: 3 by 11 bits (as the suite says)",
        "1 image with values above 11 bits, which were cut",
    ]


def deep_png(values: np.ndarray, kind: int) -> bytes:
    """A PNG of 16 bits, which PIL does not write in colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_deep_grey_with_a_transparent_value_is_white_there() -> None:
    deep = Image.fromarray(np.array([[0, 2000, 4095]], np.uint16))
    deep.info["transparency"] = 2000
    assert [to_rgb(deep).getpixel((x, 0)) for x in range(3)] == [(v, v, v) for v in (0, 255, 255)]


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp"])
def test_exif_orientation_is_an_option(suffix: str) -> None:
    image, exif = Image.new("RGB", (16, 8), "black"), Image.Exif()
    image.paste("white", (0, 0, 8, 8))
    exif[0x0112] = 6  # to be turned clockwise
    buffer = io.BytesIO()
    image.save(buffer, suffix, exif=exif, quality=95)
    left_alone = decode_image(buffer.getvalue(), "x")
    turned = decode_image(buffer.getvalue(), "x", Decoding(turn=True))
    assert (left_alone.size, turned.size) == ((16, 8), (8, 16))
    white = np.asarray(turned)[..., 0] > 127
    assert white[:8].all()
    assert not white[8:].any()
    assert notes(left_alone) == notes(turned) == ("exif",)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_tag_is_none() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "jpeg", exif=b"Exif\0\0MM\0*garbage")
    assert notes(decode_image(buffer.getvalue(), "x")) == ()


def test_an_image_over_the_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    message = r"image big.png is too large to be decoded safely: expected at most 20 pixels"
    with pytest.raises(InputError, match=message):
        decode_image(picture((1, 2, 3)), "big.png")


def test_formats_that_start_programs_are_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "eps")
    with pytest.raises(InputError, match=r"image x\.jpg does not decode \(unknown format\)"):
        decode_image(buffer.getvalue(), "x.jpg")
    assert decode_image(picture((1, 2, 3)), "png-called.jpg").getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "nothing"),
        (b"<html>404</html>", "HTML or XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer to a file in Git LFS"),
    ],
)
def test_what_is_no_image_says_what_it_is(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=rf"image x\.jpg does not decode \(it holds {what}"):
        decode_image(data, "x.jpg")


def test_opening_folders_imports_no_torch(tmp_path: Path, folder: Path) -> None:
    program = (
        "import sys; from mvlpt_core.contract.suite import TaskRow;"
        "from mvlpt_core.tasks.open import open_task;"
        f"t = open_task(TaskRow('toy', 'folder', 'toy', 'accuracy'), {str(tmp_path)!r});"
        "list(t.split('train').images([0])); assert not {'torch', 'webdataset'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(
    not os.environ.get("MVLPT_DATA_ROOT"),
    reason="MVLPT_DATA_ROOT does not name the folder with the tasks of config/suites/realtasks.tsv",
)
def test_real_tasks() -> None:
    for row in read_suite(Path(__file__).parents[2] / "config" / "suites" / "realtasks.tsv"):
        task = open_task(row)
        for name in ("train", "test"):
            split = task.split(name)
            index, image = next(split.images([len(split.labels) - 1]))
            assert (index, image.mode) == (len(split.labels) - 1, "RGB")
        assert task.multilabel == (row.task == "voc_multilabel")
        assert len(task.templates) > 1
