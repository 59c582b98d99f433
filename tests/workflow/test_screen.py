"""`mvlpt screen`: a ranking of all pairs from the runs of the sources alone, which a study then keeps."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mvlpt.cli import main
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.rows import SCREEN, read_rows
from support.snake import plan

AT = Layout("results/tiny")
TASKS = ["object_golden", "object_rosy", "background_golden", "background_rosy"]


@pytest.fixture(scope="module")
def config(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study with one seed, in its own folder."""
    folder = tmp_path_factory.mktemp("screened")
    tiny = root / "tests/workflow/config"
    shutil.copy(tiny / "tiny.tsv", folder / "suite.tsv")
    made = yaml.safe_load((tiny / "tiny.yaml").read_text())
    made |= {"suite": "suite.tsv", "seeds": [1], "linear_probe": False}
    (folder / "study.yaml").write_text(yaml.safe_dump(made))
    return folder / "study.yaml"


def screen(config: Path, *more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mvlpt", "screen", config.name, "--cores", "2", *more],
        cwd=config.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pairs_are_ranked_from_the_sources_runs_alone(config: Path) -> None:
    said = screen(config, "--top", "2", "--out", "ranked.csv")
    folder = config.parent
    runs = {
        folder / AT.run(method, task, "random", 4, 1)
        for method in ("text", "visual")
        for task in TASKS
    }
    assert set((folder / "results/tiny/runs").rglob("*.parquet")) == runs
    assert not (folder / AT.gathered("transfer")).exists()
    ranked = pd.read_csv(folder / "ranked.csv")
    assert len(ranked) == 2 * 4 * 4
    paths = [folder / AT.screen("text", task, 4, 1) for task in TASKS]
    rows = read_rows(paths, SCREEN).to_pandas()
    assert set(rows["study"]) == {"tiny"}
    others = rows[(rows["target"] == TASKS[0]) & (rows["source"] != TASKS[0])]
    best = others.sort_values("loss").head(2)
    shown = ", ".join(f"{s} {v:.2f}" for s, v in zip(best["source"], best["loss"], strict=True))
    begin = rows.loc[rows["target"] == TASKS[0], "start_loss"].iloc[0]
    assert f"  {TASKS[0]:17}  {shown} (random start {begin:.2f})" in said
    assert "text, 4 shots: 12 pairs ranked with " in said
    share = rows["operations"].sum() / rows["run_operations"].sum()
    assert f"{100 * share:.1f} % of the operations of tuning their runs" in said
    # Once more: nothing is to be done, and all is said.
    assert screen(config, "--top", "2").splitlines()[-5:] == said.splitlines()[-5:]


def test_the_study_goes_on_from_there(config: Path) -> None:
    given = ["--configfile", str(config)]
    assert not [rule for rule in plan(config.parent, *given) if rule in ("tune_1", "screen_1")]
    told = plan(config.parent, *given, "--config", "screen=True")
    assert "statistics" in told
    assert "screen_1" not in told


def test_a_study_that_tunes_no_task_alone_is_told_so(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = str(root / "tests/workflow/config/tiny.yaml")
    pairs = "runs={together: [{group: pairs, start: random}]}"
    assert main(["screen", config, "--set", pairs]) == 2
    error = capsys.readouterr().err
    assert "its runs tune no task alone from random: expected some under the key 'runs'" in error
    assert error.count("\n") == 1
