"""What Snakemake does again and again between jobs, and needs to do once.

Both made up four fifths of its own time in a testbed study, in which freed cores waited for it
(speed/RECORDS.md). What it decides and records is the same.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

_USUAL_LIMIT = 100, 1  # jobs, seconds: where nobody sets --max-jobs-per-timespan


def spare_repeats(workflow: Any) -> None:
    """Let Snakemake's main process, about to start its first job, do without them.

    They are its inner parts: a version that has others keeps its repeats.
    """
    with suppress(AttributeError):
        _record_with_one_checksum_a_file(workflow)
    with suppress(AttributeError):
        _look_when_a_job_ends(workflow.scheduler)


def _record_with_one_checksum_a_file(workflow: Any) -> None:
    """A finished job's record holds its inputs' checksums once for each output: they are taken once.

    It is Snakemake's own cache that keeps them, which is otherwise off while jobs run, and only until the
    record is written.
    """
    recorded, cache = workflow.persistence.finished, workflow.iocache
    off = cache.deactivate

    async def finished(job: Any) -> None:
        cache.active = True
        try:
            await recorded(job)
        finally:
            off()

    workflow.persistence.finished = finished


def _look_when_a_job_ends(scheduler: Any) -> None:
    """Which jobs can start is looked at when one has ended, and not every second besides.

    A limit of jobs a second makes every look ask for another one a second later: after a hundred jobs there
    are a hundred a second. The usual limit binds nowhere (`cores` and `jobs` do); one that is set stays.
    """
    limit = scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == _USUAL_LIMIT:
        scheduler.job_rate_limiter = None
