"""Seconds of some work, on a machine that others share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def seconds(threads: int, work: Callable[[], object]) -> float:
    """Of the processor with one thread, children included, which other work on the machine hardly
    changes; of the clock with several."""

    def now() -> float:
        return sum(os.times()[:4]) if threads == 1 else time.perf_counter()

    start = now()
    work()
    return now() - start
