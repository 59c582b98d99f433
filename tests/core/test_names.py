"""Class names as the text tower reads them: twins, names that say nothing, names that do not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mvlpt_core.backbone.tokens import tokenizer
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.check import check_tasks
from mvlpt_core.tasks.names import Room, check_names
from support.task_files import npy, picture, samples, write_birds, write_tar

ROOM = Room(77, 16, "methods.text.n_ctx")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("missile", "missile"),
        ("Boxer", "boxer"),
        ("caf\u00e9", "cafe\u0301"),
        ("4", "\uff14"),
        ("fish", "\ufb01sh"),
        ("a&b", "a&amp;b"),
        ("route 66", "route 6 6"),
        ("a  b", "a b"),
        ("a-b", "a - b"),
        ("don't", "don\u2019t"),
    ],
)
def test_twins_are_told_and_not_refused(one: str, other: str) -> None:
    (told,) = check_names(["dog", one, other], "task x", ROOM)
    assert f"classes {one!r} (1) and {other!r} (2) (numbers from 0), and can never" in told
    assert tokenizer()(one) == tokenizer()(other)


def test_names_that_differ_are_no_twins() -> None:
    assert check_names(["seal", "sea lion", "tea-pot", "teapot", "AB"], "x", ROOM) == []
    assert check_names(["\u00fcber", "uber", "\u732b", "\u72ac"], "x", ROOM) == []
    # With punctuation left out, as some models do, they are.
    plain = Room(77, 16, "n_ctx", "canonicalize")
    assert "'tea-pot' (0) and 'teapot' (1)" in check_names(["tea-pot", "teapot"], "x", plain)[0]


def test_many_twins_are_counted() -> None:
    names = [name for i in range(5) for name in (f"c{chr(97 + i)}", f"C{chr(97 + i)}")]
    (told,) = check_names(names, "x", ROOM)
    assert "'ca' (0) and 'Ca' (1); 'cb' (2) and 'Cb' (3); 'cc' (4) and 'Cc' (5) and 2 more" in told


@pytest.mark.parametrize("name", ["&nbsp;", "\x1b[0m\x1b[1m"])
def test_a_name_that_becomes_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"task x: the name of class 1 .* says nothing"):
        check_names(["dog", name], "task x", ROOM)


def test_context_vectors_that_leave_no_room() -> None:
    room = Room(77, 74, "methods.text.n_ctx")
    with pytest.raises(
        InputError, match=r"methods\.text\.n_ctx is 74: expected at most 73, for a text"
    ):
        check_names(["dog", "cat"], "x", room)
    assert check_names(["dog", "cat"], "x", Room(77, 73, "n_ctx")) == []


def test_a_name_longer_than_the_text_tower() -> None:
    long = " ".join(["word"] * 82)
    message = (
        r"task x: class name 'word .*' has 82 tokens, and the text tower has room for 58 beside 16 context "
        r"vectors: expected a shorter name .* or a smaller methods.text.n_ctx"
    )
    with pytest.raises(InputError, match=message):
        check_names(["dog", long], "task x", ROOM)
    assert check_names(["dog", " ".join(["word"] * 58)], "x", ROOM) == []
    assert check_names(["dog", long], "x", Room()) == []  # how long the tower is, is not known
    assert check_names(["dog", long], "x", Room(77)) == []  # no context vectors: the text is cut


def test_plain_names_need_no_tokenizer() -> None:
    program = (
        "import sys; from mvlpt_core.tasks.names import Room, check_names;"
        "check_names(['a cat', 'a Dog', 'sea-lion'], 'x', Room(77, 16, 'n_ctx'));"
        "assert not {'torch', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_before_the_first_job(tmp_path: Path) -> None:
    write_birds(tmp_path / "birds", 3)
    row = TaskRow("birds", "folder", "birds", "accuracy", names=("a Bird", "a bird"))
    assert "task birds: the text tower reads the same" in check_tasks([row], str(tmp_path))[0]
    with pytest.raises(
        InputError, match=r"of task birds has only 3 training images but shots is 4"
    ):
        check_tasks([row], str(tmp_path), 4, "error")
    assert check_tasks([row], str(tmp_path), 4, "use_all")
    (tmp_path / "link").symlink_to("birds")
    again = TaskRow("again", "folder", "link", "accuracy")
    with pytest.raises(InputError, match=r"task again: .*/birds, and that of task birds to"):
        check_tasks([row, again], str(tmp_path))
    inside = TaskRow("inside", "folder", "birds/train", "accuracy")  # the same images, too
    with pytest.raises(InputError, match=r"task inside: .*/birds/train, and that of task birds to"):
        check_tasks([row, inside], str(tmp_path))


def test_a_split_that_lacks_a_class_is_told_before_the_first_job(tmp_path: Path) -> None:
    for split, numbers in (("train", range(6)), ("test", range(0, 9, 3))):
        write_tar(tmp_path / "toy" / split / "0.tar", samples(numbers))
        (tmp_path / "toy" / split / "nshards.txt").write_text("1")
    (tmp_path / "toy/classnames.txt").write_text("a\nb\nc\n")
    row = TaskRow("toy", "wds", "toy", "accuracy")
    with pytest.raises(InputError, match=r"class 'b' of task toy has no images in split test"):
        check_tasks([row], str(tmp_path))


def test_images_of_several_classes_are_counted_by_class(tmp_path: Path) -> None:
    labels = {"train": [[1, 1], [0, 1]], "test": [[1, 0], [0, 1]]}
    for split, rows in labels.items():
        members = {}
        for i, values in enumerate(rows):
            members |= {f"{i}.png": picture((i, 9, 9)), f"{i}.npy": npy(np.array(values))}
        write_tar(tmp_path / "toy" / split / "0.tar", members)
        (tmp_path / "toy" / split / "nshards.txt").write_text("1")
    (tmp_path / "toy/classnames.txt").write_text("a\nb\n")
    (tmp_path / "toy/dataset_type.txt").write_text("multilabel")
    row = TaskRow("toy", "wds", "toy", "map_11point")
    assert check_tasks([row], str(tmp_path), 1, "error") == []
    with pytest.raises(InputError, match=r"class 'a' of task toy has only 1 training image but"):
        check_tasks([row], str(tmp_path), 2, "error")


def test_texts_are_read_without_the_models_of_open_clip() -> None:
    """Its tokens, from its file, and not the seconds that the package takes to import."""
    text = "A photo of a \u00c9tude &amp; Boxer, 犬"
    program = (
        "import sys; from mvlpt_core.backbone.tokens import tokenizer;"
        f"found = [tokenizer(clean)({text!r}) for clean in ('lower', 'canonicalize')];"
        "assert not {'open_clip', 'torchvision', 'timm'} & set(sys.modules), 'imported';"
        "from open_clip.tokenizer import SimpleTokenizer as S;"
        f"assert found == [S(clean=clean).encode({text!r}) for clean in ('lower', 'canonicalize')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
