"""Independent calls in several processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")


def side_by_side(calls: Sequence[partial[T]], workers: int = 1) -> list[T]:
    """Results of `calls` in order, made by up to `workers` processes.

    Processes are forked, because a fresh one would import pandas and scipy again for longer than most
    calls take, and each has one thread, whatever number the environment asks for. With one worker,
    or where forks are not safe (other systems than Linux), the calls run here.
    """
    if workers < 2 or len(calls) < 2 or sys.platform != "linux":
        return [call() for call in calls]
    context = multiprocessing.get_context("fork")
    with (
        warnings.catch_warnings(),
        ProcessPoolExecutor(
            min(workers, len(calls)), context, initializer=threadpool_limits, initargs=(1,)
        ) as pool,
    ):
        # Python 3.12 warns of forks beside threads: those of numpy and pyarrow are fork-safe.
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        return list(pool.map(_call, calls))


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(call: Callable[[], T]) -> T:
    return call()
