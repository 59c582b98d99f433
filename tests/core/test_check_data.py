"""The check of tasks' data: what it counts, finds wrong, notes, remembers; on several processes too."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mvlpt.cli import main
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks import verify
from mvlpt_core.tasks.prepare import prepare_sample, prepare_test
from mvlpt_core.tasks.verify import Found, check_data, check_prepared
from support.task_files import picture, write_coop, write_tar

ROW = TaskRow("birds", "folder", "birds", "accuracy", classes=2, train=8, test=6)
SUITE = (
    "task\tkind\tlocation\tmetric\tclasses\ttrain\ttest\nbirds\tfolder\tbirds\taccuracy\t2\t8\t6\n"
)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Four training and three test images of each of two classes, each of a colour of its own."""
    number = 0
    for split, count in (("train", 4), ("test", 3)):
        for name in ("blue_bird", "red_bird"):
            folder = tmp_path / "birds" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                number += 9
                (folder / f"{i}.png").write_bytes(picture((number, 0, 255 - number)))
    return tmp_path / "birds"


def check(root: Path, row: TaskRow = ROW, cache: Path | None = None, workers: int = 1) -> Found:
    return check_data([row], str(root), cache, workers)[0]


def test_sound_data(tmp_path: Path, birds: Path) -> None:
    found = check(tmp_path)
    assert (found.classes, found.train, found.test) == (2, 8, 6)
    assert (found.repeated, found.shared) == (0, 0)
    assert not found.wrong
    assert not found.notes
    assert len(found.digest) == 32


def test_the_digest_is_that_of_pixels_labels_and_names(tmp_path: Path, birds: Path) -> None:
    before = check(tmp_path).digest
    file = birds / "test/red_bird/0.png"
    bmp = file.with_suffix(".bmp")
    Image.open(file).save(bmp)
    file.unlink()
    assert check(tmp_path).digest == before
    bmp.write_bytes(picture((0, 1, 0)))
    changed = check(tmp_path).digest
    assert changed != before
    (birds / "classnames.txt").write_text("blue_bird\tblue jay\nred_bird\n")
    assert len({before, changed, check(tmp_path).digest}) == 3


def test_counts_are_compared_with_the_suite(tmp_path: Path, birds: Path) -> None:
    row = TaskRow("birds", "folder", "birds", "accuracy", classes=3, train=9, test=6)
    found = check(tmp_path, row)
    assert found.wrong == ["2 classes: expected 3", "8 images in split train: expected 9"]
    row = TaskRow("birds", "folder", "birds", "accuracy", train=9, note="one was lost")
    found = check(tmp_path, row)
    assert not found.wrong
    assert found.notes == ["one was lost", "8 images in split train: expected 9"]


def test_images_that_repeat(tmp_path: Path, birds: Path) -> None:
    blue, red = birds / "train/blue_bird", birds / "train/red_bird"
    (blue / "1.png").write_bytes((blue / "0.png").read_bytes())
    (red / "1.png").write_bytes((blue / "0.png").read_bytes())
    found = check(tmp_path)
    assert not found.wrong
    assert found.repeated == 2
    assert found.notes == [
        "2 images of split train repeat another (1.png is 0.png), 1 of them with another label"
    ]
    (birds / "test/red_bird/2.png").write_bytes((red / "3.png").read_bytes())
    found = check(tmp_path)
    assert found.shared == 1
    assert found.wrong == [
        "1 image of split test in split train too (2.png is 3.png): expected splits without a common "
        "image"
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_broken_image_is_told_of(
    tmp_path: Path, birds: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PART", 2)
    for i in range(4):
        (birds / f"train/red_bird/{i}.png").write_bytes(b"no image")
    found = check(tmp_path, workers=workers)
    assert len(found.wrong) == 4
    assert all("does not decode (unknown format)" in line for line in found.wrong[:3])
    assert found.wrong[3] == "1 image more of split train that do not decode"
    assert (found.train, found.repeated) == (8, 0)


def test_what_cannot_be_opened_is_told_of_each_task(tmp_path: Path, birds: Path) -> None:
    gone = TaskRow("gone", "wds", "gone", "accuracy")
    for path in (birds / "test/red_bird").iterdir():
        path.unlink()
    first, second = check_data([gone, ROW], str(tmp_path), None, 1)
    assert "does not exist" in first.wrong[0]
    assert (first.classes, first.train, first.repeated, first.digest) == (None, None, None, "")
    assert (second.train, second.test, second.shared) == (8, None, None)
    assert "has no images: expected files ending in" in second.wrong[0]


def test_repeated_class_names_are_told(tmp_path: Path, birds: Path) -> None:
    (birds / "classnames.txt").write_text("blue_bird\tBird\nred_bird\tbird\n")
    found = check(tmp_path)
    assert not found.wrong
    assert found.notes == [
        "classes: the text tower reads the same for classes 'Bird' (0) and 'bird' (1) (numbers from 0), "
        "and can never tell them apart: the suite's column names gives them others"
    ]
    (birds / "classnames.txt").write_text("blue_bird\t&nbsp;\nred_bird\tbird\n")
    assert (
        "the name of class 0 (counted from 0), '&nbsp;', says nothing" in check(tmp_path).wrong[0]
    )


def turned_and_deep(folder: Path) -> None:
    """An image whose EXIF tag says that it stands on its side, and grey of 12, 16 and few of 16 bits."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4), "red").save(folder / "0.png", exif=exif)
    for number, values in enumerate(([0, 4095], [0, 60000], [30000, 33000]), 1):
        Image.fromarray(np.array([values] * 2, np.uint16)).save(folder / f"{number}.png")


def test_what_was_met_in_images_is_told_and_remembered(tmp_path: Path, birds: Path) -> None:
    turned_and_deep(birds / "train/red_bird")
    notes = [
        "split train: 1 image with an EXIF orientation, left alone (orientation: exif turns them)",
        "split train: grey images of 16 bits were scaled: 1 by 12 bits, 2 by 16 bits (the fewest that "
        "hold their values; grey_bits in the suite scales all alike)",
        "split train: 1 image of 16 bits or more within an eighth of the range from black to white (3.png)",
    ]
    assert check(tmp_path).notes == notes
    cache = tmp_path / "seen"
    assert check(tmp_path, cache=cache).notes == notes
    assert check(tmp_path, cache=cache).notes == notes  # from the memory
    other = replace(ROW, orientation="exif", grey_bits=16)
    found = check(tmp_path, other, cache=cache)
    assert found.notes[0].endswith("with an EXIF orientation, turned")
    assert "2 by 16" not in found.notes[1]
    assert found.digest not in (check(tmp_path, cache=cache).digest, "")


def test_tar_files_in_parts_and_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PART", 3)
    root = tmp_path / "toy"
    for split, first in (("train", 0), ("test", 100)):
        for shard in range(2):
            members = {}
            for i in range(5):
                members[f"{i}.png"] = picture((first + shard * 9 + i, 9, 9))
                members[f"{i}.cls"] = str(i % 2).encode()
            if split == "test" and shard == 1:
                members["3.png"] = b"no image"
            write_tar(root / split / f"{shard}.tar", members)
        (root / split / "nshards.txt").write_text("2")
    (root / "classnames.txt").write_text("a\nb\n")
    row = TaskRow("toy", "wds", "toy", "accuracy")
    alone, together = (check(tmp_path, row, workers=n) for n in (1, 3))
    assert alone.digest == together.digest
    for split in ("train", "test"):
        np.testing.assert_array_equal(alone.hashes[split], together.hashes[split])
    assert len(alone.wrong) == 1
    assert "image 3.png in" in alone.wrong[0]
    assert len({value.tobytes() for value in together.hashes["train"]}) == 10


def test_coop_splits_are_checked(tmp_path: Path) -> None:
    write_coop(tmp_path / "pets")
    found = check(tmp_path, TaskRow("pets", "coop", "pets", "accuracy"))
    # All images of a colour are the same there.
    assert (found.repeated, found.shared) == (3, 3)


def test_what_was_decoded_is_remembered(
    tmp_path: Path, birds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = verify.hash_images

    def counted(read: Any, places: Any, decoding: Any) -> Any:
        decoded.append(len(places))
        return real(read, places, decoding)

    monkeypatch.setattr(verify, "hash_images", counted)
    cache = tmp_path / "new" / "seen.cache"
    (birds / "train/red_bird/0.png").write_bytes(b"no image")
    first = check(tmp_path, cache=cache)
    again = check(tmp_path, cache=cache)
    assert sum(decoded) == 14 + 1  # the broken one is tried again
    assert (again.digest, again.wrong) == (first.digest, first.wrong)
    (birds / "train/red_bird/0.png").write_bytes(picture((7, 7, 7)))
    file = birds / "train/red_bird/1.png"
    file.write_bytes(picture((8, 8, 8)))  # as long as it was
    os.utime(file, ns=(1, 1))
    last = check(tmp_path, cache=cache)
    assert sum(decoded) == 14 + 1 + 2
    assert last.digest == check(tmp_path).digest


def test_an_interrupted_check_goes_on(
    tmp_path: Path, birds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PART", 2)
    real, calls = verify.hash_images, []

    def interrupted(read: Any, places: Any, decoding: Any) -> Any:
        calls.append(len(places))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(read, places, decoding)

    monkeypatch.setattr(verify, "hash_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, cache=tmp_path / "seen")
    remembered = sqlite3.connect(tmp_path / "seen").execute("select count(*) from decoded")
    assert remembered.fetchone() == (8,)
    assert not check(tmp_path, cache=tmp_path / "seen").wrong
    assert sum(calls[6:]) == 6


def test_a_cache_that_is_none(tmp_path: Path, birds: Path) -> None:
    (tmp_path / "text").write_text("some text, longer than a header of a database, and no database")
    with pytest.raises(
        InputError, match=r"cache .*text cannot be used .*expected one of an earlier"
    ):
        check(tmp_path, cache=tmp_path / "text")
    with pytest.raises(InputError, match=r"cache .* cannot be used"):
        check(tmp_path, cache=tmp_path)


def prepare(root: Path, study: Path) -> None:
    at = Layout(str(study))
    preprocess = {"size": 4, "interpolation": "bicubic", "resize_mode": "squash"}
    prepare_test(ROW, root, preprocess, max_test=4, out=at.test("birds")[0])
    place = (ROW.task, ROW.kind, ROW.location, root, preprocess)
    how: dict[str, Any] = {"shots": 2, "seed": 1, "val_share": 0.5, "short_classes": "use_all"}
    prepare_sample(*place, **how, out=at.sample("birds", 2, 1)[0])


def test_exchanged_images_of_equal_size_are_found(tmp_path: Path, birds: Path) -> None:
    prepare(tmp_path, tmp_path / "study")
    at = Layout(str(tmp_path / "study"))
    files = [Path(at.test("birds")[0]), Path(at.sample("birds", 2, 1)[0])]
    found = check(tmp_path)
    check_prepared(found, files)
    assert not found.wrong
    for path in birds.glob("test/*/*.png"):
        path.write_bytes(picture((path.stat().st_size, int(path.stem), len(path.parent.name))))
    found = check(tmp_path)
    check_prepared(found, files)
    assert len(found.wrong) == 1
    assert "was made from 4 images that split test does not hold any more" in found.wrong[0]
    found = check(tmp_path)
    check_prepared(found, [tmp_path / "none"])
    assert found.notes == ["the study has no prepared images of this task"]
    files[0].write_bytes(b"")
    check_prepared(found, files)
    assert "not a task file of this project" in found.wrong[0]


def test_the_command(
    tmp_path: Path, birds: Path, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    suite, out = tmp_path / "suite.tsv", tmp_path / "out" / "table.csv"
    suite.write_text(SUITE)
    asked = ["check", str(suite), "--data-root", str(tmp_path), "--workers", "1"]
    assert main([*asked, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "birds folder       2     8    6        0      0" in shown
    assert "1 task: 0 wrong, 0 notes" in shown
    # Chance, and the class with the fewest images to tune on.
    assert "0      0   50.0 blue bird (4)" in shown
    assert "birds: a|photo|of|a|blue|bird|., a|photo|of|a|red|bird|.\n" in shown
    assert out.read_text().splitlines()[1].startswith("birds,folder,2,8,6,0,0,")
    assert out.with_suffix(".cache").is_file()

    study = tmp_path / "study"
    assert main([*asked, "--study", str(study)]) == 2
    assert "expected the folder of a finished study" in capsys.readouterr().err
    prepare(tmp_path, study)
    config = (root / "tests/workflow/config/tiny.yaml").read_text()
    (study / "config.yaml").write_text(config)
    assert main([*asked, "--study", str(study)]) == 0
    (birds / "test/red_bird/0.png").unlink()
    capsys.readouterr()
    assert main([*asked, "--study", str(study)]) == 1
    shown = capsys.readouterr().out
    assert "wrong:\n  birds: 5 images in split test: expected 6\n" in shown

    suite.write_text(
        SUITE.replace("2\t8\t6", "2\t8\t6\tme/birds").replace("test\n", "test\trepo\n")
    )
    asked[3] = str(tmp_path / "out")
    assert main(asked) == 1
    shown = capsys.readouterr().out
    assert f"from the hub: mvlpt fetch {suite} --task birds" in shown
    assert "birds folder       -     -    -" in shown


def test_a_task_of_ones_own_and_its_sheet(
    tmp_path: Path, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (birds / "train/red_bird/0.png").write_bytes(b"no image")
    (birds / "train/red_bird/notes.md").write_text("")
    image = Image.new("RGB", (400, 300), (250, 0, 0))
    image.paste((0, 0, 250), (40, 0, 360, 300))  # what a centre cut leaves
    for i in range(4):
        image.save(birds / f"train/blue_bird/{i}.png")
    sheet = tmp_path / "sheet.png"
    asked = ["check", str(birds), "--workers", "1", "--sheet"]
    assert main([*asked, str(sheet)]) == 1
    shown = capsys.readouterr().out
    assert "new_birds folder       2     8    6        3      0   50.0 blue bird (4)" in shown
    assert "new_birds: 1 file passed over: 1 .md" in shown
    assert "image " in shown
    assert "does not decode" in shown
    made = np.asarray(Image.open(sheet))
    assert made.shape == (2 * (224 + 24), 8 * (224 + 4) + 4, 3)
    assert (made[24 : 24 + 224, 4 : 4 + 224] == (0, 0, 250)).all()
    assert (made[24 : 24 + 224, 4 + 4 * 228 :] == 255).all()  # four images
    assert (made[-100, 4 + 3 * 228 :] == 255).all()  # three: one does not decode
    assert main([*asked, "sheet.jpg"]) == 2
    assert "--sheet sheet.jpg: expected a name that ends in .png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["testbed", "--task", "birds"],
            "--task birds: testbed has no such task: expected object_go",
        ),
        (
            ["elevater", "--data-root", "/gone"],
            "data root /gone is not a folder: expected the setti",
        ),
        (["testbed", "--out", "table.txt"], "--out table.txt: expected a name that ends in .csv"),
        (
            ["nothing"],
            "nothing: no such file: expected a configuration in YAML, a suite or a task's data, or one of",
        ),
    ],
)
def test_bad_requests(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_drawn_tasks_are_checked_too(capsys: pytest.CaptureFixture[str]) -> None:
    task = ["--task", "dot_rosy", "bar_icy", "--workers", "1"]
    assert main(["check", "testbed", *task]) == 0
    assert "2 tasks: 0 wrong, 0 notes" in capsys.readouterr().out
