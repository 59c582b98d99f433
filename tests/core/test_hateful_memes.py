"""The Hateful Memes folder: jsonl files and images."""

import json
from pathlib import Path

import pytest

from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.open import open_task
from support.task_files import COLOURS, expect, picture

ROW = TaskRow("memes", "hateful_memes", "hateful-memes", "roc_auc")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / ROW.location
    (root / "img").mkdir(parents=True)
    number = 0
    for name, labels in {"train": [0, 1, 1, 0], "dev_seen": [1, 0]}.items():
        lines = []
        for label in labels:
            number += 1
            image = f"img/{number:05}.png"
            (root / image).write_bytes(picture(COLOURS[label]))
            lines.append({"id": number, "img": image, "label": label, "text": "so\u2028what"})
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
        (root / f"{name}.jsonl").write_text(text + "\n", encoding="utf-8")
    return root


def test_memes(tmp_path: Path, folder: Path) -> None:
    task = open_task(ROW, tmp_path)
    assert task.classnames == ("meme", "hatespeech meme")
    assert task.templates == ("a {c}.",)
    assert task.split("train").labels.tolist() == [0, 1, 1, 0]
    test = task.split("test")
    assert test.labels.tolist() == [1, 0]
    assert [image.getpixel((0, 0)) for _, image in test.images([0, 1])] == [COLOURS[1], COLOURS[0]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"img": "img/1.png"}', r"line 2: expected img, a path below .*, and label 0 or 1"),
        ('{"img": "../1.png", "label": 0}', r"train.jsonl, line 2: expected img, a path below"),
        ('{"img": "img/1.png", "label": 2}', r"line 2: expected .*label 0 or 1"),
        ("[]", r"line 2: expected img"),
        ("{", r"train.jsonl, line 2: not valid JSON"),
        (
            '{"img": "img/1.png", "label": 1}',
            r"jsonl names 1 image not there \(.*img/1.png\): expected each",
        ),
    ],
)
def test_bad_lines(tmp_path: Path, folder: Path, line: str, message: str) -> None:
    good = (folder / "train.jsonl").read_text(encoding="utf-8").split("\n")
    (folder / "train.jsonl").write_text("\n".join([good[0], line, *good[1:]]), encoding="utf-8")
    expect(tmp_path, ROW, message)


def test_missing_files(tmp_path: Path, folder: Path) -> None:
    (folder / "dev_seen.jsonl").unlink()
    expect(tmp_path, ROW, r"file .*dev_seen.jsonl is missing: expected an image a line")
    expect(tmp_path / "no", ROW, r"data root .*no is not a folder")
    (folder / "dev_seen.jsonl").write_text("")
    expect(tmp_path, ROW, r"class 'meme' of task memes has no images in split test", "test")


def test_blank_lines_and_the_ends_of_lines_of_other_systems(tmp_path: Path, folder: Path) -> None:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").split("\n")
    text = "\r\n".join([lines[0], "", *lines[1:], "", ""])
    (folder / "train.jsonl").write_bytes(text.encode("utf-8-sig"))
    assert open_task(ROW, tmp_path).split("train").labels.tolist() == [0, 1, 1, 0]
