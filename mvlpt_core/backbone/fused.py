"""Functions of tensors compiled by torch, so that pointwise work between matrix products is one pass."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mvlpt_core.contract.files import first_line

_log = logging.getLogger(__name__)


def fused(
    function: Callable[..., Tensor], device: torch.device, backend: Any = "inductor"
) -> Callable[..., Tensor]:
    """`function` compiled for work that wants gradients; as it is where the compiler does not work, which
    a warning says, and where none are wanted: scoring has too many shapes to compile for each."""
    if not _works(device, backend):
        return function
    compiled = torch.compile(function, backend=backend)

    def run(*given: Any) -> Tensor:
        return compiled(*given) if torch.is_grad_enabled() else function(*given)

    return run


def _works(device: torch.device, backend: Any) -> bool:
    """Whether the compiler and what it needs (Triton, or a compiler of C++) are there."""

    def work(x: Tensor) -> Tensor:
        return torch.nn.functional.silu(x) * 2

    try:
        x = torch.ones(8, device=device, requires_grad=True)
        torch.compile(work, backend=backend)(x).sum().backward()
    except Exception as error:  # of whichever part of the compiler
        _log.warning("layers are not compiled: %s", first_line(error))
        return False
    return True
