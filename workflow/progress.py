"""How far a study is, on which devices, and what its failed jobs said last, while Snakemake works on it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from mvlpt_workflow.configuration import counted
from mvlpt_workflow.devices import taken_by
from mvlpt_workflow.running import ENDINGS, STOPPED, stopping

_TAIL = 8  # lines of a failed job's log
_SHOWN = 4  # running jobs in one report
_STAMP = len("2026-01-01 00:00:00,000 ")


class Watch(logging.Handler):
    """Listens to Snakemake: a line after each pack that finished, one a minute of those that run, and the
    end of a failed job's log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, every: float = 60) -> None:
        """`every` is in seconds."""
        super().__init__(logging.INFO)
        self.clock, self.every = clock, every
        self.jobs: dict[int, Any] = {}  # to be done, by number
        self.waiting: dict[int, int] = {}  # runs of each pack that is still to be done
        self.packs = self.total = self.to_do = 0  # of the whole study; runs to do at the start
        self.running: dict[int, Any] = {}
        self.failed: dict[int, Any] = {}
        self.on: Counter[str] = Counter()  # packs done by device
        self.began: float | None = None  # of the first pack

    def watch(self, dag: Any, runs: set[str]) -> None:
        """Listen from now on; `dag` is Snakemake's, `runs` are the files of all runs of the study."""
        self.plan(dag, runs)
        if self.jobs:
            logger.addFilter(_shortened)
            logger.addHandler(self)
            threading.Thread(target=self._report, daemon=True).start()

    def plan(self, dag: Any, runs: set[str]) -> None:
        """Note what there is to do."""
        counts = {job: sum(str(path) in runs for path in job.output) for job in dag.jobs}
        self.packs = sum(map(bool, counts.values()))
        self.jobs = {dag.jobid(job): job for job in dag.needrun_jobs()}
        self.waiting = {number: counts[job] for number, job in self.jobs.items() if counts[job]}
        self.total, self.to_do = len(runs), sum(self.waiting.values())

    def emit(self, record: logging.LogRecord) -> None:
        event, number = getattr(record, "event", None), getattr(record, "job_id", -1)
        if event == LogEvent.JOB_STARTED:
            self._start(getattr(record, "jobs", []))
        elif event == LogEvent.JOB_FINISHED:
            self.failed.pop(number, None)  # at an earlier attempt
            job = self.running.pop(number, None)
            if self.waiting.pop(number, 0):
                device = taken_by(log_of(job)) if job else None
                self.on.update([device] if device else [])
                logger.info(self.line())
        elif event == LogEvent.JOB_ERROR:
            number = getattr(record, "jobid", -1)
            job = self.running.pop(number, None)
            # A job that was only beginning when the study was stopped cannot say so yet.
            told = STOPPED if stopping.is_set() else None
            if job is not None and (ending(job) or told) != STOPPED:
                self.failed[number] = job
                logger.error("\n".join(last_words(job)))

    def _start(self, numbers: list[int]) -> None:
        if self.began is None and not self.waiting.keys().isdisjoint(numbers):
            self.began = self.clock()
        self.running |= {n: self.jobs[n] for n in numbers if n in self.jobs and self.jobs[n].log}

    def line(self) -> str:
        """Packs and runs done, the time that the rest takes at their pace, and where they ran."""
        left = sum(self.waiting.values())
        text = (
            f"{self.packs - len(self.waiting):,} of {self.packs:,} packs, "
            f"{self.total - left:,} of {self.total:,} runs done"
        )
        if left and self.began is not None:
            seconds = (self.clock() - self.began) * left / (self.to_do - left)
            text += f", about {_duration(seconds)} left"
        devices = ", ".join(f"{self.on[device]:,} on {device}" for device in sorted(self.on))
        return f"{text} ({devices})" if devices else text

    def at_work(self) -> Iterator[str]:
        """What jobs that run said last, and where they run; of those that wait in a queue nothing."""
        begun = [
            job for job in list(self.running.values()) if _lines(log_of(job)) and not ending(job)
        ]
        for job in begun[:_SHOWN]:
            device = taken_by(log_of(job))
            place = f" on {device}" if device else ""
            yield f"running: {job.rule.name}{place}: {_lines(log_of(job))[-1][_STAMP:]}"
        if len(begun) > _SHOWN:
            yield f"running: {len(begun) - _SHOWN} more"

    def _report(self) -> None:
        while True:
            time.sleep(self.every)
            for line in self.at_work():
                logger.info(line)

    def failures(self) -> str:
        """What failed and what it said last, for the end of the run; empty where nothing failed."""
        if not self.failed:
            return ""
        lost = sum(number in self.waiting for number in self.failed)
        head = (
            f"{counted(len(self.failed), 'job')} failed, {lost} of them packs: the same command tries "
            "again"
        )
        jobs = list(self.failed.values())[:_SHOWN]
        return "\n".join([head, *(line for job in jobs for line in last_words(job))])


def last_words(job: Any) -> list[str]:
    """The end of a failed job's log; where a script left none, what that means."""
    log, lines = log_of(job), _lines(log_of(job))
    head = f"{job.rule.name} failed; the end of {log}:"
    if not job.is_script:
        return [head, *(f"    {line}" for line in lines[-_TAIL:])]
    if ending(job):
        return [head, *(f"    {line}" for line in lines[-_TAIL - 1 : -1])]
    return [
        head,
        *(f"    {line}" for line in lines[-2:]),
        "    It ended without a word: killed, as systems do to what needs more memory than there is: "
        "expected less side by side (memory_gb or pack of the study), or a larger mem_mb on a cluster",
    ]


def ending(job: Any) -> str | None:
    """How a script says that it ended; None where it did not come to that."""
    last = (_lines(log_of(job)) or [""])[-1][_STAMP:]
    return last if last in ENDINGS else None


def log_of(job: Any) -> Path:
    """A job's log; every rule has one."""
    return Path(str(job.log[0]))


def _shortened(record: logging.LogRecord) -> bool:
    """A failed pack's message without the names of its hundreds of files; a logging filter."""
    if getattr(record, "event", None) == LogEvent.JOB_ERROR:
        record.input = record.output = []
    return True


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
