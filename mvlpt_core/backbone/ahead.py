"""Images on their way to a device: the next ones are gathered and copied while the ones before are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def on_device(parts: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """The parts on `device`, in their order.

    A GPU's are gathered (which may read a disk), pinned and copied in a thread and a stream of their own,
    one part ahead of the work; elsewhere nothing is copied that could be waited for.
    """
    carry = _carrier(device)
    if carry is None:
        yield from (part.to(device) for part in parts)
        return
    for receive in ahead(map(carry, parts)):
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
        if part.device == device:
            return lambda: part
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
