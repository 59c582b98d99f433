"""The study through an actual Slurm, disturbed in every way that a cluster disturbs; the tables are the same.

`tests/slurm/with_slurm.sh` starts that Slurm and runs this file. MVLPT_SLURM_WHOLE=1 goes on to the report.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml

WHY_NOT = os.environ.get("MVLPT_NO_SLURM", "tests/slurm/with_slurm.sh starts one")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"no Slurm here: {WHY_NOT}")

ROOT = Path(__file__).resolve().parents[2]
TABLES = ["scores", "transfer", "curves", "outcomes", "truth"]
WHOLE = bool(os.environ.get("MVLPT_SLURM_WHOLE"))


class Job(NamedTuple):
    """A job as the queue knows it; memory in megabytes, the limit in minutes."""

    number: int
    state: str
    rule: str
    memory: int
    limit: int


def queue() -> list[Job]:
    """Every job since Slurm was started, oldest first."""
    said = told("squeue", "--states=all", "--noheader", "--format=%i|%T|%k|%m|%l")
    return sorted(
        Job(
            int(number),
            state,
            comment.removeprefix("rule_").partition("_wildcards")[0],
            int(memory.removesuffix("M")),
            minutes(limit),
        )
        for number, state, comment, memory, limit in (line.split("|") for line in said.split())
    )


def minutes(limit: str) -> int:
    """Of Slurm's [[days-]hours:]minutes:seconds."""
    days, _, clock = limit.rpartition("-")
    hours, minute, _ = ["0", *clock.split(":")][-3:]
    return int(days or 0) * 1440 + int(hours) * 60 + int(minute)


def told(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def jobs_of(rule: str) -> list[Job]:
    return [job for job in queue() if job.rule == rule]


def until(holds: Callable[[], bool], what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in {seconds} s: {what}\n{queue()}"
        time.sleep(0.5)


def running(rule: str) -> Job:
    """The last job of a rule, as soon as it runs."""
    until(lambda: [job.state for job in jobs_of(rule)][-1:] == ["RUNNING"], f"{rule} runs")
    return jobs_of(rule)[-1]


def processes(job: Job) -> list[int]:
    """What a job has started on its node."""
    said = told("scontrol", "listpids", str(job.number)).splitlines()[1:]
    return [int(line.split()[0]) for line in said if int(line.split()[0]) > 0]


def profile(folder: Path) -> Path:
    """The shipped profile as a user would fill it in for this cluster, only more impatient."""
    words = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    del words["default-resources"]["slurm_account"]
    words["default-resources"]["slurm_partition"] = "short"
    words |= {"slurm-init-seconds-before-status-checks": 3, "latency-wait": 10}
    (folder / "config.yaml").write_text(yaml.safe_dump(words))
    return folder


class Study:
    """One study below `folder`: a command that can be started, killed, and started again."""

    def __init__(self, folder: Path, profile: str) -> None:
        self.folder, self.profile = folder, profile

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "mvlpt", "study", "tests/slurm/study.yaml"]
        words += ["--profile", self.profile, "--", "--directory", str(self.folder), *options]
        with (self.folder / "said.txt").open("a") as said:
            return subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=said)

    def said(self) -> str:
        return (self.folder / "said.txt").read_text()

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        assert process.wait(600) == 0, f"{self.said()}\n{queue()}"

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / f"results/queued/{name}.parquet")


def restart_node(job: Job) -> None:
    """What a power cut does: the daemon and all that it started are gone, then it comes back."""
    state = Path(os.environ["MVLPT_SLURM_STATE"])
    keepers = [
        int(line.split()[0])
        for line in told("ps", "-eo", "pid,args").splitlines()[1:]
        if f"slurmstepd: [{job.number}." in line
    ]
    for pid in [int((state / "slurmd.pid").read_text()), *keepers, *processes(job)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    told("slurmd")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, subprocess.Popen[bytes]]]:
    """The undisturbed study, without Slurm, begun."""
    study = Study(tmp_path_factory.mktemp("local"), "default")
    process = study.start("--cores", "1", *targets())
    yield study, process
    process.kill()
    process.wait()


def targets() -> list[str]:
    """All, or the tables of scores and what stands beside them."""
    return [] if WHOLE else ["gather", "leakage"]


@pytest.fixture(scope="module")
def disturbed(local: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Job]]:
    """The study through the queue; {disturbance: the jobs of the rule it befell}."""
    folder = tmp_path_factory.mktemp("queued")
    study = Study(folder, str(profile(tmp_path_factory.mktemp("profile"))))
    times = {}
    began = time.monotonic()

    def passed(name: str) -> None:
        nonlocal began
        times[name], began = time.monotonic() - began, time.monotonic()
        print(f"{name}: {times[name]:.0f} s", file=sys.stderr)

    # Memory that is not enough at the first attempt.
    study.finish(study.start("results/queued/backbone/backbone.json", "--config", "mem_mb=600"))
    seen = {"memory": jobs_of("backbone")}
    passed("memory")

    # The controlling process dies while its jobs run, and the same command goes on.
    controller = study.start(*targets())
    running("prepare_test")
    controller.kill()
    controller.wait()
    study.finish(study.start("--unlock"))
    controller = study.start(*targets())
    passed("controller")

    # One job hangs, one is cancelled by somebody, and one loses its node.
    hung = running("leakage")
    told("scontrol", "update", f"JobId={hung.number}", "TimeLimit=1")
    for pid in processes(hung):
        os.kill(pid, signal.SIGSTOP)
    told("scancel", str(running("features_test_1").number))
    until(lambda: jobs_of("leakage")[0].state == "TIMEOUT", "the time limit is kept")
    passed("cancel, limit")
    lost = running("tune_2")
    restart_node(lost)
    study.finish(controller)
    passed("node, rest")
    seen |= {name: jobs_of(name) for name in ("leakage", "features_test_1", "tune_2")}
    return seen


def test_debug(disturbed) -> None:
    print(disturbed, file=sys.stderr)
