"""How many of a study's runs are done, while Snakemake works on them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent


class RunsDone(logging.Handler):
    """After each job that finished runs, a line: runs done of runs to do, and the time left."""

    def __init__(
        self, dag: Any, runs: set[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`dag` is Snakemake's; `runs` are the files of all runs of the study."""
        super().__init__(logging.INFO)
        due = list(dag.needrun_jobs())
        # Runs of each job that is still to be done, by the job's number.
        self.waiting = {
            dag.jobid(job): count
            for job in due
            if (count := sum(str(path) in runs for path in job.output))
        }
        self.total, self.to_do = len(runs), sum(self.waiting.values())
        self.done = self.total - self.to_do
        self.clock, self.began = clock, clock()

    def watch(self) -> None:
        """Listen to Snakemake's messages from now on."""
        if self.waiting:
            logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) == LogEvent.JOB_FINISHED:
            finished = self.waiting.pop(getattr(record, "job_id", None), 0)
            if finished:
                self.done += finished
                logger.info(self.line())

    def line(self) -> str:
        """Runs done of all, and how long the rest takes at the pace since the start."""
        left = sum(self.waiting.values())
        text = f"{self.done:,} of {self.total:,} runs done"
        if not left:
            return text
        seconds = (self.clock() - self.began) * left / (self.to_do - left)
        return f"{text}, about {_duration(seconds)} left"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
