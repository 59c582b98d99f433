"""One tuning step at ViT-B size, each method against a plain loop that encodes both towers.

    python -m speed.step [--models ViT-B-32] [--methods visual] [--threads 1] [--repeats 3] [--bf16] [--alone]

Random weights, batch 32, 50 classes, the paper's context lengths, one run (R = 1), so that nothing is
gained from packing here. Fast and plain steps alternate in one process, as does the matrix product that
gives the machine's rate; times are medians, of processor seconds with one thread. The plain loop is fp32,
also beside bf16. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from mvlpt_core.backbone.convert import convert_model
from mvlpt_core.backbone.cost import image_step, text_step
from mvlpt_core.backbone.device import keep_freed_memory
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone, build_backbone
from mvlpt_core.contract.methods import METHODS, Method, TextMethod, UnifiedMethod, VisualMethod
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Prompt, Towers, make_prompt
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from speed.clock import matrix_rate, seconds
from speed.plain import plain_image, plain_text

BATCH, CLASSES, DOT = 32, 50, 269
SETTINGS: tuple[Method, ...] = (TextMethod(), VisualMethod(), UnifiedMethod())
# Lengths of 50 class names as in ELEVATER's tasks: mostly one to four tokens.
NAMES = [[1000 + 10 * c + j for j in range(1 + c % 4)] for c in range(CLASSES)]


def plain_step(model: Any, prompt: Prompt, pixels: Tensor, labels: Tensor) -> None:
    vectors = prompt()
    text = None if vectors.text is None else vectors.text[0]
    visual = None if vectors.visual is None else vectors.visual[0]
    classes = plain_text(model, NAMES, text, suffix=[DOT])
    logits = model.logit_scale.exp() * plain_image(model, pixels, visual) @ classes.T
    prompt.zero_grad()
    F.cross_entropy(logits, labels).backward()


def fast_step(classifier: Classifier, prompt: Prompt, batch: Pool) -> None:
    vectors = prompt()
    logits = classifier.logits(classifier.text(vectors), classifier.image(vectors, batch.inputs))
    prompt.zero_grad()
    losses(logits, batch).sum().backward()


def classifier_for(backbone: Backbone, settings: Method) -> Classifier:
    layout = text_layout(
        NAMES,
        sos=backbone.text.sos,
        eos=backbone.text.eos,
        suffix=[DOT],
        n_ctx=settings.text_ctx,
    )
    with torch.no_grad():
        return Classifier(backbone, layout, None if settings.text_ctx else backbone.text(layout)[0])


def operations(classifier: Classifier, settings: Method) -> float:
    backbone, total = classifier.backbone, 0.0
    if settings.text_ctx:
        assert classifier.layout is not None
        total += text_step(backbone, 1, classifier.layout)
    if settings.visual_ctx:
        total += image_step(backbone, 1, BATCH, settings.visual_ctx)
    return total


def measure_model(
    name: str, methods: list[str], repeats: int, precision: torch.dtype, alone: bool
) -> None:
    torch.manual_seed(0)
    model: Any = open_clip.create_model(name).eval().requires_grad_(False)
    weights, config = convert_model(model, name)
    config["preprocess"] = {"mean": [0.5] * 3, "std": [0.25] * 3}
    config["weights_sha256"] = "random"
    backbone = build_backbone(weights, config, torch.device("cpu"), precision)
    side = model.visual.image_size[0]
    images = torch.randint(0, 256, (BATCH, side, side, 3), dtype=torch.uint8)
    pixels = ((images / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
    labels = torch.arange(BATCH) % CLASSES
    rate = matrix_rate(backbone)
    threads = torch.get_num_threads()
    for settings in SETTINGS:
        prompt = make_prompt(settings, Towers.of(backbone), 1)
        if prompt.method not in methods:
            continue
        starts.random(0)(prompt, 0)
        classifier = classifier_for(backbone, settings)
        pool = Pool(images, labels)
        if not settings.visual_ctx:
            with torch.no_grad():
                pool = Pool(backbone.image(images)[0], labels)
        sides = {
            "fast": partial(fast_step, classifier, prompt, pool),
            "plain": partial(plain_step, model, prompt, pixels, labels),
        }
        if alone:
            del sides["plain"]
        times: dict[str, list[float]] = {}
        for repeat in range(repeats + 1):
            found = {side: seconds(threads, step) for side, step in sides.items()}
            found["rate"] = statistics.median(rate() for _ in range(5))
            if repeat:  # the first round warms up
                for key, value in found.items():
                    times.setdefault(key, []).append(value)
        count = operations(classifier, settings)
        fast, speed = (statistics.median(times[key]) for key in ("fast", "rate"))
        before, ratio = "", ""
        if not alone:
            plain = statistics.median(times["plain"])
            before, ratio = f"{plain:.2f}", f"{plain / fast:.2f}"
        print(
            f"| {name} | {prompt.method} | {before} | {fast:.2f} | {ratio} | "
            f"{count / 1e9:.0f} | {speed / 1e9:.1f} | {count / fast / speed:.0%} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--models", nargs="+", default=["ViT-B-32", "ViT-B-16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="the fast side's products in bf16")
    parser.add_argument("--alone", action="store_true", help="without the plain loop")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory(torch.device("cpu"))
    precision = torch.bfloat16 if args.bf16 else torch.float32
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {precision}")
    print(
        "| model | method | plain s/step | fast s/step | ratio | needed GFLOP | matrix rate GFLOP/s | "
        "share of rate |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.models:
        measure_model(name, args.methods, args.repeats, precision, args.alone)


if __name__ == "__main__":
    main()
