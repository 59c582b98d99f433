"""Images on their way to a device: the next ones are gathered and copied while the ones before are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def on_device(parts: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """The parts on `device`, in their order.

    Where they wait in host memory for a GPU, they are gathered (which may read a disk), pinned and copied in
    a thread and a stream of their own, one part ahead of the work.
    """
    coming = iter(parts)
    for first in coming:
        carry = _carrier(device) if first.device.type == "cpu" else None
        if carry is None:
            yield first.to(device)
            yield from (part.to(device) for part in coming)
        else:
            for receive in ahead(map(carry, chain([first], coming))):
                yield receive()


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, each made in a thread while the one before it is in use."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, source, end)
            yield item  # type: ignore[misc]


def _carrier(device: torch.device) -> Callable[[Tensor], Callable[[], Tensor]] | None:
    """Sends a tensor to a GPU; what it returns waits for it there, and is called by who uses it."""
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device)

    def carry(part: Tensor) -> Callable[[], Tensor]:
        with torch.cuda.stream(stream):
            moved = part.pin_memory().to(device, non_blocking=True)
            there = stream.record_event()

        def receive() -> Tensor:
            current = torch.cuda.current_stream(device)
            current.wait_event(there)
            moved.record_stream(current)  # its memory is not another's before the work is done
            return moved

        return receive

    return carry
