"""One job per GPU at a time, or as many as a study says: a job takes a device, sees no other, and gives it
back by ending.

Snakemake counts GPUs (`resources: gpu=1`), and cannot say which one a job gets. A device is therefore
taken by a kernel lock (flock) on a file that stands for it, which vanishes with the process, however it
ended. The files lie where every user of a machine finds them, so that two studies do not share a device
either, whoever runs them. Jobs that share a device hold its file together (a shared lock) and each a place
on it, a file of its own, so that a study which takes devices whole shares none with them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mvlpt_core.contract.errors import InputError

_log = logging.getLogger(__name__)

_VISIBLE = "CUDA_VISIBLE_DEVICES"
# Where containers of one machine have no /tmp in common, a folder that they have.
_FOLDER = "MVLPT_DEVICE_LOCKS"
_LISTED = re.compile(r"^ *(GPU|MIG)\b.*?(\d+): .*\(UUID: ([^)]+)\)", re.MULTILINE)
_TAKEN = re.compile(r" computing on (.+)$", re.MULTILINE)


class Device(NamedTuple):
    """`name` as CUDA_VISIBLE_DEVICES takes it; `label` as people know it."""

    name: str
    label: str


def visible(environment: Mapping[str, str] = os.environ) -> list[Device]:
    """The GPUs that a process of this environment may use, without starting CUDA.

    Numbers in CUDA_VISIBLE_DEVICES are nvidia-smi's. Parts of a GPU (MIG) are devices of their own.
    """
    gpus, parts = _listed()
    if _VISIBLE not in environment:
        return [device for gpu in gpus for device in parts.get(gpu.name, [gpu])]
    found = []
    for entry in filter(None, map(str.strip, environment[_VISIBLE].split(","))):
        if entry.startswith("-"):  # CUDA stops at what is no device
            break
        named = [gpu for i, gpu in enumerate(gpus) if entry == str(i) or gpu.name.startswith(entry)]
        found.append(named[0] if named else Device(entry, entry))
    return found


def take(device: str, packs: int = 1) -> Device | None:
    """Take a device for the rest of this process, before torch looks for one; None on the processor.

    `device` and `packs`, the jobs on one device at a time, are a study's settings. Waits while other jobs
    hold all that would do. A scheduler's own choice of one device is taken as it is.
    """
    if device == "cpu":
        return None
    kind, _, number = device.partition(":")
    devices = [Device("mps", "mps")] if kind == "mps" else visible()
    if number:  # torch counts among the visible, which stay as they are
        devices = devices[int(number) :][:1]
    if not devices:
        return None
    scheduled = "SLURM_JOB_ID" in os.environ and len(devices) == 1
    taken = devices[0] if scheduled else _first_free(devices, packs)
    if kind != "mps" and not number:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ[_VISIBLE] = taken.name
    _log.info("computing on %s", taken.label)
    return taken


def taken_by(log: Path) -> str | None:
    """The label of the device that the job of this log took, for those who watch."""
    try:
        found = _TAKEN.search(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[1] if found else None


def _listed() -> tuple[list[Device], dict[str, list[Device]]]:
    """The machine's GPUs, and the parts of those that are divided."""
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [], {}
    gpus: list[Device] = []
    parts: dict[str, list[Device]] = {}
    for kind, number, name in _LISTED.findall(told.stdout):
        if kind == "GPU":
            gpus.append(Device(name, f"GPU {number}"))
        else:
            part = Device(name, f"{gpus[-1].label} part {number}")
            parts.setdefault(gpus[-1].name, []).append(part)
    return gpus, parts


def _first_free(devices: Sequence[Device], packs: int) -> Device:
    """Lock the first device with a place left, of those with fewest jobs; held until this process ends."""
    said = False
    while True:
        for place in range(packs):
            for device in devices:
                if _got(device, place, packs):
                    return device
        if not said:
            _log.info("waiting for one of %s", ", ".join(device.label for device in devices))
            said = True
        time.sleep(0.1)


def _got(device: Device, place: int, packs: int) -> bool:
    """Whether a device was got: the whole of it, or a place on it beside jobs that share it too."""
    if packs == 1:
        return _locked(_lock_file(device.name), fcntl.LOCK_EX) is not None
    shared = _locked(_lock_file(device.name), fcntl.LOCK_SH)
    if shared is None:
        return False
    if _locked(_lock_file(f"{device.name}_{place}"), fcntl.LOCK_EX) is not None:
        return True
    os.close(shared)
    return False


def _locked(path: Path, how: int) -> int | None:
    """The open, locked file if the lock on it was got."""
    file = _opened(path)
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
        # What cleans /tmp may have removed the file meanwhile: others lock another one of its name.
        if os.fstat(file).st_ino == path.stat().st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(file)
    return None


def _opened(path: Path) -> int:
    """A lock file that everybody may open; nothing is ever written to it."""
    how = os.O_RDONLY | os.O_NOFOLLOW
    try:
        while True:
            try:
                return os.open(path, how)
            except FileNotFoundError:
                try:
                    file = os.open(path, how | os.O_CREAT | os.O_EXCL, 0o644)
                except FileExistsError:
                    continue
                os.fchmod(file, 0o644)  # whatever the umask
                return file
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror}): expected a file that every user may read"
        ) from None


def _lock_file(name: str) -> Path:
    """The file that stands for a device, in a place that all users of the machine share."""
    own = os.environ.get(_FOLDER)
    if own:
        folder = Path(own)
        folder.mkdir(parents=True, exist_ok=True)
    else:
        shared = filter(_shared, map(Path, ("/run/lock", "/tmp")))
        folder = next(shared, Path(tempfile.gettempdir()))
    return folder / f"mvlpt_{re.sub('[^A-Za-z0-9-]', '_', name)}.lock"


def _shared(folder: Path) -> bool:
    """Whether everybody may make files in a folder, and nobody may remove another's."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISVTX and mode & stat.S_IWOTH)
