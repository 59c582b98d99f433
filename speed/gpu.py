"""What a device makes of the three methods: one command, about ten minutes on a GPU.

    python -m speed.gpu [--model ViT-B-16] [--device cuda] [--packs 1 20] [--study paper_vitb16]

First a tuning step of each method, in packs of each size: in the device's own precision, plain and as
`gpu_step` has it (compiled; recorded, where it encodes text alone), and in fp32. Steps and images a second,
and the share of the device's own matrix rate, which a product of the tower's shape gives between the
steps. Then a step whose images wait in host memory, fetched ahead and not; several packs on the device at a
time (`packs_per_device`); and what packing does to a result: one run tuned alone and in a pack, and tuned
from other seeds, and the spread of its logits over either. Last the hours of a study, as `mvlpt plan
--calibrate` has them. Weights and images are random; `--model tiny` is a small tower, for a processor.
Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from subprocess import PIPE, Popen
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from mvlpt.plan import print_plan
from mvlpt_core.backbone import ahead
from mvlpt_core.backbone.cost import image_step, text_step
from mvlpt_core.backbone.device import keep_freed_memory, resolve_device, resolve_precision
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.methods import Method, TextMethod, UnifiedMethod, VisualMethod
from mvlpt_core.contract.settings import Tuning
from mvlpt_core.planning.shapes import image_side, random_backbone, read_shapes
from mvlpt_core.prompts.modules import Prompt, Towers, make_prompt
from mvlpt_core.prompts.starts import random
from mvlpt_core.tuning.classifier import Classifier, Pool
from mvlpt_core.tuning.loop import tune
from mvlpt_core.tuning.recorded import Recorder, cuda_graph
from mvlpt_core.tuning.schedule import batch_order, schedule

BATCH, CLASSES, DOT, SEEDS = 32, 50, 13, 3
WARM_UP = 3  # steps that are not timed
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
        self.waiting = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        images = self.waiting.to(device)
        if not settings.visual_ctx:
            with torch.no_grad():
                images = backbone.image(images)[0]
        self.pool = Pool(images, torch.arange(BATCH, device=device) % CLASSES)

    def prompt(self, seeds: Sequence[int]) -> Prompt:
        made = make_prompt(self.settings, Towers.of(self.backbone), len(seeds))
        for run, seed in enumerate(seeds):
            random(seed)(made, run)
        return made

    @property
    def method(self) -> str:
        return self.prompt([0]).method

    def tuned(
        self,
        prompt: Prompt,
        steps: int,
        pool: Pool,
        say: Callable[[int, Tensor], None] = lambda step, losses: None,
        record: Recorder | None = None,
    ) -> None:
        tuning = Tuning(steps=steps, batch_size=BATCH, warmup=0, curve_images=0)
        plan = schedule(tuning, self.settings.lr, BATCH)
        tune(
            self.classifier,
            prompt,
            pool,
            batch_order(BATCH, plan, seed=0),
            plan,
            tuning,
            lambda vectors, step: (),
            dropout_seeds=[0] * prompt.runs,
            say=say,
            record=record,
        )

    def step(
        self, runs: int, steps: int, pool: Pool | None = None, record: Recorder | None = None
    ) -> float:
        """Seconds of a step of `runs` side by side, the mean of `steps` after the first ones."""
        marks = []

        def say(step: int, losses: Tensor) -> None:
            if step in (WARM_UP, WARM_UP + steps):
                marks.append(now(self.backbone.device))

        self.tuned(self.prompt([0] * runs), WARM_UP + steps, pool or self.pool, say, record)
        return (marks[1] - marks[0]) / steps

    def logits(self, seeds: list[int], steps: int) -> Tensor:
        """Scaled cosines [R, B, C] of prompts tuned from `seeds`, side by side."""
        prompt = self.prompt(seeds)
        self.tuned(prompt, steps, self.pool)
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


def now(device: torch.device) -> float:
    """Seconds of the clock, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def matrix_rate(backbone: Backbone, runs: int) -> float:
    """Operations a second of the largest product in a pack's image tower."""
    width, device = backbone.image.width, backbone.device
    rows = runs * BATCH * backbone.image.position.shape[0]
    options: Any = {"dtype": backbone.matrix_dtype, "device": device}
    a, b = torch.randn(rows, width, **options), torch.randn(4 * width, width, **options)
    F.linear(a, b)
    marks = [now(device)]
    for _ in range(5):
        F.linear(a, b)
        marks.append(now(device))
    taken = [end - begin for begin, end in pairwise(marks)]
    return 2 * a.numel() * len(b) / statistics.median(taken)


Rows = Iterator[tuple[object, ...]]


def step_rows(
    benches: Sequence[Bench], gpu_step: str, packs: Sequence[int], steps: int, repeats: int
) -> Rows:
    record = cuda_graph if gpu_step == "recorded" else None
    for bench in benches:
        if record and bench.settings.visual_ctx:
            continue
        for runs in packs:
            needed = bench.operations(runs)
            taken, shares = [], []
            for _ in range(repeats):
                taken.append(bench.step(runs, steps, record=record))
                shares.append(needed / taken[-1] / matrix_rate(bench.backbone, max(packs)))
            step = statistics.median(taken)
            precision = str(bench.backbone.matrix_dtype).removeprefix("torch.")
            about = bench.method, precision, gpu_step, runs
            speeds = f"{1000 * step:.1f}", f"{runs / step:.2f}", f"{runs * BATCH / step:.0f}"
            yield *about, *speeds, f"{needed / 1e9:.0f}", f"{statistics.median(shares):.0%}"


def fetch_rows(bench: Bench, packs: Sequence[int], steps: int) -> Rows:
    """Milliseconds of a step whose images lie on the device, and in host memory."""
    waiting = Pool(bench.waiting, bench.pool.targets)
    for runs in packs:
        taken = [bench.step(runs, steps), bench.step(runs, steps, waiting)]
        with patch.object(ahead, "_carrier", lambda device: None):
            taken.append(bench.step(runs, steps, waiting))
        yield bench.method, runs, *(f"{1000 * seconds:.1f}" for seconds in taken)


def rows_at_once(counts: Sequence[int], packs: Sequence[int], options: Sequence[str]) -> Rows:
    """Runs times steps a second, of several processes at a time together."""
    command = [sys.executable, "-m", "speed.gpu", *options, "--packs", *map(str, packs), "--worker"]
    for count in counts:
        workers = [Popen(command, stdin=PIPE, stdout=PIPE, text=True) for _ in range(count)]
        for _ in SETTINGS:
            for runs in packs:
                ready = [_line(worker) for worker in workers]
                for worker in workers:
                    assert worker.stdin
                    print(file=worker.stdin, flush=True)
                rate = sum(runs / float(_line(worker)) for worker in workers)
                yield ready[0], count, runs, f"{rate:.2f}"
        for worker in workers:
            worker.communicate()


def _line(worker: Popen[str]) -> str:
    assert worker.stdout
    line = worker.stdout.readline().strip()
    if not line:
        raise SystemExit("a process beside others ended: is the device's memory enough for all?")
    return line


def work(benches: Iterable[Bench], packs: Sequence[int], steps: int) -> None:
    """What one of several processes does: says that it is ready, waits for the others, tells its speed."""
    for bench in benches:
        for runs in packs:
            bench.step(runs, 1)
            print(bench.method, flush=True)
            sys.stdin.readline()
            print(bench.step(runs, steps), flush=True)


def spread_rows(benches: Sequence[Bench], pack: int, steps: int) -> Rows:
    """Root mean square differences of logits: of one run alone and in a pack, and over seeds."""
    for bench in benches:
        alone = torch.cat([bench.logits([seed], steps) for seed in range(SEEDS)])
        packed = bench.logits(list(range(pack)), steps)[:SEEDS]
        by_pack = float((alone[: len(packed)] - packed).square().mean().sqrt())
        by_seed = float((alone[1:] - alone[:-1]).square().mean().sqrt())
        yield bench.method, f"{by_pack:.2g}", f"{by_seed:.2g}"


def print_table(columns: str, rows: Rows) -> None:
    """Each row as soon as it is found."""
    count = len(columns.split("|"))
    print(f"\n| {columns} |\n|{count * ' --- |'}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="ViT-B-16", help="one of open_clip's names, or tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--packs", nargs="+", type=int, default=[1, 20])
    parser.add_argument("--at-once", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--study", help="a configuration whose hours are wanted too")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = resolve_device(given.device)
    keep_freed_memory(device)
    shapes = TINY if given.model == "tiny" else read_shapes(given.model)

    def benches(precision: str, compiled: bool = False) -> list[Bench]:
        dtype = resolve_precision(precision, device, shapes["vision_cfg"]["width"])
        backbone = random_backbone(shapes, device, dtype, compiled=compiled)
        return [Bench(backbone, settings) for settings in SETTINGS]

    plain = benches(given.precision)
    if given.worker:
        work(plain, given.packs, given.steps)
        return
    on_gpu = device.type == "cuda"
    named = torch.cuda.get_device_name(device) if on_gpu else "processor"
    print(f"torch {torch.__version__}, {named}, {given.model}")

    def steps() -> Rows:
        how = given.packs, given.steps, given.repeats
        yield from step_rows(plain, "plain", *how)
        if on_gpu:
            yield from step_rows(plain, "recorded", *how)
            yield from step_rows(benches(given.precision, compiled=True), "compiled", *how)
        if plain[0].backbone.matrix_dtype != torch.float32:
            yield from step_rows(benches("fp32"), "plain", *how)

    print_table(
        "method | precision | gpu_step | pack | ms/step | runs x steps/s | images/s | "
        "needed GFLOP | share of rate",
        steps(),
    )
    print_table(
        "method | pack | images on the device, ms/step | in host memory, fetched ahead | not ahead",
        fetch_rows(plain[1], given.packs, given.steps),
    )
    print_table(
        "method | packs at a time | pack | runs x steps/s",
        rows_at_once(
            given.at_once,
            given.packs,
            [
                *("--model", given.model, "--device", given.device),
                *("--precision", given.precision, "--steps", str(given.steps)),
            ],
        ),
    )
    print_table(
        "method | spread by pack | spread by seed",
        spread_rows(plain, max(given.packs), given.steps),
    )
    if given.study:
        print()
        print_plan(given.study, None, True, str(device), None, None)


if __name__ == "__main__":
    main()
