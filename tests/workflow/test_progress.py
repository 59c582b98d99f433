"""What whoever watches a study is told: packs and runs done, by device; a failed job's last words."""

import logging
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from mvlpt_workflow import progress
from mvlpt_workflow.progress import Watch

STAMP = "2026-01-01 00:00:00,000"


class Job:
    """As much of Snakemake's as is asked for."""

    is_script = True

    def __init__(self, rule: str, output: list[str], log: Path) -> None:
        self.rule, self.output, self.log = SimpleNamespace(name=rule), output, [str(log)]


class Dag:
    """Three packs of two runs, of which one is done, and a job without runs."""

    def __init__(self, folder: Path) -> None:
        self.jobs = [
            Job(f"tune_{n}" if n < 3 else "gather", [f"{n}a", f"{n}b"], folder / f"{n}.log")
            for n in range(4)
        ]

    def jobid(self, job: Any) -> int:
        return 10 + self.jobs.index(job)

    def needrun_jobs(self) -> list[Any]:
        return self.jobs[1:]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is logged, as it comes."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.setLevel(before)
    logger.removeHandler(handler)


def watch(folder: Path, clock: Clock) -> Watch:
    made = Watch(clock)
    made.plan(Dag(folder), {f"{n}{run}" for n in range(3) for run in "ab"})
    return made


def tell(watch: Watch, event: LogEvent, **values: Any) -> None:
    record = logging.makeLogRecord({"event": event, "levelno": logging.INFO, **values})
    watch.handle(record)


def write(folder: Path, number: int, *lines: str) -> None:
    (folder / f"{number}.log").write_text("".join(f"{STAMP} {line}\n" for line in lines))


def test_packs_and_runs_by_device_and_time_left(tmp_path: Path, said: list[str]) -> None:
    clock = Clock()
    watching = watch(tmp_path, clock)
    assert watching.line() == "1 of 3 packs, 2 of 6 runs done"
    clock.now = 500.0  # images are prepared
    tell(watching, LogEvent.JOB_STARTED, jobs=[11, 12])
    write(tmp_path, 1, "computing on GPU 0", "text, a from b: step 3 of 9")
    write(tmp_path, 2, "done")  # of a run before: this one waits in a queue
    assert list(watching.at_work()) == ["running: tune_1 on GPU 0: text, a from b: step 3 of 9"]
    clock.now = 800.0
    tell(watching, LogEvent.JOB_FINISHED, job_id=11)
    assert said == ["2 of 3 packs, 4 of 6 runs done, about 5 min left (1 on GPU 0)"]
    write(tmp_path, 2, "computing on GPU 1", "done")
    tell(watching, LogEvent.JOB_FINISHED, job_id=12)
    assert said[1:] == ["3 of 3 packs, 6 of 6 runs done (1 on GPU 0, 1 on GPU 1)"]
    tell(watching, LogEvent.JOB_STARTED, jobs=[13])
    tell(watching, LogEvent.JOB_FINISHED, job_id=13)
    assert len(said) == 2
    assert watching.failures() == ""


def test_a_failed_jobs_last_words(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = watch(tmp_path, Clock())
    tell(watching, LogEvent.JOB_STARTED, jobs=[11, 12])
    write(tmp_path, 1, *map(str, range(1000)), "x.parquet: not score rows", "failed")
    tell(watching, LogEvent.JOB_ERROR, jobid=11)
    assert said[0].startswith(f"tune_1 failed; the end of {tmp_path / '1.log'}:\n")
    assert said[0].endswith(f"    {STAMP} 999\n    {STAMP} x.parquet: not score rows")
    assert len(said[0].splitlines()) == 9
    write(tmp_path, 2, "step 1 of 9")
    tell(watching, LogEvent.JOB_ERROR, jobid=12)
    assert "step 1 of 9\n    It ended without a word: killed, as systems do" in said[1]
    assert "(memory_gb or pack of the study)" in said[1]
    head, *rest = watching.failures().splitlines()
    assert head == "2 jobs failed, 2 of them packs: the same command tries again"
    assert rest == "\n".join(said).splitlines()
    # A retry that ends well is no failure, nor is a job that was told to stop.
    tell(watching, LogEvent.JOB_STARTED, jobs=[11])
    tell(watching, LogEvent.JOB_FINISHED, job_id=11)
    assert watching.failures().startswith("1 job failed, 1 of them packs")
    tell(watching, LogEvent.JOB_STARTED, jobs=[13])
    write(tmp_path, 3, "stopped")
    tell(watching, LogEvent.JOB_ERROR, jobid=13)
    assert watching.failures().startswith("1 job failed, 1 of them packs")
    # Nor is one that was only beginning when the study was.
    monkeypatch.setattr(progress.stopping, "is_set", lambda: True)
    write(tmp_path, 3)
    tell(watching, LogEvent.JOB_STARTED, jobs=[13])
    tell(watching, LogEvent.JOB_ERROR, jobid=13)
    assert watching.failures().startswith("1 job failed, 1 of them packs")


# Stands for Snakemake: waits for its job, a script below a shell, and ends when it is told to start no more.
PARENT = """
import subprocess, sys, threading
from mvlpt_workflow.running import stop_with_jobs
stopping = threading.Event()
stop_with_jobs(stopping.set)
words = ["bash", "-c", '"$0" -c "$@"; true', sys.executable, *sys.argv[1:]]
subprocess.Popen(words).wait()
sys.exit(1 if stopping.wait(20) else 2)
"""
JOB = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from adapter import logged
job = SimpleNamespace(log=[sys.argv[1]], input=[], output=[], rule="tune", config={}, params={})
with logged(job):
    from mvlpt_core.contract.files import whole
    with whole(Path(sys.argv[1]).with_name("result")) as part:
        part.write_text("half")
        print("at work", flush=True)
        try:
            time.sleep(60)
        except SystemExit:
            if sys.argv[2] == "broken":
                raise ImportError("what a library makes of it") from None
            if sys.argv[2] == "swallowed":
                time.sleep(60)
            raise
"""


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGINT, "plain"),
        (signal.SIGTERM, "plain"),
        (signal.SIGTERM, "broken"),
        (signal.SIGTERM, "swallowed"),
    ],
)
def test_told_to_stop_it_ends_its_jobs_first(
    tmp_path: Path, root: Path, number: int, how: str
) -> None:
    log = tmp_path / "study/logs/1.log"
    log.parent.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, JOB, str(log), how],
        env={**os.environ, "PYTHONPATH": str(root / "workflow/scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        assert parent.stderr
        assert parent.stdout.readline() == "at work\n"
        begun = time.monotonic()
        parent.send_signal(number)
        assert parent.wait(30) == 1
        assert time.monotonic() - begun < 9
        # Both ends of the pipe are closed: no process is left.
        assert select.select([parent.stdout], [], [], 5)[0]
        assert parent.stdout.read() == ""
        assert parent.stderr.read() == ""
    assert re.fullmatch(r"\S+ \S+ stopped\n", log.read_text())
    if how != "swallowed":  # its half file goes when the study is started again
        assert [path.name for path in log.parent.iterdir()] == ["1.log"]
