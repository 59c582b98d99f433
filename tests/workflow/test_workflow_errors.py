"""A mistake in a configuration or suite is one sentence, before any job."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.check import check_tasks, data_state
from support.snake import command

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
    row = TaskRow("pets", "folder", "pets", "accuracy")
    (tmp_path / "pets/train/cat").mkdir(parents=True)
    (tmp_path / "pets/train/cat/1.jpg").write_bytes(b"12")
    before = data_state(row, str(tmp_path))
    assert data_state(row, str(tmp_path)) == before
    (tmp_path / "pets/train/cat/1.jpg").write_bytes(b"123")
    assert data_state(row, str(tmp_path)) != before
    assert data_state(TaskRow("a", "testbed", "object_golden", "accuracy"), None) == ""


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
