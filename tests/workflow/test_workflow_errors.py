"""A mistake in a configuration or suite is one sentence, before any job."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from mvlpt.cli import main
from mvlpt.study import study_command
from mvlpt_core.backbone.named import check_named
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.check import DataState, check_tasks, data_state
from mvlpt_workflow.configuration import check_study, read_configuration, tell_folder
from support.snake import command, plan
from support.task_files import write_images

MINIMAL: dict[str, Any] = {
    "study": "mine",
    "suite": "config/suites/testbed.tsv",
    "backbone": {"name": "ViT-B-16", "pretrained": "openai"},
    "methods": {"visual": {}, "text": {}},
    "tuning": {"epochs": 2},
}


def test_tasks_are_looked_at_before_any_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = TaskRow("pets", "folder", "pets", "accuracy")
    monkeypatch.delenv("MVLPT_DATA_ROOT", raising=False)
    with pytest.raises(InputError, match=r"pets.*data_root.*MVLPT_DATA_ROOT"):
        check_tasks([row], None)
    with pytest.raises(InputError, match=r"gone.*pets"):
        check_tasks([row], str(tmp_path / "gone"))
    with pytest.raises(InputError, match="pets"):
        check_tasks([row], str(tmp_path))
    check_tasks([TaskRow("a", "testbed", "object_golden", "accuracy")], None)


def test_exchanged_data_change_the_state_of_a_task(tmp_path: Path) -> None:
    pets = ("pets", "folder", "pets", str(tmp_path))
    image = tmp_path / "pets/train/cat/1.jpg"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"12")
    before = data_state(*pets)
    assert data_state(*pets) == before
    image.write_bytes(b"34")
    touched = data_state(*pets)
    assert touched.held == before.held
    assert touched.touched != before.touched
    image.write_bytes(b"123")
    assert data_state(*pets).held != before.held
    assert data_state("a", "testbed", "object_golden", None) == DataState()


def test_snakemake_shows_the_sentence_and_nothing_is_written(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({**MINIMAL, "methods": {"coop": {"n_ctx": 4}}}))
    done = subprocess.run(
        command(tmp_path, "--configfile", str(config)), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "error: mine.yaml: unknown key 'methods.coop', expected one of text" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def tiny(root: Path, **changes: Any) -> dict[str, Any]:
    return {**read_yaml(root / "tests/workflow/config/tiny.yaml"), **changes}


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("ViT-B-17", "openai", "unknown model name"),
        ("ViT-B-16", "opnai", "must be one of openai, laion400m_e31"),
        ("ViT-B-16-quickgelu", "laion2b", "must be one of openai"),
        ("ViT-B-16", None, "must be one of openai"),
        ("ViT-B-16", "weights/gone.safetensors", "there is no such file"),
        ("RN50", "openai", "no ViT"),
        ("local-dir:gone", None, "'gone/open_clip_config.json' is not there"),
    ],
)
def test_an_unknown_backbone_is_told_before_any_job(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, pretrained: str | None, message: str
) -> None:
    monkeypatch.chdir(root)
    changes = {"study": "unknown", "backbone": {"name": name, "pretrained": pretrained}}
    with pytest.raises(InputError, match=message):
        check_study(tiny(root, **changes), "tiny.yaml")
    check_named("ViT-B-16", "openai")
    check_named("ViT-B-16-quickgelu", "openai")
    check_named("hf-hub:owner/name", "")


def test_a_suite_that_cannot_give_the_runs_is_told_before_any_job(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    suite = tmp_path / "suite.tsv"
    header, *lines = (root / "tests/workflow/config/tiny.tsv").read_text().splitlines()
    suite.write_text(f"{header}\n{lines[0]}\n")
    with pytest.raises(InputError, match="has one task, and the runs start tasks from tasks"):
        check_study(tiny(root, suite=str(suite)), "tiny.yaml")
    alone = {"scratch": [{"group": "tasks", "start": "random"}]}
    assert len(check_study(tiny(root, suite=str(suite), runs=alone), "tiny.yaml").suite) == 1
    counts = [f"{line}\t10\t79" for line in lines]
    suite.write_text("\n".join([f"{header}\tclasses\ttrain", *counts]) + "\n")
    with pytest.raises(InputError, match=r"79 training images of 10 classes .* for 8 shots"):
        check_study(tiny(root, suite=str(suite), shots=[4, 8]), "tiny.yaml")
    assert check_study(tiny(root, suite=str(suite), shots=[4, 7]), "tiny.yaml")
    two = tmp_path / "two.tsv"
    two.write_text(f"{header}\n{lines[0].replace('object_golden', 'again', 1)}\n")
    plain = "tests/workflow/config/tiny.tsv"
    with pytest.raises(InputError, match=r"'again' has the location of 'object_golden'"):
        check_study(tiny(root, suite=plain, source_suite=str(two)), "tiny.yaml")


def test_changes_on_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(root / "tests/workflow/config/tiny.yaml")
    changes = ["tuning.steps=6", "methods.text.lr=0.5", "seeds=[3]", "study=other"]
    study = check_study(read_configuration(config, changes), config).study
    assert (study.tuning.steps, study.tuning.warmup, study.seeds) == (6, 1, [3])
    assert (study.study, list(study.methods.by_name())) == ("other", ["text", "visual"])
    for change, message in (
        ("tuning.step=5", "unknown key 'tuning.step', expected one of epochs, steps"),
        ("pack=2.0", "key 'pack' is 2.0, expected a whole number"),
        ("tuning", "--set tuning: expected key=value"),
        ("tuning..steps=1", "--set tuning..steps=1: expected key=value"),
        ("seeds=[1", "--set seeds=[1: expected a value as in YAML"),
    ):
        for name in ("check-config", "study"):
            assert main([name, config, "--set", change]) == 2
            assert message in capsys.readouterr().err


def test_snakemake_takes_the_changes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = str(root / "tests/workflow/config/tiny.yaml")
    more = study_command(config, "2", "default", [], ["tuning.steps=6", "seeds=[3]", "pack=20"])
    at = more.index("--configfile")
    assert read_yaml(more[at + 2]) == {"tuning": {"steps": 6}, "seeds": [3], "pack": 20}
    # One seed in place of two, the starts of a group in one pack.
    jobs = [plan(tmp_path, *files) for files in (more[at : at + 2], more[at : at + 3])]
    assert 0 < sum(jobs[1].values()) < sum(jobs[0].values())


def test_where_nothing_may_be_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(root / "tests/workflow/config/tiny.yaml")
    monkeypatch.chdir(root)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["study", config, "--set", "study=never"]) == 2
    assert capsys.readouterr().err.endswith("may not be written to: expected a folder of yours\n")
    assert main(["analyse", "x.csv", "--out", str(tmp_path / "a/b")]) == 2
    assert f"error: {tmp_path} may not be written to" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["analyse", "x.csv", "--out", str(tmp_path / "file")]) == 2
    assert f"error: {tmp_path}/file is a file: expected a folder" in capsys.readouterr().err


def test_a_study_of_ones_own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data/My Birds", "data/more/cars"):
        for split, number in (("train", 3), ("test", 1)):
            for label in ("a", "b"):
                folder = tmp_path / name / split / label
                folder.mkdir(parents=True)
                for i in range(number):
                    Image.new("RGB", (8, 8), (i, 9, 9)).save(folder / f"{i}.png")
    folders = ["data/My Birds", "data/more/cars"]
    assert main(["init", *folders, "--out", "mine"]) == 0
    said = capsys.readouterr().out
    assert "my_birds: 2 classes, 6 training images, 3 of the smallest class" in said
    assert "mvlpt study mine.yaml" in said
    assert read_yaml("mine.yaml") == {
        **{"study": "mine", "suite": "mine.tsv", "data_root": str(tmp_path / "data"), "shots": 3}
    }
    checked = check_study(read_configuration("mine.yaml"), "mine.yaml")
    assert [(row.task, row.location) for row in checked.suite.values()] == [
        *(("my_birds", "My Birds"), ("cars", "more/cars"))
    ]
    for given, message in (
        ([*folders, "--out", "mine"], "mine.tsv is there already"),
        (["data/more/cars", "--out", "x"], "one task has no other"),
        (
            [folders[0]] * 2 + ["--out", "x"],
            "task 'my_birds_2' has the location 'My Birds' of task",
        ),
        ([*folders, "gone", "--out", "x"], "task folder 'gone' is not there"),
        ([*folders, "--out", "a b"], "key 'study' is 'a b'"),
    ):
        assert main(["init", *given]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.tsv").exists()


def test_names_of_tasks_from_folders_that_no_task_can_be_called_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = ["\u65e5\u672c", "\u4e2d\u56fd", "Bär (1)", "bar__1_", "scratch", "x" * 120]
    for folder in folders:
        for split in ("train", "test"):
            write_images(tmp_path / folder / split, ["a/0.png", "b/0.png"])
    assert (
        main(["init", *folders, "--out", "mine.yaml"]) == 0
    )  # as the configuration will be called
    assert "task_2 (\u4e2d\u56fd): 2 classes" in capsys.readouterr().out
    suite = check_study(read_configuration("mine.yaml"), "mine.yaml").suite
    assert {task: row.location for task, row in suite.items()} == dict(
        zip(["task", "task_2", "bar__1_", "bar__1__2", "scratch_2", "x" * 74], folders, strict=True)
    )
    for out in (".", "..", "a b", "x" * 101):
        assert main(["init", *folders, "--out", out]) == 2
        assert f"--out {out}: key 'study' is" in capsys.readouterr().err
    assert main(["check", folders[0], "--task", "birds"]) == 2
    assert "is one task's data: expected no --task" in capsys.readouterr().err


def test_a_study_of_tasks_in_other_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MVLPT_CACHE", str(tmp_path / "cache"))
    write_images(tmp_path / "data/Birds/Training", ["a/0.png", "a/1.png", "b/0.png", "b/1.TIFF"])
    write_images(tmp_path / "data/Birds/dev", ["a/0.png", "b/0.png"], 4)
    write_images(tmp_path / "toys", [f"toys/{i}.png" for i in range(6)])
    rows = "".join(f"toys/{i}.png,{'ab'[i % 2]}|{'bc'[i % 2]}\n" for i in range(6))
    (tmp_path / "toys/labels.csv").write_text(f"image,label\n{rows}")
    shutil.make_archive("data/toys", "zip", tmp_path / "toys")
    assert main(["init", "data/Birds", "data/toys.zip"]) == 0
    said = capsys.readouterr().out
    assert "birds: val stands for the test split\n" in said
    assert "toys: the data have no test split: 2 images of 6 are held out" in said
    assert Path("mine.tsv").read_text() == (
        "task\tkind\tlocation\tmetric\ttest\n"
        "birds\tfolder\tBirds\taccuracy\tval\ntoys\ttable\ttoys.zip\tmap_11point\t\n"
    )
    checked = check_study(read_configuration("mine.yaml"), "mine.yaml")
    assert checked.suite["birds"].test_split == "val"
    assert any(
        line.startswith("task toys: multi-label: 6 images of 6") for line in checked.warnings
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1\nb: 2", "c.yaml, line 2: not valid YAML"),
        (b"", "c.yaml holds nothing: expected a mapping"),
        (b"- a\n", "c.yaml holds a list"),
        (b"study: \xe4\n", "c.yaml cannot be read as UTF-8 text"),
        (b"a: 1\na: 2\n", "c.yaml, line 2: key 'a' is given twice"),
        (b"a: 1\nshots: 010\n", "c.yaml, line 2: 010 is 8 to YAML: expected it without"),
        (b"shots: [4, 1:30]\n", "c.yaml, line 1: 1:30 is 90 to YAML: expected it without"),
        (b"PK\3\4\xff", r"c.yaml cannot be read as UTF-8 text \(it holds a zip archive"),
        (b"? [a]\n: 1\n", r"c.yaml, line 1: a key is \['a'\]"),
        (b"a: 2020-13-45\n", "c.yaml: not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_yaml(tmp_path / "c.yaml")
    assert "\n" not in str(error.value)


def test_make_finds_a_study_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tell_folder("testbed")
    assert capsys.readouterr().out == "results/testbed\n"
    Path("c.yaml").write_text("a: [1\n")
    for name, message in (("typo.yaml", "no such file"), ("c.yaml", "not valid YAML")):
        with pytest.raises(SystemExit, match=rf"^error: {name}.*{message}"):
            tell_folder(name)


def test_a_key_given_twice_is_told_by_plain_snakemake_too(root: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text((root / "tests/workflow/config/tiny.yaml").read_text() + "shots: 7\n")
    done = subprocess.run(
        command(tmp_path, "--configfile", str(config)), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "mine.yaml, line 16: key 'shots' is given twice: expected once" in done.stderr
    assert "Traceback" not in done.stderr


def test_class_names_and_shots_are_held_against_the_data_before_any_job(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    rows = (root / "tests/workflow/config/tiny.tsv").read_text().splitlines()
    suite = tmp_path / "suite.tsv"

    def with_names(names: list[str]) -> str:
        own = [f"{row}\t" for row in rows[1:]]
        own[1] += "|".join(names)
        suite.write_text("\n".join([f"{rows[0]}\tnames", *own]) + "\n")
        return str(suite)

    names = ["red", "Red", *"abcdef"]
    checked = check_study(tiny(root, suite=with_names(names)), "tiny.yaml")
    assert (
        "task object_rosy: the text tower reads the same for classes 'red' (0)"
        in checked.warnings[0]
    )
    names[1] = " ".join(["word"] * 76)
    with pytest.raises(
        InputError, match=r"task object_rosy: class name .* has 76 tokens, .* beside 2"
    ):
        check_study(tiny(root, suite=with_names(names)), "tiny.yaml")
    only = {"methods": {"visual": {"n_ctx": 2}}}  # whose texts are cut, as open_clip does
    assert not check_study(tiny(root, suite=with_names(names), **only), "tiny.yaml").warnings
    with pytest.raises(InputError, match=r"of task object_golden has only 40 training images"):
        check_study(tiny(root, shots=41), "tiny.yaml")


def test_an_exchanged_backbone_is_looked_for_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root / "tests/workflow/config", tmp_path / "tests/workflow/config")
    monkeypatch.chdir(tmp_path)
    about = tmp_path / "results/tiny/backbone/backbone.json"
    about.parent.mkdir(parents=True)
    about.write_text(json.dumps({"open_clip": {"name": "local-dir:gone", "pretrained": ""}}))
    gone = {"name": "local-dir:gone"}
    assert check_study(tiny(root, backbone=gone), "tiny.yaml")
    with pytest.raises(InputError, match=r"unknown model name"):
        check_study(tiny(root, backbone={"name": "ViT-B-17"}), "tiny.yaml")
    about.write_text("[")
    with pytest.raises(InputError, match=r"'gone/open_clip_config.json' is not there"):
        check_study(tiny(root, backbone=gone), "tiny.yaml")
