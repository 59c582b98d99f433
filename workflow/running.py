"""One process works on a study at a time, and none beside jobs that a killed one left behind.

The locks are the kernel's (flock): they vanish with their process, however it ended, so that nothing
has to be released by hand.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from mvlpt_core.contract.errors import InputError

_HELD = "MVLPT_HOLDS"  # the study that this process held before it became Snakemake
# Options with which Snakemake tells of a study and does nothing to it.
_TELLING = {"--dry-run", "--dryrun", "-n", "--report", "--lint", "--unlock", "--dag", "--rulegraph"}
_TELLING |= {"--filegraph", "--summary", "-S", "--detailed-summary", "-D", "--list-rules", "-l"}
_UNKNOWN = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # file systems without such locks


def study_root(log: str) -> str:
    """The folder of the study that a job's log is in: `results/<study>/logs/...`."""
    return str(next(path for path in Path(log).parents if path.name == "logs").parent)


def tells(options: Iterable[str]) -> bool:
    """Whether Snakemake, called with these options, only tells of a study."""
    return any(option.partition("=")[0] in _TELLING for option in options)


def hold(root: str) -> None:
    """Hold a study to the end of this process, and of the program that it becomes (exec).

    Waits, and says so, for jobs that still run though whoever started them is gone. Raises `InputError`
    where another process works on the study.
    """
    place = os.path.realpath(root)
    if os.environ.get(_HELD) == place:
        return
    owner = _open(root, ".lock")
    if not _locked(owner, fcntl.LOCK_EX | fcntl.LOCK_NB):
        who = os.pread(owner, 200, 0).decode(errors="replace").strip() or "another process"
        raise InputError(f"{root}: {who} works on this study: expected one at a time")
    os.ftruncate(owner, 0)
    os.pwrite(owner, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    jobs = _open(root, ".jobs")
    if not _locked(jobs, fcntl.LOCK_EX | fcntl.LOCK_NB):
        print(f"{root}: waiting for jobs of a run that was killed", file=sys.stderr, flush=True)
        _locked(jobs, fcntl.LOCK_EX)
    os.close(jobs)
    os.set_inheritable(owner, True)
    os.environ[_HELD] = place


def join(root: str) -> None:
    """A job counts as at work on the study to the end of its process."""
    _locked(_open(root, ".jobs"), fcntl.LOCK_SH)


def _open(root: str, name: str) -> int:
    """A file to lock; it stays open, and the lock held, until the process ends."""
    Path(root).mkdir(parents=True, exist_ok=True)
    return os.open(Path(root, name), os.O_RDWR | os.O_CREAT, 0o666)


def _locked(file: int, how: int) -> bool:
    """Whether the lock was got; where the file system knows none, it counts as got."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    return True
