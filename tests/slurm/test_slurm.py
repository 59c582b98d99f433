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
from typing import NamedTuple, Self

import pandas as pd
import pytest
import yaml

WHY_NOT = os.environ.get("MVLPT_NO_SLURM", "tests/slurm/with_slurm.sh starts one")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"no Slurm here: {WHY_NOT}")

ROOT = Path(__file__).resolve().parents[2]
TABLES = ["scores", "transfer", "curves", "outcomes", "truth"]
AT_FIRST = "results/queued/backbone/backbone.json"
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


def running(*rules: str) -> Job:
    """The last job of a rule, or of one of several, as soon as it runs."""
    last: list[Job] = []

    def found() -> bool:
        last[:] = [job for rule in rules for job in jobs_of(rule)[-1:] if job.state == "RUNNING"]
        return bool(last)

    until(found, f"{' or '.join(rules)} runs")
    return last[0]


def processes(job: Job) -> list[int]:
    """What a job has started on its node, which Slurm knows a moment after the job is said to run."""
    found: list[int] = []

    def known() -> bool:
        words = ["scontrol", "listpids", str(job.number)]
        said = subprocess.run(words, check=False, capture_output=True, text=True).stdout
        numbers = [int(line.split()[0]) for line in said.splitlines()[1:]]
        found[:] = [number for number in numbers if number > 0]
        return bool(found)

    until(known, f"Slurm knows the processes of {job}", 60)
    return found


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

    process: subprocess.Popen[bytes]
    befallen: dict[str, list[Job]]

    def __init__(self, folder: Path, profile: str) -> None:
        self.folder, self.profile = folder, profile

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def start(self, *options: str) -> None:
        words = [sys.executable, "-m", "mvlpt", "study", "tests/slurm/study.yaml"]
        words += ["--profile", self.profile, "--", "--directory", str(self.folder), *options]
        with (self.folder / "said.txt").open("a") as said:
            self.process = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=said)

    def said(self) -> str:
        return (self.folder / "said.txt").read_text()

    def finish(self) -> None:
        assert self.process.wait(600) == 0, f"{self.said()}\n{queue()}"

    def slurm_log(self, job: Job) -> str:
        (log,) = (self.folder / "slurm_logs").rglob(f"{job.number}.log")
        return log.read_text()

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / f"results/queued/{name}.parquet")


def cancel(job: Job) -> None:
    told("scancel", str(job.number))


def hang(job: Job) -> None:
    """It does nothing any more, and has a minute: Slurm's unit of time limits."""
    told("scontrol", "update", f"JobId={job.number}", "TimeLimit=1")
    for pid in processes(job):
        os.kill(pid, signal.SIGSTOP)


def restart_node(job: Job) -> None:
    """What a power cut does to a job: it and the node's daemon are gone, and the daemon comes back."""
    pid_file = Path(os.environ["MVLPT_SLURM_STATE"], "slurmd.pid")

    def daemon() -> int:
        until(lambda: pid_file.read_text().strip().isdigit(), "the node's daemon says its number")
        return int(pid_file.read_text())

    keepers = [
        int(line.split()[0])
        for line in told("ps", "-eo", "pid,args").splitlines()[1:]
        if f"slurmstepd: [{job.number}." in line
    ]
    for pid in [daemon(), *keepers, *processes(job)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    told("slurmd")

    def missed() -> bool:
        """The node registers anew, which it else does every few minutes, and Slurm misses the job."""
        os.kill(daemon(), signal.SIGHUP)
        time.sleep(2)
        return all(other.number != job.number or other.state != "RUNNING" for other in queue())

    until(missed, "the lost job is missed")


def targets() -> list[str]:
    """All, or the tables of scores and one that nothing of them waits for."""
    return [] if WHOLE else ["gather", "leakage"]


@pytest.fixture(scope="module")
def own_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return profile(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """The undisturbed study, without Slurm."""
    with Study(tmp_path_factory.mktemp("local"), "default") as study:
        study.start("--cores", "1", *targets())
        yield study


@pytest.fixture(scope="module")
def queued(local: Study, own_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study through the queue, disturbed; `befallen` has the jobs of each rule that something befell."""
    with Study(tmp_path_factory.mktemp("queued"), str(own_profile)) as study:
        # Less memory than the job needs: what its code alone takes is more.
        study.start(AT_FIRST, "--config", "mem_mb=600")
        study.finish()

        # One job hangs, and has a minute; one is cancelled by somebody: whichever runs first.
        study.start(*targets())
        waiting = {"leakage": hang, "features_test_1": cancel}
        while waiting:
            job = running(*waiting)
            waiting.pop(job.rule)(job)

        # The node is lost, and comes back.
        restart_node(running("tune_1"))

        # The controlling process dies while its jobs run; the same command goes on.
        running("tune_2")
        study.process.kill()
        study.process.wait()
        study.start(*targets())
        study.finish()
        study.befallen = {job.rule: jobs_of(job.rule) for job in queue()}
    return study


def test_two_gpus_are_two_jobs_or_one(own_profile: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "snakemake", "--snakefile", "tests/slurm/gpus.smk"]
    words += ["--workflow-profile", str(own_profile), "--directory", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True)
    assert {(tmp_path / f"{name}.txt").read_text() for name in ("one", "other")} == {"0\n", "1\n"}
    assert (tmp_path / "both.txt").read_text() == "0,1\n"  # seen by one process, started once


def test_too_little_memory_is_more_at_the_next_attempt(queued: Study) -> None:
    first, second = queued.befallen["backbone"]
    assert (first.state, first.memory, first.limit) == ("FAILED", 600, 60)
    assert "exceeded memory limit" in queued.slurm_log(first)
    assert (second.state, second.memory, second.limit) == ("COMPLETED", 1200, 120)


def test_a_job_over_its_time_runs_again(queued: Study) -> None:
    first, second, *_ = queued.befallen["leakage"]
    assert (first.state, first.limit) == ("TIMEOUT", 1)
    assert second.limit == 120
    assert queued.befallen["leakage"][-1].state == "COMPLETED"


def test_a_cancelled_job_runs_again(queued: Study) -> None:
    states = [job.state for job in queued.befallen["features_test_1"]]
    assert states == ["CANCELLED", "COMPLETED"]


def test_a_job_whose_node_restarts_is_queued_again_by_slurm_alone(queued: Study) -> None:
    (job,) = queued.befallen["tune_1"]
    assert job.state == "COMPLETED"
    assert "Restarts=1" in told("scontrol", "show", "job", str(job.number))


def test_a_job_of_a_killed_controller_and_its_successor_do_no_harm(queued: Study) -> None:
    *before, last = queued.befallen["tune_2"]
    assert last.state == "COMPLETED"
    assert before
    # Each was waited for, or had not begun yet, and ended without touching anything.
    for job in before:
        if job.state != "COMPLETED":
            assert job.state == "FAILED"
            assert "works on this study now, and this job is of a run before" in queued.slurm_log(
                job
            )


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_an_undisturbed_study(local: Study, queued: Study, name: str) -> None:
    local.finish()
    pd.testing.assert_frame_equal(queued.table(name), local.table(name), check_exact=True)
