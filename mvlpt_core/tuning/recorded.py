"""A step's passes recorded once and replayed.

A text step of few prompts is hundreds of kernels of a few microseconds, and a GPU waits for the processor to
launch each: a CUDA graph launches all of them at once. It replays the same kernels on the same memory, so
that batches are copied to where the first one lay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor

from mvlpt_core.tuning.classifier import Pool

# Runs the work once, or records it: where it leaves its result, and what does it again.
Recorder = Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]]
_WARM_UP = 3  # passes before a recording: what libraries choose and allocate at first


def recorded(
    work: Callable[[Pool], Tensor], first: Pool, record: Recorder
) -> Callable[[Pool], Tensor]:
    """`work` on batches of the shapes of the `first`; what it leaves elsewhere (gradients) it leaves there
    again, in the same memory."""
    held = {field.name: getattr(first, field.name) for field in fields(first)}
    tensors = {name: value.clone() for name, value in held.items() if value is not None}
    own = replace(first, **tensors)
    found, again = record(lambda: work(own))

    def run(batch: Pool) -> Tensor:
        for name, tensor in tensors.items():
            tensor.copy_(getattr(batch, name))
        again()
        return found.clone()

    return run


def cuda_graph(work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """Records on the current GPU."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = work()
    return found, graph.replay
