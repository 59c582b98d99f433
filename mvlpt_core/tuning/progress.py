"""A line every few seconds that says how far a tuning is."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from torch import Tensor

if TYPE_CHECKING:
    from tqdm import tqdm

_log = logging.getLogger(__name__)


class Progress:
    """Call it after every step with the losses [R]; it speaks at the first step, then every few
    seconds, and at the end.

    Lines go to the log; on a terminal a bar shows as well. The losses are read from the device only
    for a line.
    """

    def __init__(
        self,
        what: str,
        steps: int,
        runs: int,
        seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.steps, self.runs = what, steps, runs
        self.seconds, self.clock = seconds, clock
        self.began = self.spoke = clock()
        self.bar = _bar(what, steps) if sys.stderr.isatty() else None

    def __call__(self, step: int, losses: Tensor) -> None:
        now = self.clock()
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
        if step == 1 or step == self.steps or now - self.spoke >= self.seconds:
            self.spoke = now
            _log.info("%s", self.line(step, float(losses.nanmean()), now - self.began))
        if step == self.steps and self.bar is not None:
            self.bar.close()

    def line(self, step: int, loss: float, seconds: float) -> str:
        """What was tuned, step, loss, rate and time left."""
        rate = self.runs * step / max(seconds, 1e-9)
        left = seconds * (self.steps - step) / step
        return (
            f"{self.what}: step {step} of {self.steps}, mean loss {loss:.4f}, "
            f"{rate:.1f} runs x steps/s, {left:.0f} s left"
        )


def _bar(what: str, steps: int) -> tqdm[NoReturn]:
    from tqdm import tqdm  # for people alone: jobs write to files

    return tqdm(total=steps, desc=what, leave=False)
