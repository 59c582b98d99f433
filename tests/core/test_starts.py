"""Starts: what each fills a run with, number by number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mvlpt_core import jobs
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.methods import METHODS
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.file import save_prompt
from mvlpt_core.prompts.modules import Prompt, Towers, describe, make_prompt

TOWERS = Towers(12, 10, 3, 8, torch.device("cpu"), torch.float32)
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"n_ctx": 2},
    "visual": {"n_ctx": 3},
    "unified": {"n_ctx_text": 2, "n_ctx_visual": 1, "width": 12, "depth": "shallow"},
}


def prompt_of(method: str, runs: int = 1, **options: Any) -> Prompt:
    settings = METHODS[method](**{**SETTINGS[method], **options})
    return make_prompt(settings, TOWERS, runs)


def save(path: Path, method: str, seed: int, **header: Any) -> dict[str, Tensor]:
    """A saved random prompt; its tensors."""
    prompt = prompt_of(method)
    starts.random(seed)(prompt, 0)
    state = prompt.state_of(0)
    about = {"backbone": "small", "backbone_digest": "d", "status": "ok"}
    save_prompt(path, state, {**describe(prompt), **about, **header})
    return state


def test_a_random_start_draws_these_numbers_in_this_order() -> None:
    """Written out once: a change of the order changes every score of a study."""
    generator = torch.Generator().manual_seed(5)

    def between(bound: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * bound

    vpt = math.sqrt(6 / (3 * 8 * 8 + 10))
    cases: dict[str, dict[str, Tensor]] = {
        "text": {"text": torch.randn(2, 12, generator=generator) * 0.02}
    }
    generator.manual_seed(5)
    cases["visual"] = {"visual": between(vpt, 3, 3, 10)}
    generator.manual_seed(5)
    unified = {"text": torch.randn(2, 12, generator=generator) * 0.02}
    unified["visual"] = between(vpt, 1, 1, 10)
    for name, size_in, size_out, bound, bias in (
        # The text tower is as wide as the coupler: it needs no maps of its own.
        ("visual_in", 10, 12, 1 / math.sqrt(10), True),
        ("visual_out", 12, 10, 1 / math.sqrt(12), True),
        ("qkv", 12, 36, math.sqrt(6 / 48), False),
        ("out", 12, 12, 1 / math.sqrt(12), False),
        ("fc", 12, 48, 1 / math.sqrt(12), True),
        ("proj", 48, 12, 1 / math.sqrt(48), True),
    ):
        unified[f"coupler.{name}_weight"] = between(bound, size_out, size_in)
        zero = torch.zeros(size_out)
        unified[f"coupler.{name}_bias"] = between(bound, size_out) if bias else zero
    for name in ("ln_1", "ln_2"):
        unified[f"coupler.{name}_weight"] = torch.ones(12)
        unified[f"coupler.{name}_bias"] = torch.zeros(12)
    cases["unified"] = unified
    for method, expected in cases.items():
        prompt = prompt_of(method, runs=2)
        starts.random(9)(prompt, 0)
        starts.random(5)(prompt, 1)
        found = prompt.state_of(1)
        assert set(found) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_saved_start_is_the_prompt_and_leaves_the_other_runs(tmp_path: Path, method: str) -> None:
    state = save(tmp_path / "a", method, 1)
    prompt = prompt_of(method, runs=3)
    for run in range(3):
        starts.random(run + 10)(prompt, run)
    before = [prompt.state_of(run) for run in range(3)]
    starts.saved(tmp_path / "a", "d")(prompt, 1)
    for name, value in state.items():
        assert torch.equal(prompt.state_of(1)[name], value)
        for run in (0, 2):
            assert torch.equal(prompt.state_of(run)[name], before[run][name])


@pytest.mark.parametrize("method", SETTINGS)
def test_a_mean_start_is_the_mean_tensor_by_tensor(tmp_path: Path, method: str) -> None:
    paths = [tmp_path / name for name in "abc"]
    states = [save(path, method, seed) for seed, path in enumerate(paths)]
    prompt = prompt_of(method, runs=2)
    starts.mean(paths, "d")(prompt, 1)
    for name, value in prompt.state_of(1).items():
        expected = (states[0][name] + states[1][name] + states[2][name]) / 3
        torch.testing.assert_close(value, expected)
    starts.mean(paths[:1], "d")(prompt, 0)
    for name, value in prompt.state_of(0).items():
        assert torch.equal(value, states[0][name])


def test_a_start_without_a_prompt_is_no_random_start() -> None:
    with pytest.raises(InputError, match="text, birds from cars: no prompt to start from"):
        jobs.start_of(None, "text", "birds", "cars", 1, None)  # type: ignore[arg-type]


def test_every_prompt_of_a_mean_must_fit(tmp_path: Path) -> None:
    save(tmp_path / "a", "text", 1)
    odd = {"text": torch.zeros(2, 7)}
    about = {"backbone": "small", "backbone_digest": "d", "status": "ok"}
    save_prompt(tmp_path / "b", odd, {**describe(prompt_of("text")), **about})
    save(tmp_path / "c", "text", 1, backbone_digest="e")
    for name, message in (
        ("b", r"holds 'text' with shape \[2, 7\]: expected \[2, 12\]"),
        ("c", "tuned on backbone 'small' with other weights"),
        ("none", "no such file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            starts.mean([tmp_path / "a", tmp_path / name], "d")(prompt_of("text"), 0)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
