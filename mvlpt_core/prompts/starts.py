"""Where a prompt's tuning begins: a start is a function that fills one run of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mvlpt_core.contract.errors import InputError
from mvlpt_core.prompts.file import load_prompt
from mvlpt_core.prompts.modules import Prompt, State, describe

Start = Callable[[Prompt, int], None]


def random(seed: int) -> Start:
    """A fresh prompt; the seed decides, not the runs beside it."""

    def fill(prompt: Prompt, run: int) -> None:
        state = prompt.fresh(torch.Generator().manual_seed(seed))
        prompt.fill(run, state, "the random start")

    return fill


def saved(path: str | Path, backbone_digest: str) -> Start:
    """A saved prompt; raises `InputError`, naming the file, for one that does not fit."""

    def fill(prompt: Prompt, run: int) -> None:
        prompt.fill(run, _load(path, prompt, backbone_digest), f"prompt file '{path}'")

    return fill


def mean(paths: Sequence[str | Path], backbone_digest: str) -> Start:
    """The mean of several saved prompts, tensor by tensor; errors as for one."""
    if not paths:
        raise InputError("a mean of prompts needs at least one prompt file: expected paths")

    def fill(prompt: Prompt, run: int) -> None:
        states = [_load(path, prompt, backbone_digest) for path in paths]
        for path, state in zip(paths, states, strict=True):
            prompt.fill(run, state, f"prompt file '{path}'")  # each must fit by itself
        average = {
            name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]
        }
        prompt.fill(run, average, "the mean of prompts")

    return fill


def _load(path: str | Path, prompt: Prompt, backbone_digest: str) -> State:
    about = describe(prompt)
    return load_prompt(path, about["method"], about["settings"], backbone_digest)
