"""A mistake in a configuration or suite is one sentence, before any job."""

import copy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.settings import blocks, check_tasks, data_state, read_schema, resolve_study
from mvlpt_core.contract.suite import TaskRow, read_suite

MINIMAL: dict[str, Any] = {
    "study": "mine",
    "suite": "config/suites/testbed.tsv",
    "backbone": {"name": "ViT-B-16", "pretrained": "openai"},
    "methods": {"visual": {}, "text": {}},
    "tuning": {"epochs": 2},
}


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    return read_schema(root / "workflow/schemas/config.schema.yaml")


def changed(path: str, value: Any) -> dict[str, Any]:
    """MINIMAL with the value at a dotted path; `...` removes the key."""
    config = copy.deepcopy(MINIMAL)
    *parents, key = path.split(".")
    place = config
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return config


def test_defaults_are_filled_in_and_the_configuration_is_left_alone(schema: dict) -> None:
    config = copy.deepcopy(MINIMAL)
    study = resolve_study(config, schema, "mine.yaml")
    assert config == MINIMAL
    assert list(study["methods"]) == ["visual", "text"]  # the order is the user's
    assert study["methods"]["visual"]["class_text"] == "a photo of a {c}."
    assert study["tuning"] | {"epochs": 2, "batch_size": 32, "lr": 0} == study["tuning"] | {"lr": 0}
    assert "steps" not in study["tuning"]
    assert (study["seeds"], study["pack"], study["analysis"]["permutations"]) == ([1], 20, 10000)
    assert resolve_study(study, schema, "mine.yaml") == study


@pytest.mark.parametrize(
    ("name", "suite"),
    [("testbed", "testbed"), ("realtasks", "realtasks"), ("paper_vitb16", "elevater")],
)
def test_shipped_configurations_say_everything_themselves(
    root: Path, schema: dict, name: str, suite: str
) -> None:
    config = yaml.safe_load((root / f"config/{name}.yaml").read_text())
    assert resolve_study(config, schema, name) == config
    assert (config["study"], config["suite"]) == (name, f"config/suites/{suite}.tsv")
    assert len(read_suite(root / config["suite"])) == 20


def test_every_key_of_the_default_configuration_has_a_comment(root: Path, schema: dict) -> None:
    lines = [line.strip() for line in (root / "config/testbed.yaml").read_text().splitlines()]
    explained: set[str] = set()
    for above, line in pairwise(lines):
        if line and not line.startswith("#"):
            key = line.partition(":")[0]
            assert above.startswith("#") or key in explained, f"{key} has no comment above it"
            explained.add(key)
    assert explained >= set(schema["properties"])


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("sead", 1, ["unknown key 'sead'", "seeds"]),
        ("tuning.step", 5, ["unknown key 'tuning.step'", "steps", "epochs"]),
        ("methods.coop", {}, ["unknown key 'methods.coop'", "text, visual, unified"]),
        ("methods.text.dropout", 0.1, ["unknown key 'methods.text.dropout'", "n_ctx", "position"]),
        ("suite", ..., ["key 'suite' is missing"]),
        ("backbone.name", ..., ["key 'backbone.name' is missing"]),
        ("methods", {}, ["key 'methods' is {}", "text, visual and unified"]),
        ("methods.text", None, ["key 'methods.text' is empty", "a mapping"]),
        ("pack", 0, ["key 'pack' is 0", "at least 1"]),
        ("pack", "all", ["key 'pack' is 'all'", "whole number"]),
        ("seeds", [], ["key 'seeds' is []", "list of different"]),
        ("seeds", [1, 1], ["key 'seeds' is [1, 1]", "different"]),
        ("seeds", [1, -2], ["key 'seeds.1' is -2", "at least 0"]),
        ("seeds", 3, ["key 'seeds' is 3", "list"]),
        ("shots", True, ["key 'shots' is true", "whole number"]),
        ("val_share", 0.9, ["key 'val_share' is 0.9", "0 to 0.5"]),
        ("device", "gpu", ["key 'device' is 'gpu'", "auto, cpu, cuda"]),
        ("study", "a/b", ["key 'study' is 'a/b'", "folder name"]),
        ("backbone.precision", "fp8", ["key 'backbone.precision' is 'fp8'", "auto, fp32, bf16"]),
        ("methods.text.position", "start", ["'methods.text.position'", "middle, front, end"]),
        ("methods.text.lr", "2e-3", ["'methods.text.lr' is '2e-3'", "decimal point"]),
        ("methods.text.class_specific", True, ["methods.text.class_specific", "false", "transfer"]),
        ("methods.visual.class_text", "a photo", ["'methods.visual.class_text'", "{c}"]),
        ("tuning.optimizer", "adam", ["'tuning.optimizer' is 'adam'", "sgd, adamw"]),
        ("tuning.checkpoint", "best", ["'tuning.checkpoint'", "last, best_val"]),
        ("tuning.steps", 5, ["exactly one of the keys 'epochs' and 'steps'"]),
        ("tuning.epochs", ..., ["exactly one of the keys 'epochs' and 'steps'"]),
    ],
)
def test_a_bad_value_is_one_sentence_with_file_key_and_what_was_expected(
    schema: dict, path: str, value: Any, words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        resolve_study(changed(path, value), schema, "mine.yaml")
    message = str(error.value)
    assert message.startswith("mine.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_misspelt_key_is_told_rather_than_the_key_it_leaves_missing(schema: dict) -> None:
    config = changed("suite", ...)
    config["siute"] = MINIMAL["suite"]
    with pytest.raises(InputError, match="unknown key 'siute'"):
        resolve_study(config, schema, "mine.yaml")


def test_tasks_are_looked_at_before_any_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = TaskRow("pets", "folder", "pets", "accuracy")
    monkeypatch.delenv("MVLPT_DATA_ROOT", raising=False)
    with pytest.raises(InputError, match=r"pets.*data_root.*MVLPT_DATA_ROOT"):
        check_tasks({"data_root": None}, [row])
    with pytest.raises(InputError, match=r"gone.*pets"):
        check_tasks({"data_root": str(tmp_path / "gone")}, [row])
    with pytest.raises(InputError, match="pets"):
        check_tasks({"data_root": str(tmp_path)}, [row])
    check_tasks({"data_root": None}, [TaskRow("a", "testbed", "object_golden", "accuracy")])


def test_exchanged_data_change_the_state_of_a_task(tmp_path: Path) -> None:
    row = TaskRow("pets", "folder", "pets", "accuracy")
    (tmp_path / "pets/train/cat").mkdir(parents=True)
    (tmp_path / "pets/train/cat/1.jpg").write_bytes(b"12")
    study = {"data_root": str(tmp_path)}
    before = data_state(study, row)
    assert data_state(study, row) == before
    (tmp_path / "pets/train/cat/1.jpg").write_bytes(b"123")
    assert data_state(study, row) != before
    assert data_state(study, TaskRow("a", "testbed", "object_golden", "accuracy")) == ""


def test_blocks_keep_the_order_and_lose_nothing() -> None:
    assert blocks(list("abcdefg"), 3) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert blocks(["a"], 20) == [["a"]]


def test_snakemake_shows_the_sentence_and_nothing_is_written(root: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(changed("methods.coop", {"n_ctx": 4})))
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(root / "Snakefile"),
            "--cores",
            "1",
            "--directory",
            str(tmp_path),
            "--configfile",
            str(config),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    (sentence,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert sentence.startswith("error: mine.yaml: unknown key 'methods.coop'")
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "results").exists()
