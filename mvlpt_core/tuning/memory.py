"""Fewer runs side by side where memory is full."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from mvlpt_core.contract.errors import InputError, memory_is_full

_log = logging.getLogger(__name__)

R = TypeVar("R")


def within_memory(
    runs: Sequence[str], work: Callable[[Sequence[str]], R]
) -> Iterator[tuple[Sequence[str], R]]:
    """`work` on all runs at once; where memory is full, on each half by itself, and so on.

    A run's result does not depend on its neighbours. Raises `InputError` where one alone is too much.
    """
    try:
        done = work(runs)
    except (MemoryError, RuntimeError) as error:
        if not memory_is_full(error):
            raise
    else:
        yield runs, done
        return
    # Out here the error, and what it held on to, is gone.
    if len(runs) == 1:
        raise InputError(
            f"the run from {runs[0]}: memory is full with this one alone: expected a smaller memory_gb, "
            "or more memory"
        )
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(runs) // 2
    _log.warning("memory is full with %d runs side by side: going on with %d", len(runs), half)
    yield from within_memory(runs[:half], work)
    yield from within_memory(runs[half:], work)
