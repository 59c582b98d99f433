"""What a machine may lack is one sentence in the log and on the terminal, and leaves nothing half-written."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mvlpt.cli import main
from mvlpt_analysis.figures.style import save
from mvlpt_analysis.read.pairs import write_frame
from mvlpt_core.contract.errors import InputError, lack_of_the_machine
from mvlpt_core.contract.files import write_atomic
from mvlpt_core.contract.rows import write_rows
from mvlpt_core.contract.tensors import write_tensors

# A job as the scripts are, which fails as its argument says, below a limit on the size of a file.
JOB = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
from adapter import logged
resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
log = Path(sys.argv[1])
job = SimpleNamespace(log=[str(log)], input=[], output=[], rule="tune", config={}, params={})
with logged(job):
    from mvlpt_core.contract.files import write_atomic
    if sys.argv[2] == "disk":
        write_atomic(log.parent.parent / "runs/1.parquet", bytes(1000))
    elif sys.argv[2] == "memory":
        raise MemoryError
    raise OSError("of another kind")
"""


def run_job(root: Path, log: Path, fault: str) -> subprocess.CompletedProcess[str]:
    log.parent.mkdir(parents=True)
    return subprocess.run(
        [sys.executable, "-c", JOB, str(log), fault],
        env={**os.environ, "PYTHONPATH": str(root / "workflow/scripts")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("disk", r"\S+/runs/1.parquet cannot be written \(File too large\): expected room for it"),
        ("memory", r"memory is full: expected less side by side \(a smaller memory_gb or pack .*"),
    ],
)
def test_a_job_ends_with_the_sentence(
    root: Path, tmp_path: Path, fault: str, sentence: str
) -> None:
    log = tmp_path / "study/logs/1.log"
    done = run_job(root, log, fault)
    assert done.returncode == 1
    assert re.fullmatch(f"error: {sentence}\n", done.stderr)
    said, end = log.read_text().splitlines()
    assert re.fullmatch(f".{{23}} {sentence}", said)
    assert end.endswith(" failed")
    assert not [path for path in (tmp_path / "study/runs").glob("*") if path.is_file()]


def test_another_error_keeps_its_stack(root: Path, tmp_path: Path) -> None:
    done = run_job(root, tmp_path / "study/logs/1.log", "other")
    assert "Traceback" in done.stderr
    assert lack_of_the_machine(OSError("of another kind")) is None
    assert lack_of_the_machine(FileNotFoundError(errno.ENOENT, "none", "x")) is None
    assert lack_of_the_machine(RuntimeError("shapes")) is None


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk with 8 KB, where disks may be mounted."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


NOISE = np.random.default_rng(1).integers(0, 255, 50_000, dtype=np.uint8)
ROW = {"target": "a", "step": 0, "split": "test", "metric": "accuracy", "n": 1, "status": "ok"}


def draw(path: Path) -> None:
    figure = Figure(figsize=(4, 4))
    figure.subplots().imshow(NOISE[:40_000].reshape(200, 200))
    save(figure, path.with_suffix(""))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        (
            "run.parquet",
            lambda path: write_rows(path, [{**ROW, "selected": True, "outcomes": NOISE.tobytes()}]),
        ),
        ("table.csv", lambda path: write_frame(pd.DataFrame({"a": NOISE}), path)),
        ("table.parquet", lambda path: write_frame(pd.DataFrame({"a": NOISE}), path)),
        ("features.safetensors", lambda path: write_tensors(path, "features", {}, {"a": NOISE})),
        ("text.html", lambda path: write_atomic(path, NOISE.tobytes())),
        ("figure.png", draw),
    ],
)
def test_a_full_disk_is_one_sentence_and_no_half_file(
    full: Path, name: str, write: Callable[[Path], None]
) -> None:
    with pytest.raises(OSError, match=r"(?i)no space left") as raised:
        write(full / name)
    said = str(lack_of_the_machine(raised.value))
    assert (
        said == f"{full / name} cannot be written (No space left on device): expected room for it"
    )
    assert list(full.iterdir()) == []


def test_results_that_may_not_be_written_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "results/x/1.csv")

    monkeypatch.setattr("mvlpt_core.contract.files.check_writable", refused)
    assert main(["analyse", "x.csv", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: results/x/1.csv cannot be written (Read-only file system): expected a folder that may "
        "be written to\n"
    )
    assert isinstance(lack_of_the_machine(PermissionError(errno.EACCES, "no", "x")), InputError)


def test_ctrl_c_is_no_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mvlpt_core.contract.files.check_writable", interrupted)
    assert main(["analyse", "x.csv"]) == 130
    assert capsys.readouterr().err == "stopped\n"
