"""One seed with some runs repeated with a second, through the workflow."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from mvlpt.plan import checked_study, study_counter
from mvlpt_analysis.read.pairs import write_frame
from mvlpt_core.contract.layout import Layout
from mvlpt_workflow.jobs import jobs_by_rule
from mvlpt_workflow.written import record
from support.snake import command, plan, run

AT = Layout("results/tiny")


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Path:
    """Two values of shots, one of which has replicates, the other half of the pairs; one method."""
    config = yaml.safe_load((root / "tests/workflow/config/tiny.yaml").read_text())
    config |= {"seeds": [1], "shots": [2, 4], "tasks_per_job": 3, "linear_probe": False}
    config["suite"] = str(root / config["suite"])
    del config["methods"]["visual"]
    config["runs"] = {
        "transfer": [
            {"group": "tasks", "start": "tasks", "shots": 2, "fraction": 0.5},
            {"group": "tasks", "start": "tasks", "shots": 4, "replicates": 0.1},
        ]
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def test_jobs_and_runs_are_planned(config: Path, tmp_path: Path) -> None:
    checked = checked_study(str(config))
    counts: dict[str, int] = {}
    for rule, count in plan(tmp_path, "--configfile", str(config)).items():
        stage, _, number = rule.rpartition("_")
        name = stage if number.isdecimal() else rule
        counts[name] = counts.get(name, 0) + count
    assert jobs_by_rule(checked) == counts
    again = checked.runs.replicates[4]
    assert set(checked.runs.replicates) == {4}
    assert f"{len(again)} again with seed 2" in checked.summary()
    runs = sum(job.seeds * job.runs for job in study_counter(checked).jobs)
    assert runs == 16 + 20 + len(again)


def test_a_study_of_one_seed_knows_its_seed_noise(config: Path, tmp_path: Path) -> None:
    said = run(command(tmp_path, "--configfile", str(config)))
    pairs = checked_study(str(config)).runs.replicates[4]
    assert f"{36 + len(pairs)} of {36 + len(pairs)} runs done" in said
    transfer, again = (
        pd.read_parquet(tmp_path / AT.gathered(name)) for name in ("transfer", "replicates")
    )
    assert set(transfer["seed"]) == {1}
    assert (set(again["seed"]), set(again["shots"])) == ({2}, {4})
    cells = {pair for pair in pairs if pair[1] != "random"}
    assert set(zip(again["target"], again["source"], strict=True)) == cells
    assert len(cells) == 4
    for name in ("scores", "curves", "outcomes"):
        assert set(pd.read_parquet(tmp_path / AT.gathered(name))["seed"]) == {1}
    for shots, kind in ((2, "images"), (4, "replicates")):
        gains = pd.read_csv(tmp_path / AT.table(shots, "gains"))
        assert set(gains.loc[~gains["diagonal"], "interval"]) == {kind}
        assert set(gains["n_seeds"]) == {1}
    noise = pd.read_csv(tmp_path / AT.table(4, "seed_noise"))
    assert (noise["n_pairs"].tolist(), noise["n_targets"].tolist()) == ([4], [2])
    assert pd.read_csv(tmp_path / AT.table(2, "seed_noise")).empty
    report = (tmp_path / AT.report).read_text()
    assert "measured on 4 pairs of 2 targets" in report
    assert "was repeated with a second one" in report
    # Too few cells to estimate any from: the figure says so, and is no picture in the report.
    captions = pd.read_csv(tmp_path / AT.captions(2)).set_index("name")["caption"]
    assert "no pair of text is estimated" in captions["completed_text"]
    assert "Left out: Measured and estimated gains, text" in report
    assert plan(tmp_path, "--configfile", str(config)) == {}
    # Replicates of another state of the code are told.
    assert "are mixed" not in report
    write_frame(again.assign(code_digest="other"), tmp_path / AT.gathered("replicates"))
    record(tmp_path / AT.root, [tmp_path / AT.gathered("replicates")])
    only = ("--allowed-rules", "report", "--forcerun", "report")
    run(command(tmp_path, "--configfile", str(config), *only))
    assert "text: rows of 2 states of the code" in (tmp_path / AT.report).read_text()
    # A second seed of all: what replicates are there is the second seed's.
    more = yaml.safe_load(config.read_text()) | {"seeds": [1, 2], "pack": 3}
    config.write_text(yaml.safe_dump(more, sort_keys=False))
    planned = plan(tmp_path, "--configfile", str(config))
    assert "gather" in planned
    assert planned["prepare_sample"] < 2 * 4
