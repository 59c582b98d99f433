"""Independent calls in several processes."""

from __future__ import annotations

import multiprocessing
import os
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
    or on a system that cannot fork, the calls run here.
    """
    if workers < 2 or len(calls) < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return [call() for call in calls]
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        min(workers, len(calls)), context, initializer=threadpool_limits, initargs=(1,)
    ) as pool:
        return list(pool.map(_call, calls))


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(call: Callable[[], T]) -> T:
    return call()
