"""One process works on a study at a time, and none beside jobs that a killed one left behind.

The locks are the kernel's (flock): they vanish with their process, however it ended, so that nothing
has to be released by hand. Who holds a study writes a token beside the lock and hands it to its jobs: one
that starts late, from a queue or as its parent dies, finds another token there and ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import uuid
from pathlib import Path

from mvlpt_core.contract.errors import InputError

_TOKEN = "MVLPT_RUN"  # of whoever works on a study, in the environment of all that it starts
_UNKNOWN = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # file systems without such locks


def study_root(log: str) -> str:
    """The folder of the study that a job's log is in: `results/<study>/logs/...`."""
    return str(next(path for path in Path(log).parents if path.name == "logs").parent)


def hold(root: str) -> None:
    """Hold a study to the end of this process, and of the program that it becomes (exec).

    Waits, and says so, for jobs that still run though whoever started them is gone. Raises `InputError`
    where another process works on the study.
    """
    owner = _open(root, ".lock")
    me = f"process {os.getpid()} on {socket.gethostname()}"
    if _holder(owner) == (me, os.environ.get(_TOKEN)):  # held before it became another program
        os.close(owner)
        return
    if not _locked(owner, fcntl.LOCK_EX | fcntl.LOCK_NB):
        who = _holder(owner)[0] or "another process"
        raise InputError(f"{root}: {who} works on this study: expected one at a time")
    os.environ[_TOKEN] = uuid.uuid4().hex
    # Never empty in between, for a job of an earlier run that looks just now; and on the disk, for those of
    # other machines.
    written = os.pwrite(owner, f"{me}\n{os.environ[_TOKEN]}\n".encode(), 0)
    os.ftruncate(owner, written)
    os.fsync(owner)
    jobs = _open(root, ".jobs")
    if not _locked(jobs, fcntl.LOCK_EX | fcntl.LOCK_NB):
        print(f"{root}: waiting for jobs of a run that was killed", file=sys.stderr, flush=True)
        _locked(jobs, fcntl.LOCK_EX)
    os.close(jobs)
    os.set_inheritable(owner, True)


def join(root: str) -> None:
    """A job counts as at work on the study to the end of its process.

    Raises `InputError` for a job of a run that is over, where another one has begun: nothing that the
    job would write is wanted any more. Jobs that an executor starts without our environment all count.
    """
    _locked(_open(root, ".jobs"), fcntl.LOCK_SH)
    file = _open(root, ".lock")
    who, token = _holder(file)
    os.close(file)
    own = os.environ.get(_TOKEN)
    if own and token and own != token:
        raise InputError(
            f"{root}: {who} works on this study now, and this job is of a run before: expected a job "
            "of that process"
        )


def _holder(file: int) -> tuple[str, str]:
    """Who holds a study, in words, and its token; both empty where nobody did yet."""
    who, token, *_ = [*os.pread(file, 400, 0).decode(errors="replace").split("\n"), ""]
    return who, token


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
