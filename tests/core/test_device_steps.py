"""What speeds a GPU up, tested with stand-ins for it: the same results as the plain step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mvlpt_core.backbone import ahead, towers
from mvlpt_core.backbone.fused import fused
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone, build_backbone
from mvlpt_core.contract.methods import METHODS, Method
from mvlpt_core.contract.settings import Tuning
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Towers, make_prompt
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.loop import tune
from mvlpt_core.tuning.recorded import Recorder
from mvlpt_core.tuning.schedule import batch_order, schedule
from mvlpt_core.tuning.scoring import pool_logits
from support.engine_reference import (
    CONTEXT,
    DOT,
    EOS,
    NAMES,
    SOS,
    random_images,
    small_clip,
    small_clip_weights,
)

IMAGES, RUNS = 11, 3
SETTINGS: dict[str, Method] = {
    "text": METHODS["text"](n_ctx=4),
    "visual": METHODS["visual"](n_ctx=3, dropout=0.2),
    "unified": METHODS["unified"](n_ctx_text=2, n_ctx_visual=3, width=64),
}


def tuned(
    method: str,
    backbone: Backbone,
    *,
    optimizer: Any = "sgd",
    record: Recorder | None = None,
    steps: int = 5,
) -> list[Tensor]:
    """Tuned parameters, the steps' losses and the logits of scoring, on augmented views of images."""
    settings = SETTINGS[method]
    layout = text_layout(
        NAMES,
        sos=SOS,
        eos=EOS,
        suffix=[DOT],
        n_ctx=settings.text_ctx,
        context_length=CONTEXT,
    )
    with torch.no_grad():
        fixed = None if settings.text_ctx else backbone.text(layout)[0]
        seen = random_images(2 * IMAGES)
        seen = seen if settings.visual_ctx else backbone.image(seen)[0]
    pool = Pool(seen[:IMAGES], torch.arange(IMAGES) % len(NAMES), views=seen.unflatten(0, (2, -1)))
    prompt = make_prompt(settings, Towers.of(backbone), RUNS)
    for run in range(RUNS):
        starts.random(run)(prompt, run)
    budget = Tuning(steps=steps, batch_size=4, optimizer=optimizer, warmup=0)
    plan = schedule(budget, {"sgd": 0.5, "adamw": 0.02}[optimizer], IMAGES)
    told: list[Tensor] = []
    classifier = Classifier(backbone, layout, fixed)
    tune(
        classifier,
        prompt,
        pool,
        batch_order(IMAGES, plan, 0),
        plan,
        budget,
        lambda vectors, step: (),
        dropout_seeds=range(RUNS),
        say=lambda step, losses: told.append(losses),
        record=record,
    )
    with torch.no_grad():
        logits = pool_logits(classifier, prompt(), replace(pool, views=None))
    return [*(p.detach() for p in prompt.parameters()), torch.stack(told), logits]


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in ahead.ahead(items()):
        if number < 3:
            assert made[number + 1].wait(10)
        assert not any(event.is_set() for event in made[number + 2 :])


def test_what_goes_wrong_ahead_is_told_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk")

    found = ahead.ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="the disk"):
        next(found)


def test_who_stops_early_leaves_no_thread() -> None:
    found = ahead.ahead(iter(range(10)))
    next(found)
    before = threading.active_count()
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before - 1


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What a stand-in for a GPU's stream carried: copies, made in the thread."""
    seen: list[Tensor] = []

    def carry(part: Tensor) -> Callable[[], Tensor]:
        assert threading.current_thread() is not threading.main_thread()
        seen.append(part.clone())
        return lambda copy=seen[-1]: copy  # type: ignore[misc]

    monkeypatch.setattr(ahead, "_carrier", lambda device: carry)
    return seen


def test_what_lies_on_a_device_is_not_carried(carried: list[Tensor]) -> None:
    """Nor touched by another thread, which a GPU that is recording does not allow."""
    there = torch.device("meta")
    parts = (torch.empty(1, device=there) for _ in range(3))
    assert len(list(ahead.on_device(parts, there))) == 3
    assert list(ahead.on_device([], there)) == carried == []


@pytest.mark.parametrize("method", METHODS)
def test_images_that_are_fetched_ahead_are_the_same(
    method: str, request: pytest.FixtureRequest
) -> None:
    _, backbone = small_clip()
    plain = tuned(method, backbone)
    carried = request.getfixturevalue("carried")
    for found, expected in zip(tuned(method, backbone), plain, strict=True):
        assert torch.equal(found, expected)
    scored = method != "text"  # frozen features are scored where they lie
    assert len(carried) == 5 + scored


class StandIn:
    """Records as a CUDA graph does: what is replayed reads and writes the same memory."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        self.recorded += 1
        found = work()

        def again() -> None:
            self.replayed += 1
            found.copy_(work())

        return found, again


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_a_replayed_text_step_is_the_same(optimizer: str, precision: torch.dtype) -> None:
    weights, config = small_clip_weights()
    backbone = build_backbone(weights, config, torch.device("cpu"), precision)
    graph = StandIn()
    replayed = tuned("text", backbone, optimizer=optimizer, record=graph)
    assert (graph.recorded, graph.replayed) == (1, 5)
    for found, expected in zip(replayed, tuned("text", backbone, optimizer=optimizer), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("method", ["visual", "unified"])
def test_steps_that_encode_images_are_not_recorded(method: str) -> None:
    graph = StandIn()
    tuned(method, small_clip()[1], record=graph, steps=2)
    assert graph.recorded == 0


# The compiler looks for itself, and hides the warning with a filter that errors come before.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_compiled_layers_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """One function for all layers of a tower: few graphs, whatever the number of layers."""
    graphs: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(inputs)
        return graph.forward

    def fused_here(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
        return fused(function, device, backend=backend)

    monkeypatch.setattr(towers, "fused", fused_here)
    weights, config = small_clip_weights(layers=6)
    cpu = torch.device("cpu")
    compiled = build_backbone(weights, config, cpu, torch.float32, compiled=True)
    plain = build_backbone(weights, config, cpu, torch.float32)
    for found, expected in zip(tuned("unified", compiled), tuned("unified", plain), strict=True):
        torch.testing.assert_close(found, expected)
    assert 3 <= len(graphs) <= 7  # of 12 layers, and one trial


def test_layers_are_plain_where_the_compiler_does_not_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        raise RuntimeError("no compiler of C++")

    def function(x: Tensor) -> Tensor:
        return x

    with caplog.at_level(logging.WARNING):
        assert fused(function, torch.device("cpu"), backend=backend) is function
    assert "layers are not compiled" in caplog.text
