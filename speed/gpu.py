"""What a device makes of the three methods: one command, about ten minutes on a GPU.

    python -m speed.gpu [--model ViT-B-16] [--device cuda] [--packs 1 20] [--study paper_vitb16]

First a tuning step of each method, in packs of each size: steps and images a second, and the share of the
device's own matrix rate, which a product of the tower's shape gives between the steps. Then what packing
does to a result: one run tuned alone and in a pack, and tuned from other seeds, and the spread of its
logits over either. Last the hours of a study, as `mvlpt plan --calibrate` has them. Weights and images are
random; `--model tiny` is a small tower, for a processor. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mvlpt.plan import print_plan
from mvlpt_core.backbone.cost import image_step, text_step
from mvlpt_core.backbone.device import resolve_device, resolve_precision
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.methods import Method, TextMethod, UnifiedMethod, VisualMethod
from mvlpt_core.contract.settings import Tuning
from mvlpt_core.planning.shapes import image_side, random_backbone, read_shapes
from mvlpt_core.prompts.modules import Prompt, Towers, make_prompt
from mvlpt_core.prompts.starts import random
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.loop import tune
from mvlpt_core.tuning.schedule import batch_order, schedule

BATCH, CLASSES, DOT, SEEDS = 32, 50, 13, 3
SETTINGS: tuple[Method, ...] = (TextMethod(), VisualMethod(), UnifiedMethod())
TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 600, "width": 64, "heads": 2, "layers": 2},
}


class Bench:
    """One method's tuning on random images, on one device."""

    def __init__(self, backbone: Backbone, settings: Method) -> None:
        self.backbone, self.settings = backbone, settings
        device = backbone.device
        self.layout = text_layout(
            [[100 + 4 * c + j for j in range(1 + c % 4)] for c in range(CLASSES)],
            sos=backbone.text.sos,
            eos=backbone.text.eos,
            suffix=[DOT],
            n_ctx=settings.text_ctx,
            device=device,
        )
        with torch.no_grad():
            fixed = None if settings.text_ctx else backbone.text(self.layout)[0]
        self.classifier = Classifier(backbone, self.layout, fixed)
        side = image_side(backbone)
        generator = torch.Generator().manual_seed(0)
        size = (BATCH, side, side, 3)
        images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator).to(device)
        if not settings.visual_ctx:
            with torch.no_grad():
                images = backbone.image(images)[0]
        self.pool = Pool(images, torch.arange(BATCH, device=device) % CLASSES)

    def prompt(self, seeds: list[int]) -> Prompt:
        made = make_prompt(self.settings, Towers.of(self.backbone), len(seeds))
        for run, seed in enumerate(seeds):
            random(seed)(made, run)
        return made

    def tuned(self, prompt: Prompt, steps: int) -> None:
        tuning = Tuning(steps=steps, batch_size=BATCH, warmup=0, curve_images=0)
        plan = schedule(tuning, self.settings.lr, BATCH)
        tune(
            self.classifier,
            prompt,
            self.pool,
            batch_order(BATCH, plan, seed=0),
            plan,
            tuning,
            lambda vectors, step: (),
            dropout_seeds=[0] * prompt.runs,
        )

    def logits(self, seeds: list[int], steps: int) -> Tensor:
        """Scaled cosines [R, B, C] of prompts tuned from `seeds`, side by side."""
        prompt = self.prompt(seeds)
        self.tuned(prompt, steps)
        with torch.no_grad():
            vectors = prompt()
            text = self.classifier.text(vectors)
            image = self.classifier.image(vectors, self.pool.inputs)
            return self.classifier.logits(text, image)

    def operations(self, runs: int) -> float:
        """Of one step."""
        total = text_step(self.backbone, runs, self.layout) if self.settings.text_ctx else 0.0
        if self.settings.visual_ctx:
            total += image_step(self.backbone, runs, BATCH, self.settings.visual_ctx)
        return total


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of some work, the device's own included."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def matrix_rate(backbone: Backbone, runs: int) -> float:
    """Operations a second of the largest product in a pack's image tower."""
    width = backbone.image.width
    rows = runs * BATCH * backbone.image.position.shape[0]
    options: Any = {"dtype": backbone.matrix_dtype, "device": backbone.device}
    a, b = torch.randn(rows, width, **options), torch.randn(4 * width, width, **options)
    F.linear(a, b)
    taken = [seconds(lambda: F.linear(a, b), backbone.device) for _ in range(5)]
    return 2 * a.numel() * len(b) / statistics.median(taken)


def print_steps(bench: Bench, packs: list[int], steps: int, repeats: int) -> None:
    for runs in packs:
        prompt = bench.prompt([0] * runs)
        bench.tuned(prompt, 1)  # warms up
        shares, taken = [], []
        for _ in range(repeats):
            whole = seconds(partial(bench.tuned, prompt, steps), bench.backbone.device)
            taken.append(whole / steps)
            shares.append(
                bench.operations(runs) / taken[-1] / matrix_rate(bench.backbone, max(packs))
            )
        step = statistics.median(taken)
        print(
            f"| {prompt.method} | {runs} | {1000 * step:.1f} | {runs / step:.2f} | "
            f"{runs * BATCH / step:.0f} | {bench.operations(runs) / 1e9:.0f} | "
            f"{statistics.median(shares):.0%} |",
            flush=True,
        )


def spreads(bench: Bench, pack: int, steps: int) -> tuple[float, float]:
    """Root mean square differences of logits: of one run alone and in a pack, and over seeds."""
    alone = torch.cat([bench.logits([seed], steps) for seed in range(SEEDS)])
    packed = bench.logits(list(range(pack)), steps)[:SEEDS]
    own = len(packed)
    return (
        float((alone[:own] - packed).square().mean().sqrt()),
        float((alone[1:] - alone[:-1]).square().mean().sqrt()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="ViT-B-16", help="one of open_clip's names, or tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--packs", nargs="+", type=int, default=[1, 20])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--study", help="a configuration whose hours are wanted too")
    given = parser.parse_args()
    device = resolve_device(given.device)
    shapes = TINY if given.model == "tiny" else read_shapes(given.model)
    dtype = resolve_precision(given.precision, device, shapes["vision_cfg"]["width"])
    backbone = random_backbone(shapes, device, dtype)
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    print(f"torch {torch.__version__}, {named}, {given.model}, {dtype}\n")
    benches = [Bench(backbone, settings) for settings in SETTINGS]
    print("| method | pack | ms/step | runs x steps/s | images/s | needed GFLOP | share of rate |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for bench in benches:
        print_steps(bench, given.packs, given.steps, given.repeats)
    print("\n| method | spread by pack | spread by seed |\n| --- | --- | --- |")
    for bench in benches:
        by_pack, by_seed = spreads(bench, max(given.packs), given.steps)
        print(f"| {bench.prompt([0]).method} | {by_pack:.2g} | {by_seed:.2g} |", flush=True)
    if given.study:
        print()
        print_plan(given.study, None, True, str(device), None, None)


if __name__ == "__main__":
    main()
