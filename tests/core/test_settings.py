"""Settings: defaults, documentation, and the sentence for every kind of mistake."""

import copy
from pathlib import Path
from typing import Any

import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.schema import table
from mvlpt_core.contract.settings import Study, read_study
from mvlpt_core.contract.suite import read_suite

MINIMAL: dict[str, Any] = {
    "study": "mine",
    "suite": "config/suites/testbed.tsv",
    "backbone": {"name": "ViT-B-16", "pretrained": "openai"},
    "methods": {"visual": {}, "text": {}},
    "tuning": {"epochs": 2},
}


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


def test_defaults_are_filled_in_and_the_configuration_is_left_alone() -> None:
    config = copy.deepcopy(MINIMAL)
    study = read_study(config, "mine.yaml").resolved()
    assert config == MINIMAL
    assert list(study["methods"]) == ["visual", "text"]  # the order is the user's
    assert study["methods"]["visual"]["class_text"] == "a photo of a {c}."
    assert study["tuning"] | {"epochs": 2, "batch_size": 32} == study["tuning"]
    assert "steps" not in study["tuning"]
    assert (study["seeds"], study["pack"], study["analysis"]["permutations"]) == ([1], 20, 10000)
    assert (study["shots"], study["runs"]["transfer"][0]["group"]) == ([20], ["tasks"])
    assert read_study(study, "mine.yaml").resolved() == study
    assert read_study({**MINIMAL, "shots": 4}, "mine.yaml").shots == [4]


def test_a_configuration_says_only_what_differs() -> None:
    least = {"study": "birds", "suite": "birds.tsv"}
    study = read_study(least, "birds.yaml")
    assert (study.backbone.name, study.backbone.pretrained) == ("ViT-B-16", "openai")
    assert list(study.resolved()["methods"]) == ["text", "visual", "unified"]
    assert (study.tuning.epochs, study.tuning.steps) == (50, None)
    assert read_study(study.resolved(), "birds.yaml") == study
    few = read_study({**least, "tuning": {"batch_size": 4}}, "birds.yaml").tuning
    assert (few.epochs, few.batch_size) == (50, 4)


@pytest.mark.parametrize(
    ("name", "suite"),
    [("testbed", "testbed"), ("realtasks", "realtasks"), ("paper_vitb16", "elevater")],
)
def test_shipped_configurations_are_legal(root: Path, name: str, suite: str) -> None:
    study = read_study(read_yaml(root / f"config/{name}.yaml"), name)
    assert (study.study, study.suite) == (name, f"config/suites/{suite}.tsv")
    assert len(read_suite(root / study.suite)) == 20
    assert list(study.methods.by_name()) == ["text", "visual", "unified"]


def test_every_key_is_documented() -> None:
    rows = {row["key"]: row for row in table(Study)}
    assert all(row["meaning"] and row["expected"] for row in rows.values())
    assert rows["tuning.batch_size"]["default"] == "32"
    assert rows["study"]["default"] == "required"
    assert {"runs.<name>.start", "methods.unified.width", "analysis.group_limit"} <= set(rows)


def test_a_checkpoint_needs_something_to_choose_by() -> None:
    tuning = {"steps": 1, "checkpoint": "best_val"}
    with pytest.raises(InputError, match="'best_val', but val_share is 0"):
        read_study({**MINIMAL, "tuning": tuning, "val_share": 0.0}, "x")


def test_methods_answer_for_themselves() -> None:
    study = read_study({**MINIMAL, "methods": {"text": {}, "visual": {}, "unified": {}}}, "x")
    tokens = {k: (m.text_ctx, m.visual_ctx) for k, m in study.methods.by_name().items()}
    assert tokens == {"text": (16, 0), "visual": (0, 16), "unified": (4, 4)}


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
        ("seeds", [2**31], ["key 'seeds.0' is 2147483648", "below 2**31"]),
        ("shots", [2**31], ["key 'shots.0' is 2147483648", "whole number"]),
        ("study", "a" * 101, ["key 'study' is 'aaa", "100 at most"]),
        ("seeds", 3, ["key 'seeds' is 3", "list"]),
        ("shots", True, ["key 'shots' is true", "whole number"]),
        ("val_share", 0.9, ["key 'val_share' is 0.9", "0 to 0.5"]),
        ("device", "gpu", ["key 'device' is 'gpu'", "auto, cpu, cuda"]),
        ("study", "a/b", ["key 'study' is 'a/b'", "folder name"]),
        (
            "backbone.precision",
            "fp8",
            ["key 'backbone.precision' is 'fp8'", "auto, fp32, bf16, fp16", "not fp8: its scales"],
        ),
        ("methods.text.position", "start", ["'methods.text.position'", "middle, front, end"]),
        ("methods.text.lr", "2e-3", ["'methods.text.lr' is '2e-3'", "decimal point"]),
        ("methods.text.class_specific", True, ["unknown key 'methods.text.class_specific'"]),
        ("shots", 4.0, ["key 'shots' is 4.0", "whole number"]),
        ("shots", [4, 4], ["key 'shots' is [4, 4]", "different"]),
        ("methods.text.n_ctx", 2.0, ["'methods.text.n_ctx' is 2.0", "whole number"]),
        ("val_share", float("nan"), ["key 'val_share' is nan", "0 to 0.5"]),
        ("methods.text.lr", float("inf"), ["'methods.text.lr' is inf", "above 0"]),
        ("study", "a\n", ["key 'study' is 'a\\n'"]),
        ("runs", {"x": [{"group": "a"}]}, ["key 'runs.x.0.start' is missing"]),
        ("runs", {}, ["key 'runs' is {}", "mapping of names"]),
        ("runs", {"x": []}, ["runs.x is [], expected a list of {group, start}"]),
        ("analysis.group_limit", 1, ["at least 2"]),
        ("methods.visual.class_text", "a photo", ["'methods.visual.class_text'", "{c}"]),
        (
            "methods.visual.class_text",
            "{x} {c}",
            ["'methods.visual.class_text' is '{x} {c}'", "{c}"],
        ),
        ("tuning.optimizer", "adam", ["'tuning.optimizer' is 'adam'", "sgd, adamw"]),
        ("tuning.checkpoint", "best", ["'tuning.checkpoint'", "last, best_val"]),
        ("runs", {"x": [{"group": "a", "start": "b", "shots": 3}]}, ["runs.x wants 3 shots"]),
        ("means", {"m": {"seeds": "all"}}, ["key 'means.m.of' is missing"]),
        ("linear_probe", "no", ["key 'linear_probe' is 'no'", "true or false"]),
        ("tuning.steps", 5, ["exactly one of the keys 'epochs' and 'steps'"]),
        ("tuning.warmup", 3, ["'tuning.warmup' is 3", "2 epochs", "at most"]),
        (
            "tuning",
            {"steps": 4, "evaluations": 5},
            ["'tuning.evaluations' is 5", "4 steps", "at most"],
        ),
    ],
)
def test_a_bad_value_is_one_sentence_with_file_key_and_what_was_expected(
    path: str, value: Any, words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        read_study(changed(path, value), "mine.yaml")
    message = str(error.value)
    assert message.startswith("mine.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_misspelt_key_is_told_rather_than_the_key_it_leaves_missing() -> None:
    config = changed("suite", ...)
    config["siute"] = MINIMAL["suite"]
    with pytest.raises(InputError, match="unknown key 'siute'"):
        read_study(config, "mine.yaml")
