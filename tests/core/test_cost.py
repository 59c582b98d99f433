"""Operations of a study at the paper's size: what scoring the test split often would cost."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mvlpt_core.backbone.cost import image_forward, image_step
from mvlpt_core.contract.settings import Tuning
from mvlpt_core.tuning.schedule import schedule
from support.engine_reference import random_images, small_clip

# ELEVATER's 20 tasks: classes and test images.
TASKS = {
    "caltech-101": (102, 6084),
    "cifar-10": (10, 10000),
    "cifar-100": (100, 10000),
    "country211": (211, 21100),
    "dtd": (47, 1880),
    "eurosat_clip": (10, 5000),
    "fer-2013": (7, 3589),
    "fgvc-aircraft-2013b-variants102": (100, 3333),
    "food-101": (101, 25250),
    "gtsrb": (43, 12630),
    "hateful-memes": (2, 500),
    "kitti-distance": (4, 711),
    "mnist": (10, 10000),
    "oxford-flower-102": (102, 6149),
    "oxford-iiit-pets": (37, 3669),
    "patch-camelyon": (2, 32768),
    "rendered-sst2": (2, 1821),
    "resisc45_clip": (45, 25200),
    "stanford-cars": (196, 8041),
    "voc-2007-classification": (20, 4952),
}
CONTEXT, SHOTS, EPOCHS, KEPT = 16, 20, 50, 0.8  # KEPT: not held out for validation


def vit_b_16() -> Any:
    """The shapes of a ViT-B/16 at 224 pixels, as the counts read them."""
    linear = {
        key: SimpleNamespace(weight=torch.empty(*shape, device="meta"))
        for key, shape in {"patch": (768, 3 * 16 * 16), "projection": (512, 768)}.items()
    }
    position = torch.empty(197, 768, device="meta")
    return SimpleNamespace(
        image=SimpleNamespace(width=768, blocks=range(12), position=position, **linear)
    )


def exaflop() -> dict[str, float]:
    """One seed of the visual method, 400 cells: tuning, and scoring every test split once."""
    backbone, tuning = vit_b_16(), Tuning(epochs=EPOCHS)
    steps = {
        task: schedule(tuning, 0.002, int(classes * SHOTS * KEPT))
        for task, (classes, _) in TASKS.items()
    }
    tuned = sum(
        plan.steps * image_step(backbone, len(TASKS), plan.batch, CONTEXT)
        for plan in steps.values()
    )
    once = len(TASKS) * sum(
        image_forward(backbone, images, CONTEXT) for _, images in TASKS.values()
    )
    return {"tuning": tuned / 1e18, "once": once / 1e18}


def test_scoring_costs_less_than_tuning_where_it_is_done_for_numbers_that_are_reported(
    root: Path,
) -> None:
    assert len(TASKS) == 20
    found = exaflop()
    often, ours = 21 * found["once"], 3 * found["once"]
    assert ours < found["tuning"] < often
    text = (root / "docs/cost.md").read_text(encoding="utf-8")
    for name, value in (
        ("tuning", found["tuning"]),
        ("test split scored 21 times", often),
        ("test split scored twice", 2 * found["once"]),
        ("test split scored three times", ours),
    ):
        stated = re.search(rf"^\| {name} \| ([0-9.]+) \|", text, re.MULTILINE)
        assert stated, name
        assert float(stated[1]) == pytest.approx(value, abs=0.005), (name, value)


@pytest.mark.parametrize("images", [1, 5])
def test_the_forward_count_is_that_of_the_products(images: int) -> None:
    _, backbone = small_clip()
    prompt = torch.randn(1, 3, 2, 64, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter:
        backbone.image(random_images(images), prompt)
    # torch does not count attention on the CPU: 10 tokens, and the class token alone in the last layer,
    # attend to 12, a product for the weights and one for the values.
    attention = images * 2 * 2 * (10 + 10 + 1) * 12 * 64
    assert image_forward(backbone, images, 2) == counter.get_total_flops() + attention
