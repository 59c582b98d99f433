"""Peak memory of one tuning step at ViT-B/16 by number of classes, measured and predicted.

    python -m speed.memory [--model ViT-B-16] [--classes 10 100 1000] [--n-ctx 16] [--memory-gb 3 100]

Random weights, batch 32, one run, fp32 on the CPU, `n-ctx` context vectors in each tower that a method
prompts. Each step runs in a process of its own, whose largest resident set is read at its end; `start` is
that of the process with the backbone loaded, before the step. `predicted` is what `backbone.cost` says
the passes keep: the largest chunk of classes, and the images. `memory-gb` is the setting `memory_gb`,
whose half a chunk of classes may fill. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mvlpt_core.backbone.convert import convert_model, write_backbone
from mvlpt_core.backbone.cost import image_bytes, text_bytes, text_tokens_that_fit
from mvlpt_core.backbone.device import load_backbone
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.contract.methods import Method, TextMethod, UnifiedMethod
from mvlpt_core.planning.shapes import image_side
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Towers, make_prompt
from mvlpt_core.tuning.classifier import Classifier, Pool, losses

BATCH, DOT = 32, 269


def peak() -> float:
    """The process's largest resident set so far, GB (Linux; getrusage would count its parent's)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024 / 1e9


def settings_of(method: str, n_ctx: int) -> Method:
    if method == "text":
        return TextMethod(n_ctx=n_ctx)
    return UnifiedMethod(n_ctx_text=n_ctx, n_ctx_visual=n_ctx)


def step(folder: Path, method: str, classes: int, n_ctx: int, memory_gb: float) -> None:
    """One forward and backward pass; prints what it took as JSON."""
    backbone = load_backbone(folder, "cpu", "fp32")
    settings = settings_of(method, n_ctx)
    layout = text_layout(
        [[1000 + (10 * c + j) % 40000 for j in range(1 + c % 4)] for c in range(classes)],
        sos=backbone.text.sos,
        eos=backbone.text.eos,
        suffix=[DOT],
        n_ctx=settings.text_ctx,
        max_tokens=text_tokens_that_fit(backbone, memory_gb),
    )
    prompt = make_prompt(settings, Towers.of(backbone), 1)
    starts.random(0)(prompt, 0)
    labels = torch.arange(BATCH) % classes
    torch.manual_seed(0)
    inputs = torch.nn.functional.normalize(torch.randn(BATCH, 512), dim=-1)
    if settings.visual_ctx:
        side = image_side(backbone)
        inputs = torch.randint(0, 256, (BATCH, side, side, 3), dtype=torch.uint8)
    start, began = peak(), time.perf_counter()
    classifier, batch, vectors = Classifier(backbone, layout), Pool(inputs, labels), prompt()
    logits = classifier.logits(classifier.text(vectors), classifier.image(vectors, inputs))
    losses(logits, batch).sum().backward()
    tokens = [len(chunk.tokens) for chunk in layout.chunks]
    kept = text_bytes(backbone, max(tokens))
    if settings.visual_ctx:
        kept += image_bytes(backbone, BATCH, settings.visual_ctx)
    found = {
        "chunks": len(tokens),
        "tokens": sum(tokens),
        "start": start,
        "peak": peak(),
        "predicted": kept / 1e9,
        "seconds": time.perf_counter() - began,
    }
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--methods", nargs="+", default=["text", "unified"])
    parser.add_argument("--classes", nargs="+", type=int, default=[10, 100, 1000])
    parser.add_argument("--n-ctx", type=int, default=16)
    parser.add_argument("--memory-gb", nargs="+", type=float, default=[3.0])
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(args.step, args.methods[0], args.classes[0], args.n_ctx, args.memory_gb[0])
        return
    import open_clip

    print(
        "| method | classes | memory_gb | chunks | text tokens | start GB | predicted GB | peak GB | s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        weights, config = convert_model(open_clip.create_model(args.model).eval(), args.model)
        config["preprocess"] = {"mean": [0.5] * 3, "std": [0.25] * 3}
        write_backbone(weights, config, Path(folder))
        for method in args.methods:
            for classes in args.classes:
                for memory in args.memory_gb:
                    own = [sys.executable, "-m", "speed.memory", "--step", folder]
                    own += ["--methods", method, "--classes", str(classes)]
                    own += ["--n-ctx", str(args.n_ctx), "--memory-gb", str(memory)]
                    done = subprocess.run(own, check=True, capture_output=True, text=True)
                    row = json.loads(done.stdout)
                    print(
                        f"| {method} | {classes} | {memory:g} | {row['chunks']} | {row['tokens']} | "
                        f"{row['start']:.2f} | {row['predicted']:.2f} | {row['peak']:.2f} | "
                        f"{row['seconds']:.0f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
