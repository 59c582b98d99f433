"""Seconds of some work on a processor that others share, and its rate in matrix products."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from mvlpt_core.backbone.towers import Backbone

_ROWS = 32 * 197  # of 32 images in ViT-B-16


def seconds(threads: int, work: Callable[[], object]) -> float:
    """Of the processor with one thread, children included, which other work on the machine hardly
    changes; of the clock with several."""

    def now() -> float:
        if threads != 1:
            return time.perf_counter()
        children = os.times()
        return time.process_time() + children.children_user + children.children_system

    start = now()
    work()
    return now() - start


def matrix_rate(backbone: Backbone) -> Callable[[], float]:
    """A function that measures operations per second of a large product of the image tower's shape."""
    width, dtype = backbone.image.width, backbone.matrix_dtype
    a, b = torch.randn(_ROWS, width, dtype=dtype), torch.randn(4 * width, width, dtype=dtype)

    def product() -> None:
        F.linear(a, b)

    product()
    return lambda: 2 * a.numel() * len(b) / seconds(torch.get_num_threads(), product)
