"""One job on a device at a time, none idle while work waits, and each job sees its own."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from mvlpt.study import study_command
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_workflow import devices
from mvlpt_workflow.devices import Device, take, taken_by, visible

NVIDIA_SMI = """#!/bin/sh
echo 'GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-1)'
echo 'GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-2)'
echo '  MIG 3g.20gb     Device  0: (UUID: MIG-cccc-3)'
echo '  MIG 3g.20gb     Device  1: (UUID: MIG-dddd-4)'
"""
# A short job, as the scripts are: takes a device, says when it had which, and may hang.
JOB = """
import os, sys, time
from mvlpt_workflow.devices import take
device = take("auto", int(sys.argv[2]))
begun = time.monotonic()
print(f"{os.environ['CUDA_VISIBLE_DEVICES']} {begun}", flush=True)
time.sleep(float(sys.argv[1]))
print(f"{device.name} {time.monotonic()}", flush=True)
"""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of this test alone, and a machine without GPUs and without a scheduler."""
    monkeypatch.setenv("MVLPT_DEVICE_LOCKS", str(tmp_path / "locks"))
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, the second one divided."""
    (tmp_path / "nvidia-smi").write_text(NVIDIA_SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def job(seconds: float, packs: int = 1) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", JOB, str(seconds), str(packs)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_short_jobs_share_three_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two on one device at a time, and none idle for long while a job waits."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    jobs = [job(0.4) for _ in range(15)]
    used: dict[str, list[tuple[float, float]]] = {}
    for one in jobs:
        said, _ = one.communicate(timeout=60)
        (seen, begun), (name, ended) = map(str.split, said.splitlines())
        assert seen == name
        used.setdefault(name, []).append((float(begun), float(ended)))
    assert set(used) == {"a", "b", "c"}
    last_begun = max(begun for spans in used.values() for begun, _ in spans)
    for spans in used.values():
        spans.sort()
        for (_, ended), (begun, _) in pairwise(spans):
            assert begun >= ended
        # While jobs waited, which is until the last began: a device is idle for a look or two.
        idle = [b - a for (_, a), (b, _) in pairwise(spans)]
        assert max(idle, default=0) < 2
        assert last_begun - spans[-1][1] < 2


def test_a_killed_job_frees_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "only")
    with job(60) as first:
        assert first.stdout
        assert first.stdout.readline().startswith("only ")
        with job(0) as second:
            assert second.stdout
            assert select.select([second.stdout], [], [], 0.7)[0] == []
            first.kill()
            assert second.stdout.readline().startswith("only ")


def test_packs_share_a_device_where_a_study_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as it says, spread over the devices, and never beside a job that takes one whole."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")

    def began(process: subprocess.Popen[str]) -> str | None:
        assert process.stdout
        ready = select.select([process.stdout], [], [], 0.7)[0]
        return process.stdout.readline().split()[0] if ready else None

    jobs = [job(60, packs=2)]
    try:
        assert jobs[0].stdout
        assert jobs[0].stdout.readline().startswith("a ")
        for _ in range(3):
            jobs.append(job(60, packs=2))
            assert jobs[-1].stdout
            jobs[-1].stdout.readline()
        jobs += [job(0, packs=2), job(0)]
        assert [began(waiting) for waiting in jobs[4:]] == [None, None]
        jobs[0].kill()  # of device a, which another job still shares
        assert jobs[4].communicate(timeout=20)[0].startswith("a ")
        assert began(jobs[5]) is None
        for one in jobs[1:4]:
            one.kill()
        assert jobs[5].communicate(timeout=20)[0].startswith("a ")
    finally:
        for one in jobs:
            one.kill()
            one.communicate()


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, ["GPU-aaaa-1", "MIG-cccc-3", "MIG-dddd-4"]),
        ("0", ["GPU-aaaa-1"]),
        ("1, 0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("GPU-bb", ["GPU-bbbb-2"]),  # CUDA takes beginnings too
        ("MIG-dddd-4", ["MIG-dddd-4"]),
        ("0,-1,1", ["GPU-aaaa-1"]),
        ("", []),
    ],
)
def test_the_devices_that_a_process_may_use(setting: str | None, names: list[str]) -> None:
    environment = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
    assert [device.name for device in visible(environment)] == names


@pytest.mark.usefixtures("two_gpus")
def test_what_a_job_takes_and_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    assert take("cpu") is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert take("cuda:0") == Device("GPU-aaaa-1", "GPU 0")  # torch counts as it did
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert take("auto") == Device("MIG-cccc-3", "GPU 1 part 0")  # the first is taken
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-cccc-3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert take("auto") is None
    assert take("cuda:3") is None


def test_the_schedulers_assignment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one device. Cgroups call every job's device 0: a lock of that name would be everybody's."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert take("cuda") == Device("0", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert take("cuda") == Device("0", "0")
    # Several for a study within one allocation are shared out as on a workstation.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert take("cuda") == Device("1", "1")


def test_every_user_may_open_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa/../b")
    before = os.umask(0o077)
    try:
        take("auto")
    finally:
        os.umask(before)
    (lock,) = (tmp_path / "locks").iterdir()
    assert lock.name == "mvlpt_GPU-aaaa____b.lock"
    assert lock.stat().st_mode & 0o777 == 0o644
    lock.unlink()  # as what cleans /tmp does
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"lock cannot be opened .*: expected a file"):
        take("auto")
    monkeypatch.delenv("MVLPT_DEVICE_LOCKS")
    assert str(devices._lock_file("x")) in ("/run/lock/mvlpt_x.lock", "/tmp/mvlpt_x.lock")


def test_the_log_tells_the_device(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    assert taken_by(log) is None
    log.write_text("2026-01-01 00:00:00,000 waiting for one of GPU 0, GPU 1\n")
    assert taken_by(log) is None
    log.write_text(f"{log.read_text()}2026-01-01 00:00:09,000 computing on GPU 1 part 0\n")
    assert taken_by(log) == "GPU 1 part 0"


def test_a_script_sees_one_device_before_torch_is_there(tmp_path: Path, root: Path) -> None:
    program = (
        "import json, os, sys\n"
        "from types import SimpleNamespace\n"
        "from adapter import logged\n"
        "job = SimpleNamespace(log=sys.argv[1:], input=[], output=[], rule='tune', params={}, \n"
        "    config={'device': 'auto', 'packs_per_device': 1})\n"
        "with logged(job, computes=True):\n"
        "    seen = [os.environ['CUDA_VISIBLE_DEVICES'], 'torch' in sys.modules]\n"
        "    print(json.dumps(seen))\n"
    )
    log = tmp_path / "study/logs/tune.log"
    log.parent.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", program, str(log)],
        env={
            **os.environ,
            "PYTHONPATH": str(root / "workflow/scripts"),
            "CUDA_VISIBLE_DEVICES": "x,y",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == ["x", False]
    assert taken_by(log) == "x"
    assert log.read_text().endswith(" done\n")


@pytest.mark.usefixtures("two_gpus")
def test_as_many_packs_at_a_time_as_gpus(root: Path, tmp_path: Path) -> None:
    def gpus(profile: str, *options: str, changes: Sequence[str] = ()) -> list[str]:
        words = study_command("testbed", "2", profile, options, changes)
        assert words[len(words) - len(options) :] == [*options]
        return [word for word in words if "gpu=" in word]

    assert gpus("default", "gather") == ["--resources=gpu=3"]  # with the parts of the second
    assert gpus("default", changes=["packs_per_device=4"]) == ["--resources=gpu=12"]
    assert gpus("default", "--resources", "gpu=2") == ["gpu=2"]
    assert gpus("default", "--executor=slurm") == []
    assert gpus("slurm") == gpus("workstation") == []
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    assert gpus("default") == []


def test_the_workstations_profile_says_what_the_default_one_says(root: Path) -> None:
    default, own = (
        read_yaml(root / f"workflow/profiles/{name}/config.yaml")
        for name in ("default", "workstation")
    )
    assert own == {**default, "resources": ["gpu=2"], "config": ["threads=6"]} | {
        "cores": own["cores"]
    }
