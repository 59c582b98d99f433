"""Where and how precisely to compute, and the converted backbone on that device."""

from __future__ import annotations

import ctypes
import json
import sys
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mvlpt_core.backbone.towers import Backbone, build_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import file_digest, first_line, held

# A processor with bf16 products gains from them at ViT-B's width, and nothing at the testbed's.
_WIDE = 512
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU. Raises `InputError` for an absent device."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device '{device}' is not there: expected 'auto', 'cpu' or a device that torch sees"
        ) from error
    return found


def resolve_precision(precision: str, device: torch.device, width: int) -> torch.dtype:
    """`auto` is bf16 where a tower of this `width` gains from it on `device`, else fp32; fp64 serves
    tests. Raises `InputError` for a precision of another name."""
    if precision == "auto":
        return torch.bfloat16 if _gains(device, width) else torch.float32
    known = {
        "fp32": torch.float32,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
        "fp64": torch.float64,
    }
    if precision not in known:
        raise InputError(
            f"backbone.precision '{precision}' is unknown: expected auto, fp32, bf16 or fp16"
        )
    return known[precision]


def _gains(device: torch.device, width: int) -> bool:
    """Whether bf16 products are faster than fp32 ones: a device that emulates bf16 loses time."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or width < _WIDE:
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch cannot tell
        return False
    # AVX-512 alone does not say it: its bf16 products run at half the rate of fp32 ones where measured.
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def keep_freed_memory(device: torch.device) -> None:
    """Let this process keep what it frees, where it computes on the processor.

    glibc gives large blocks back at once, and every step would have its activations from the kernel
    anew, page by page, filled with zeros: a tenth of its time. Elsewhere nothing happens.
    """
    if device.type != "cpu" or sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)  # never


def load_backbone(
    folder: Path, device: str = "auto", precision: str = "auto", *, compiled: bool = False
) -> Backbone:
    """Read a folder written by `convert.convert_backbone`; its layers `compiled` on a GPU, where wanted.

    In bf16 and fp16 only the matrix products are: norms, the residual stream and features stay fp32. Raises
    `InputError`, naming the file, for one that is missing, cut, changed or of another kind.
    """
    about, weights = folder / "backbone.json", folder / "backbone.safetensors"
    target = resolve_device(device)
    keep_freed_memory(target)
    try:
        config = json.loads(about.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not a mapping")
        tensors = load_file(weights)
        if file_digest(weights) != config["weights_sha256"]:
            raise InputError(
                f"{weights}: not what was written beside {about.name}: delete the folder, run again"
            )
        return build_backbone(
            tensors,
            config,
            target,
            resolve_precision(precision, target, config["image"]["width"]),
            compiled=compiled and target.type == "cuda",
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        named, reason = about, first_line(error)
        if isinstance(error, KeyError):
            # A weight's name has dots, a key of the description none.
            named, reason = weights if "." in str(error) else about, f"no {error}"
        elif isinstance(error, SafetensorError) or (isinstance(error, OSError) and about.is_file()):
            found = held(weights)
            named, reason = weights, f"it holds {found}" if found else reason
        raise InputError(
            f"{named}: not a whole converted backbone ({reason}): delete it, run again"
        ) from None


@lru_cache(maxsize=1)
def cached_backbone(
    folder: Path, device: str, precision: str, *, compiled: bool = False
) -> Backbone:
    """`load_backbone`, kept for the next task of the same job."""
    return load_backbone(folder, device, precision, compiled=compiled)
