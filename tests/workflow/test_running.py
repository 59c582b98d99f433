"""One process works on a study at a time, and none beside jobs of one that was killed."""

import select
import subprocess
import sys
from pathlib import Path

import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_workflow.running import hold, study_root

AT_WORK = "import sys, time; from mvlpt_workflow import running\n"
HOLD = AT_WORK + "running.hold(sys.argv[1]); print('held', flush=True); time.sleep(60)"
JOIN = AT_WORK + "running.join(sys.argv[1]); print('joined', flush=True); time.sleep(60)"


def started(program: str, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVLPT_HOLDS", "")


def test_a_second_process_is_told_who_works_until_the_first_is_gone(tmp_path: Path) -> None:
    first = started(HOLD, tmp_path)
    with pytest.raises(InputError, match=f"process {first.pid} on .* works on this study"):
        hold(str(tmp_path))
    first.kill()
    first.wait()
    hold(str(tmp_path))
    hold(str(tmp_path))  # the same process, after it became another program


def test_orphans_are_waited_for(tmp_path: Path) -> None:
    orphan = started(JOIN, tmp_path)
    second = started(JOIN, tmp_path)  # jobs run side by side
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None
    assert waiting.stderr is not None
    assert "waiting for jobs of a run that was killed" in waiting.stderr.readline()
    orphan.kill()
    orphan.wait()
    assert select.select([waiting.stdout], [], [], 0.2)[0] == []  # the second is still at work
    second.kill()
    second.wait()
    assert waiting.stdout.readline() == "held\n"
    waiting.kill()
    waiting.wait()


def test_a_study_is_where_the_logs_of_its_jobs_are() -> None:
    assert study_root("results/a/logs/tune/text/pack1.log") == "results/a"
    assert study_root("below/results/logs/logs/config.log") == "below/results/logs"
