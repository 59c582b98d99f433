"""One process works on a study at a time, and none beside jobs of one that was killed."""

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_workflow.running import hold, study_root

AT_WORK = "import sys, time; from mvlpt_workflow import running\n"
HOLD = AT_WORK + "running.hold(sys.argv[1]); print('held', flush=True); time.sleep(60)"
JOIN = AT_WORK + "running.join(sys.argv[1]); print('joined', flush=True); time.sleep(60)"


@contextmanager
def started(program: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `program` on `root`; killed in the end, at the latest."""
    command = [sys.executable, "-c", program, str(root)]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
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
    monkeypatch.setenv("MVLPT_HOLDS", "")


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


def test_a_study_is_where_the_logs_of_its_jobs_are() -> None:
    assert study_root("results/a/logs/tune/text/pack1.log") == "results/a"
    assert study_root("below/results/logs/logs/config.log") == "below/results/logs"
