"""One process works on a study at a time, and none beside jobs of one that was killed."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_workflow.running import hold, join, study_root
from support.snake import command

AT_WORK = "import sys, time; from mvlpt_workflow import running\n"
HOLD = AT_WORK + "running.hold(sys.argv[1]); print('held', flush=True); time.sleep(60)"
JOIN = AT_WORK + "running.join(sys.argv[1]); print('joined', flush=True); time.sleep(60)"
# Holds, and starts a job that joins when its standard input ends.
PARENT = (
    AT_WORK
    + """
import subprocess
running.hold(sys.argv[1])
late = "import sys; sys.stdin.read(); from mvlpt_workflow import running; running.join(sys.argv[1])"
subprocess.Popen([sys.executable, "-c", late, sys.argv[1]])
print("held", flush=True)
time.sleep(60)
"""
)


@contextmanager
def started(program: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `program` on `root`; killed in the end, at the latest."""
    command = [sys.executable, "-c", program, str(root)]
    pipe = subprocess.PIPE
    pipes: Any = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVLPT_RUN", "")


def test_a_second_process_is_told_who_works_until_the_first_is_gone(tmp_path: Path) -> None:
    with started(HOLD, tmp_path) as first:
        assert line(first.stdout) == "held\n"
        with pytest.raises(InputError, match=f"process {first.pid} on .* works on this study"):
            hold(str(tmp_path))
    hold(str(tmp_path))
    hold(str(tmp_path))  # the same process, after it became another program


def test_orphans_are_waited_for(tmp_path: Path) -> None:
    with started(JOIN, tmp_path) as orphan, started(JOIN, tmp_path) as other:
        assert line(orphan.stdout) == line(other.stdout) == "joined\n"  # side by side
        with started(HOLD, tmp_path) as waiting:
            assert "waiting for jobs of a run that was killed" in line(waiting.stderr)
            orphan.kill()
            orphan.wait()
            assert select.select([waiting.stdout], [], [], 0.2)[0] == []
            other.kill()
            assert line(waiting.stdout) == "held\n"


def test_a_job_that_starts_after_its_run_is_over_ends(tmp_path: Path) -> None:
    """Its parent died before it had joined, or it waited in a queue: with another run at work it ends."""
    with started(PARENT, tmp_path) as parent:
        assert line(parent.stdout) == "held\n"
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        with started(HOLD, tmp_path) as second:
            assert line(second.stdout) == "held\n"
            assert parent.stdin
            parent.stdin.close()
            said = parent.stderr.read() if parent.stderr else ""
    assert f"process {second.pid} on {socket.gethostname()} works on this study now" in said
    assert "this job is of a run before" in said


def test_a_job_of_the_run_at_work_joins(tmp_path: Path) -> None:
    """Also one that an executor starts without the environment of whoever holds the study."""
    hold(str(tmp_path))
    join(str(tmp_path))
    own = os.environ.pop("MVLPT_RUN")
    join(str(tmp_path))
    os.environ["MVLPT_RUN"] = own[::-1]
    with pytest.raises(InputError, match=r"works on this study now, .*: expected a job of that"):
        join(str(tmp_path))


def test_a_study_is_where_the_logs_of_its_jobs_are() -> None:
    assert study_root("results/a/logs/tune/text/pack1.log") == "results/a"
    assert study_root("below/results/logs/logs/config.log") == "below/results/logs"


def test_a_queued_job_of_a_run_before_removes_nothing(root: Path, tmp_path: Path) -> None:
    """On a cluster a job is a Snakemake, which begins by removing what the job will write."""
    at = Layout("results/tiny")
    hold(str(tmp_path / at.root))
    (tmp_path / at.config).write_text("of the run at work")
    configured = ["--configfile", str(root / "tests/workflow/config/tiny.yaml")]
    job = command(tmp_path, *configured, "--mode", "remote", "--no-hooks", "--force", at.config)
    queued = {**os.environ, "MVLPT_RUN": "another"}
    done = subprocess.run(job, env=queued, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: results/tiny: process " in done.stderr
    assert "this job is of a run before" in done.stderr
    assert (tmp_path / at.config).read_text() == "of the run at work"
    assert not (tmp_path / "results/tiny/logs").exists()
    own = {**os.environ, "MVLPT_RUN": os.environ["MVLPT_RUN"]}
    subprocess.run(job, env=own, capture_output=True, check=True)
    assert "tuning:" in (tmp_path / at.config).read_text()
