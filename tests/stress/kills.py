"""Kills a study at random moments, continues it by the same command, and compares all that it wrote with what
one that was left alone wrote.

    .venv/bin/python tests/stress/kills.py 20

kills twenty times and prints, for each, what was killed and how, when, what it cost and what came of it: a
quarter of an hour on two cores. tests/workflow/test_workflow.py kills a study four times on its way.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/workflow/config/tiny.yaml"
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
SUFFIXES = (".csv", ".parquet", ".safetensors", ".npy")
WHO = ("tree", "parent", "worker")  # all processes, Snakemake alone, one job alone


class Kill(NamedTuple):
    """What was killed and how; seconds from the command's start to its first job, to the kill, and from there
    to its end; seconds of jobs lost; the most memory of all processes, in megabytes; the exit code."""

    who: str
    how: str
    planned: float
    after: float
    ending: float
    lost: float
    peak: float
    code: int


class Study:
    """A study below `folder`, by one command: started, struck, and started again."""

    def __init__(self, folder: Path, config: Path = TINY, *options: str, umask: int = -1) -> None:
        self.folder, self.umask = folder, umask
        self.command = [sys.executable, "-m", "mvlpt", "study", str(config), "--cores", "2"]
        self.command += [*options, "--", "--nocolor"]
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """In a session of its own: the leader, all jobs and whatever they start belong to it."""
        with self.output.open("wb") as said:
            streams: Any = {"stdout": said, "stderr": said}
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, start_new_session=True, umask=self.umask, **streams
            )
        self.begun, self.planned, self.peak = time.monotonic(), 0.0, 0.0

    @property
    def output(self) -> Path:
        """What the command said since it was last started."""
        return self.folder / "said.txt"

    def members(self) -> list[psutil.Process]:
        """The processes of the study, orphans too."""
        return [process for process in psutil.process_iter() if self._own(process)]

    def _own(self, process: psutil.Process) -> bool:
        try:
            own = os.getsid(process.pid) == self.process.pid
            return own and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False

    def jobs(self) -> list[psutil.Process]:
        """Scripts at work."""
        return [process for process in self.members() if any(map(_script, _words(process)[1:]))]

    def just_begun(self) -> bool:
        """Whether the latest script at work has its end still before it."""
        return any(time.time() - job.create_time() < 1 for job in self.jobs())

    def look(self) -> None:
        """Note how much memory is used, and whether the first job is at work."""
        members = self.members()
        self.peak = max(self.peak, sum(map(_resident, members)) / 1e6)
        if not self.planned and any(_script(word) for m in members for word in _words(m)[1:]):
            self.planned = time.monotonic() - self.begun

    def until(self, happened: Callable[[], bool]) -> bool:
        """Wait; whether it happened before the command ended."""
        while self.process.poll() is None:
            self.look()
            if happened():
                return True
            time.sleep(0.1)
        return False

    def strike(self, who: str, how: signal.Signals) -> Kill:
        """Kill what `who` says, and wait for the command's end; after a clean stop no process is left."""
        jobs, now = self.jobs(), time.monotonic()
        jobs.sort(key=psutil.Process.create_time)
        victims = jobs[-1:] if who == "worker" else jobs
        ages = [time.time() - job.create_time() for job in victims]
        if who == "tree":
            os.killpg(self.process.pid, how)
        elif who == "parent":
            self.process.send_signal(how)
        else:
            for job in victims:
                job.send_signal(how)
        orphaned = (who, how) == ("parent", signal.SIGKILL)
        self.until(lambda: False)
        code = self.process.wait()
        if not orphaned:
            psutil.wait_procs(self.members(), timeout=5)
            assert not self.members(), f"{who}, {how.name}: {self.members()} are left"
        if who != "worker" or victims:
            assert code != 0, f"{who}, {how.name}: exit code 0\n{self.output.read_text()}"
        return Kill(
            who,
            how.name,
            self.planned,
            now - self.begun,
            time.monotonic() - now,
            0.0 if orphaned else sum(ages),
            self.peak,
            code,
        )

    def finish(self) -> str:
        """To the end; what the command said."""
        self.until(lambda: False)
        said = self.output.read_text(errors="replace")
        assert self.process.wait() == 0, said
        return said


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _script(word: str) -> bool:
    return ".snakemake/scripts/" in word and "\n" not in word and " " not in Path(word).name


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def results(folder: Path) -> Iterator[Path]:
    """Tables, runs, prompts, features, images below a folder, by their place; figures show the same."""
    for path in sorted(folder.glob("results/*/**/*")):
        place = path.relative_to(folder)
        if path.suffix in SUFFIXES and not {"figures", "set_aside"} & set(place.parts):
            yield place


def differences(folder: Path, reference: Path) -> list[Path]:
    """What is not the same in two folders: bytes, and of parquet files the values."""
    mine, theirs = set(results(folder)), set(results(reference))
    return sorted(mine ^ theirs) + [
        place for place in sorted(mine & theirs) if not _same(folder / place, reference / place)
    ]


def _same(path: Path, other: Path) -> bool:
    if path.suffix == ".parquet":
        return bool(pq.read_table(path).equals(pq.read_table(other)))
    return path.read_bytes() == other.read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("kills", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the moments and of what is killed")
    given = parser.parse_args()
    choose = random.Random(given.seed)
    kinds = [(who, how) for who in WHO for how in SIGNALS]
    plan = [kinds[i % len(kinds)] for i in range(given.kills)]
    choose.shuffle(plan)
    with tempfile.TemporaryDirectory() as place:
        return stress(Path(place), plan, choose)


def stress(place: Path, plan: list[tuple[str, signal.Signals]], choose: random.Random) -> int:
    """Carry out the plan, in as many rounds as that takes; the number of files that differ."""
    reference = Study(_made(place / "reference"))
    reference.start()
    reference.finish()
    whole = time.monotonic() - reference.begun
    print(f"left alone: {whole:.0f} s, at most {reference.peak:.0f} MB")
    print("killed  how      jobs from   after    end   lost s   MB  code  files made")
    rounds, wrong, spent, worst = 0, 0, 0.0, 0.0
    while plan:
        rounds += 1
        study = Study(_made(place / f"round{rounds}"))
        while True:
            study.start()
            moment = time.monotonic() + choose.uniform(1, 0.8 * whole)
            if not plan or not study.until(lambda at=moment: time.monotonic() >= at):  # type: ignore[misc]
                study.finish()
                spent += time.monotonic() - study.begun
                break
            kill = study.strike(*plan.pop())
            spent += kill.after + kill.ending
            worst = max(worst, kill.peak)
            print(
                f"{kill.who:7} {kill.how:8} {kill.planned:8.1f} {kill.after:7.1f} {kill.ending:6.1f}"
                f" {kill.lost:8.1f} {kill.peak:4.0f} {kill.code:5d} {len(list(results(study.folder))):6d}",
                flush=True,
            )
        found = differences(study.folder, reference.folder)
        wrong += len(found)
        files = len(list(results(study.folder)))
        print(f"round {rounds} is done: {files} files, {len(found)} differ: {[*map(str, found)]}")
    print(
        f"{rounds} rounds in {spent:.0f} s, left alone {rounds * whole:.0f} s; at most {worst:.0f} MB"
    )
    return min(wrong, 1)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
