"""One process works on a study at a time, and none beside jobs that a killed one left behind.

The locks are the kernel's (flock): they vanish with their process, however it ended, so that nothing
has to be released by hand. Who holds a study writes a token beside the lock and hands it to its jobs: one
that starts late, from a queue or as its parent dies, finds another token there and ends.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from mvlpt_core.contract.errors import InputError

# Options with which Snakemake tells of a study and does nothing to it.
_TELLING = {"--dry-run", "--dryrun", "-n", "--report", "--lint", "--unlock", "--dag", "--rulegraph"}
_TELLING |= {"--filegraph", "--summary", "-S", "--detailed-summary", "-D", "--list-rules", "-l"}
_TOKEN = "MVLPT_RUN"  # of whoever works on a study, in the environment of all that it starts
# The last line of a job's log, however it ended; without one of them it was killed.
ENDINGS = DONE, FAILED, STOPPED = "done", "failed", "stopped"
_GRACE = 10.0  # seconds that jobs have to stop
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
    _date_now(root)
    os.set_inheritable(owner, True)


def _date_now(root: str) -> None:
    """Date files of the future to now, in their order.

    The clock was moved back since they were written, or another machine's is ahead; what is made from them
    would be older than they are, which Snakemake refuses.
    """
    now = time.time_ns()
    dates = {path: path.lstat().st_mtime_ns for path in Path(root).rglob("*")}
    ahead = sorted((date, path) for path, date in dates.items() if date > now)
    ranks = {
        date: rank for rank, date in enumerate(sorted({date for date, _ in ahead}, reverse=True))
    }
    for date, path in ahead:
        moment = now - ranks[date] * 1000  # what every file system tells apart
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
    if ahead:
        told = f"{root}: {len(ahead)} files were of the future: dated now, has the clock been moved back?"
        print(told, file=sys.stderr, flush=True)


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


stopping = threading.Event()  # whether this process, Snakemake's or a job's, has been told to stop


def stop_with_jobs(start_no_more: Callable[[], None] | None) -> None:
    """From now on SIGINT (Ctrl-C) and SIGTERM end this process's jobs, and then this process.

    Left alone, Snakemake waits for the jobs of this machine, which may take hours. `start_no_more` tells it
    to end when none runs. None: its jobs run elsewhere, and it cancels them itself, as after Ctrl-C.
    """

    def stop(number: int, frame: object) -> None:
        if stopping.is_set():  # it is being done
            return
        stopping.set()
        if start_no_more is None:
            raise KeyboardInterrupt
        # In threads: what this one was doing may hold the locks that they need.
        for action in (start_no_more, _end_jobs):
            threading.Thread(target=action).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _end_jobs() -> None:
    """Ask every process that this one started, and starts yet, to stop; kill those that do not.

    Returns when none is left and the main thread has ended: before, this process does not end.
    """
    import psutil  # of Snakemake's process alone

    asked: set[psutil.Process] = set()
    begun = time.monotonic()
    while True:
        # Scripts before the shells that started them: without their shell they are nobody's children.
        for child in reversed(psutil.Process().children(recursive=True)):
            if child not in asked:
                asked.add(child)
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
        # Looked at and not waited for: how a shell ended, Snakemake is to be told.
        left = []
        for child in asked:
            with suppress(psutil.NoSuchProcess):
                if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
                    left.append(child)
        if time.monotonic() - begun > _GRACE:
            for child in left:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        if not left and not threading.main_thread().is_alive():
            return
        time.sleep(0.1)


def stopped(number: int, frame: object) -> None:
    """A job that is told to stop leaves as on an error, so that nothing half-written stays."""
    # Once: Ctrl-C comes from the terminal and from Snakemake.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stopping.set()
    # Libraries may swallow what is raised wherever they happen to be.
    last = threading.Timer(_GRACE / 3, _leave, [128 + number])
    last.daemon = True
    last.start()
    raise SystemExit(128 + number)


def _leave(code: int) -> None:
    logging.info(STOPPED)
    os._exit(code)


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
