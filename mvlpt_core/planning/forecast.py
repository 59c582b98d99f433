"""Seconds and memory of a study's tuning jobs on a machine."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.rows import write_rows
from mvlpt_core.planning.calibrate import Bench, Shape, Speed, Stopwatch, frozen_speed
from mvlpt_core.planning.counts import Counter, Job
from mvlpt_core.planning.shapes import image_side, weight_bytes
from mvlpt_core.tasks.prepare import image_transform

# Of a machine of which only a rate is known: seconds to start a job, to decode an image, to write a run.
_START_S, _IMAGE_S, _WRITE_S = 5.0, 0.005, 0.02
_BASE_BYTES = 700_000_000  # of a process with torch, as measured under Linux without a GPU
_READ_BYTES_A_S = 1e9  # weights from the disk's cache
_SCORED_TOKENS = 1 << 16  # image tokens of a scoring pass, as in tuning.scoring
_WIDTHS_SCORED = 12  # floats of a token that a layer without gradients holds, in widths
# What a tuning job imports; where Linux tells, then the peak of its memory in kB. (The peak that the
# parent is told of a child would be its own, for a child begins as a copy.)
_STARTED = """
import gc
gc.set_threshold(20_000)  # as jobs do
import mvlpt_core.jobs, pathlib
told = pathlib.Path("/proc/self/status")
lines = told.read_text().splitlines() if told.exists() else []
print(*(line.split()[1] for line in lines if line.startswith("VmHWM")))
gc.freeze()
"""


@dataclass(frozen=True)
class Machine:
    """What work costs: by method the speed of steps and of scoring; of frozen features; seconds to
    start a job that tunes, to decode an image, to write a run; bytes of a started process."""

    steps: Mapping[str, Speed]
    scores: Mapping[str, Speed]
    frozen: Speed
    start: float
    image: float
    write: float
    base: int
    on_gpu: bool = False

    @staticmethod
    def of_rate(rate: float, methods: Mapping[str, object]) -> Machine:
        """A machine that reaches `rate` operations a second in everything."""
        speed = Speed.of_rate(rate)
        same = dict.fromkeys(methods, speed)
        return Machine(same, same, speed, _START_S, _IMAGE_S, _WRITE_S, _BASE_BYTES)

    def job(self, job: Job, backbone: Backbone) -> float:
        """Seconds of one tuning job, from the start of its process to its end."""
        seconds = self.start + weight_bytes(backbone) / _READ_BYTES_A_S + job.runs * self.write
        for portion in job.portions:
            seconds += portion.steps * self.steps[job.method].seconds(portion.step)
            for count, operations in portion.scorings:
                seconds += count * self.scores[job.method].seconds(operations)
        return seconds


def memory(counter: Counter, machine: Machine) -> dict[str, int]:
    """Peak bytes of a tuning job by method: process, weights, activations of the largest portion, and
    what a scoring pass holds (bounds: not all are there at once)."""
    image = counter.backbone.image
    found: dict[str, int] = {}
    for job in counter.jobs:
        scored = 0
        if counter.study.methods.by_name()[job.method].visual_ctx:
            scored = 4 * _SCORED_TOKENS * image.width * _WIDTHS_SCORED
        peak = max(portion.bytes for portion in job.portions) + scored
        found[job.method] = max(found.get(job.method, 0), peak)
    fixed = machine.base + weight_bytes(counter.backbone)
    return {method: fixed + peak for method, peak in found.items()}


def calibrate(counter: Counter, backbone: Backbone) -> Machine:
    """Time this machine: a real step and scoring of each method, and what surrounds them.

    `backbone` has weights of the study's shapes, on the device that is meant.
    """
    threads = counter.study.threads
    watch = Stopwatch(backbone.device, threads)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        steps, scores = {}, {}
        for name, settings in counter.study.methods.by_name().items():
            bench = Bench(counter, backbone, settings, watch)
            steps[name], scores[name] = bench.speeds(*_shapes(counter, name))
        frozen = frozen_speed(backbone, watch)
    finally:
        torch.set_num_threads(before)
    start, base = started()
    on_gpu = backbone.device.type == "cuda"
    return Machine(steps, scores, frozen, start, _decoding(backbone), _writing(), base, on_gpu)


def _shapes(counter: Counter, method: str) -> tuple[list[Shape], int]:
    """The portions with fewest, middle and most operations a step, and the tokens of class names."""
    portions = [p for job in counter.jobs if job.method == method for p in job.portions]
    portions.sort(key=lambda portion: portion.step)
    chosen = [portions[0], portions[len(portions) // 2], portions[-1]]
    shapes = [
        Shape(p.runs, p.batch, p.classes, max(map(counter.tested, counter.runs.members(p.group))))
        for p in chosen
    ]
    tokens = round(float(np.mean([size.name_tokens for size in counter.sizes.values()])))
    return shapes, tokens


def started() -> tuple[float, int]:
    """Processor seconds and peak bytes of a process that has imported what a tuning job does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-c", _STARTED], check=True, capture_output=True, text=True
    ).stdout.strip()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, 1024 * int(told) if told.isdecimal() else _BASE_BYTES


def _decoding(backbone: Backbone) -> float:
    """Seconds to decode a photo-sized JPEG and to bring it to the backbone's size."""
    side = image_side(backbone)
    about = {"size": side, "resize_mode": "shortest", "interpolation": "bicubic"}
    transform = image_transform(about)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    with tempfile.TemporaryFile() as file:
        Image.fromarray(pixels).resize((500, 375)).save(file, "JPEG")
        began, count = time.process_time(), 10
        for _ in range(count):
            file.seek(0)
            with Image.open(file) as image:
                transform(image.convert("RGB"))
    return (time.process_time() - began) / count


def _writing() -> float:
    """Seconds to write a run's rows."""
    row = {
        "target": "a",
        "step": 0,
        "split": "test",
        "metric": "accuracy",
        "score": 0.5,
        "loss": 1.0,
        "n": 200,
        "status": "ok",
        "selected": False,
        "outcomes": bytes(400),
        "outcome_kind": "prediction_u16",
    }
    with tempfile.TemporaryDirectory() as folder:
        began, count = time.process_time(), 10
        for i in range(count):
            write_rows(Path(folder, f"{i}.parquet"), [row] * 3)
    return (time.process_time() - began) / count
