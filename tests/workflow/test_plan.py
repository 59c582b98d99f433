"""`mvlpt plan`: its jobs are those of a dry run, its output, and a plan that is registered once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mvlpt.cli import main
from mvlpt.plan import Cost, checked_study, study_counter
from mvlpt_core.contract.registered import read_registered
from mvlpt_workflow.configuration import study_digest
from mvlpt_workflow.jobs import jobs_by_rule
from support.snake import plan

REGISTER = ["--register", "--method", "text", "--gain", "absolute"]
REGISTER += ["--similarity", "label_cosine", "--margin", "2"]


def stage(rule: str) -> str:
    """A rule's name without the number of its block or pack."""
    return re.sub(r"_\d+$", "", rule)


@pytest.mark.parametrize("name", ["tiny", "groups", "multitask"])
@pytest.mark.parametrize("screen", [False, True])
def test_jobs_are_those_of_a_dry_run(name: str, screen: bool, root: Path, tmp_path: Path) -> None:
    config = str(root / f"tests/workflow/config/{name}.yaml")
    counts: dict[str, int] = {}
    given = ["--configfile", config, "--config", f"screen={screen}"]
    for rule, count in plan(tmp_path, *given).items():
        counts[stage(rule)] = counts.get(stage(rule), 0) + count
    assert jobs_by_rule(checked_study(config, [f"screen={str(screen).lower()}"])) == counts
    assert ("screen" in counts) == screen


def test_runs_are_those_that_are_packed(root: Path) -> None:
    checked = checked_study(str(root / "tests/workflow/config/tiny.yaml"))
    counter = study_counter(checked)
    assert sum(job.runs for job in counter.jobs) * len(checked.study.seeds) == 80


def test_the_paper_is_planned_without_its_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MVLPT_DATA_ROOT", raising=False)
    assert main(["plan", "paper_vitb16", "--rate", "60", "--device", "A100"]) == 0
    said = capsys.readouterr().out
    assert "Study paper_vitb16: 3,780 runs" in said
    assert "scratch 180, cells 3,600" in said
    assert "60 TFLOP/s as given for A100" in said
    assert re.search(r"^time +[\d,.]+ h on \d+ core", said, re.MULTILINE)
    assert re.search(r"^visual +[\d,]+ +[\d,]+ +[\d.]+ E", said, re.MULTILINE)
    for row in ("disk", "memory", "smallest gain told from 0"):
        assert row in said


def test_seconds_of_the_clock_by_hand() -> None:
    cost = Cost({"planning": 10.0, "tune": 40.0, "figures": 20.0})
    assert cost.total == 70
    assert cost.taken(cores=2, threads=1, on_gpu=False) == 10 + (40 + 20) / 2
    assert cost.taken(cores=2, threads=1, on_gpu=True) == 10 + 40 + 20 / 2
    assert cost.taken(cores=4, threads=2, on_gpu=False) == 10 + 40 / 2 + 20 / 4


def test_this_machine_is_timed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(root / "tests/workflow/config/tiny.yaml"), "--calibrate"]) == 0
    said = capsys.readouterr().out
    assert "timed here (device" in said
    assert re.search(r"a job starts in [\d.]+ s", said)


def test_a_plan_is_registered_and_the_report_reads_it(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    config = str(root / "tests/workflow/config/tiny.yaml")
    assert main(["plan", config, *REGISTER]) == 0
    path = tmp_path / "results/tiny/plan.json"
    found, whole = read_registered(path)
    assert whole
    assert (found.method, found.gain, found.similarity, found.margin) == (
        "text",
        "absolute",
        "label_cosine",
        2.0,
    )
    assert found.configuration == study_digest(checked_study(config))
    assert found.digest in capsys.readouterr().out
    assert json.loads(path.read_text())["seeds"] == [1, 2]
    assert main(["plan", config, *REGISTER]) == 2
    assert "a plan is registered already" in capsys.readouterr().err
    # Of a study with more shots than its transfer study has, the plan is about those.
    several = str(root / "tests/workflow/config/multitask.yaml")
    assert main(["plan", several, *REGISTER]) == 0
    assert json.loads((tmp_path / "results/multitask/plan.json").read_text())["shots"] == [4]
    without = str(root / "tests/workflow/config/groups.yaml")
    assert main(["plan", without, *REGISTER]) == 2
    assert "starts no task from another's prompt: expected" in capsys.readouterr().err
    # The rule of the report is planned with the plan beside it.
    assert plan(tmp_path, "--configfile", config)["report"] == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--register"], "--register needs --method"),
        (["--method", "text"], "--method is for --register"),
        ([*REGISTER[:2], "mine", *REGISTER[3:]], "--method is 'mine': expected one of text"),
        ([*REGISTER[:-1], "-1"], "--margin is -1: expected points"),
        (["--pilot", "nowhere"], "no such file: expected a table"),
        (["--budget", "2"], "--budget needs a speed: expected --rate or --calibrate"),
        (["--budget", "2", *REGISTER], "--budget is not for --register"),
        (["--budget", "0.001", "--rate", "1"], "--budget is 0.001 hours: expected at least"),
    ],
)
def test_mistakes_are_one_sentence(
    given: list[str], says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(root / "tests/workflow/config/tiny.yaml"), *given]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_budget_is_a_fraction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The largest that fits; the printed option makes a study that the plan says takes no longer."""
    speed = ["--rate", "0.01", "--cores", "2"]
    assert main(["plan", "testbed", *speed, "--budget", "0.12"]) == 0
    said = capsys.readouterr().out
    found = re.search(r"^fraction +(0\.\d+), which takes ([\d.]+) min", said, re.MULTILINE)
    assert found
    fraction, minutes = map(float, found.groups())
    assert minutes <= 7.2
    option = re.search(r"--set '(.*)'", said)
    assert option
    assert "replicates: 0.1" in option[1]
    more = option[1].replace(f"fraction: {fraction:g}", f"fraction: {fraction + 0.06:g}")
    taken = []
    for change in (option[1], more):
        assert main(["plan", "testbed", *speed, "--set", change]) == 0
        time = re.search(r"^time +([\d.]+) min on 2 cores", capsys.readouterr().out, re.MULTILINE)
        assert time
        taken.append(float(time[1]))
    assert taken[0] == minutes
    assert taken[1] > 7.2
    assert main(["plan", "testbed", *speed, "--budget", "5"]) == 0
    assert "1: all of it fits" in capsys.readouterr().out


def test_a_budget_is_no_setting(capsys: pytest.CaptureFixture[str]) -> None:
    change = "runs={transfer: [{group: tasks, start: tasks, budget: 2}]}"
    assert main(["plan", "testbed", "--set", change]) == 2
    assert "expected the key 'fraction' that `mvlpt plan --budget HOURS` prints" in (
        capsys.readouterr().err
    )
    scratch = "runs={transfer: [{group: tasks, start: random}]}"
    assert main(["plan", "testbed", "--rate", "1", "--budget", "2", "--set", scratch]) == 2
    assert "no list of runs that start from tasks" in capsys.readouterr().err
