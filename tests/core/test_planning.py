"""Counts of a study before it runs, by hand; shapes without weights; and speeds."""

from __future__ import annotations

import json

import pytest
import torch

from mvlpt_core.backbone import cost
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.runs import Packed, expand, packs
from mvlpt_core.contract.settings import Study, read_study
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.planning.calibrate import Bench, Shape, Speed, Stopwatch, frozen_speed
from mvlpt_core.planning.counts import Counter, TaskSize, runs_by_kind
from mvlpt_core.planning.forecast import Machine, memory
from mvlpt_core.planning.shapes import random_backbone, read_shapes, weight_bytes
from mvlpt_core.planning.sizes import ASSUMED_CLASSES, ASSUMED_TEST, task_size

SHAPES = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 16,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
    },
    "text_cfg": {"context_length": 24, "vocab_size": 99, "width": 32, "heads": 2, "layers": 2},
}
TASKS = ["a", "b", "c"]
SIZES = {"a": TaskSize(2, 100), "b": TaskSize(4, 50), "c": TaskSize(10, 1000, train=30)}


def a_study(**changed: object) -> Study:
    values = {
        "study": "s",
        "suite": "s.tsv",
        "shots": [5],
        "seeds": [1, 2],
        "backbone": {"name": "ViT-B-16", "pretrained": "openai"},
        "methods": {"text": {"n_ctx": 4}, "visual": {"n_ctx": 2, "class_text": "templates"}},
        "tuning": {"steps": 7, "batch_size": 4, "evaluations": 3, "curve_images": 60},
        "max_test": 200,
        "pack": 2,
        "tasks_per_job": 5,
    }
    return read_study({**values, **changed}, "test")


def a_counter(groups: dict[str, tuple[str, ...]] | None = None, **changed: object) -> Counter:
    study = a_study(**changed)
    runs = expand(study, TASKS, groups or {})
    packed = [
        Packed(pack, tuple(study.shots), tuple(study.seeds))
        for pack in packs(runs.pairs[study.shots[0]], runs.groups, study.pack, study.tasks_per_job)
    ]
    backbone = random_backbone(SHAPES, "meta", torch.float32)
    return Counter(study, runs, packed, SIZES, backbone)


def test_runs_by_kind() -> None:
    counter = a_counter()
    assert runs_by_kind(counter.runs, 2, 2)["scratch"] == 3 * 4
    assert runs_by_kind(counter.runs, 2, 2)["cells"] == 9 * 4
    sets = {"ab": ("a", "b")}
    patterns = [{"group": "c", "start": "ab"}, {"group": "ab", "start": "c"}]
    kinds = runs_by_kind(a_counter(sets, runs={"x": patterns}).runs, 1, 1)
    assert kinds == {
        "scratch": 1,
        "cells": 0,
        "sets": 1,
        "from sets and means": 1,
        "groups from a prompt": 1,
        "replicates": 0,
    }


def test_images_by_hand() -> None:
    counter = a_counter()
    # 5 shots: one of them for validation; class c has 30 of the 50 images wanted.
    assert counter.drawn("a", 5) == (8, 2)
    assert counter.drawn("c", 5) == (24, 6)
    assert [counter.tested(task) for task in TASKS] == [100, 50, 200]
    samples = 2 * (10 + 20 + 30)
    assert counter.frozen()[0] == 350 + samples
    views = {"steps": 7, "augment": "crop_flip", "views": 3}
    assert a_counter(tuning=views).frozen()[0] == 350 + samples + 2 * 3 * (8 + 16 + 24)


def test_portions_by_hand() -> None:
    counter = a_counter()
    # Three scratch runs in one job; three starts are two packs: two side by side, then one.
    assert [(job.method, job.runs) for job in counter.jobs[:3]] == [
        ("text", 3),
        ("text", 6),
        ("text", 3),
    ]
    assert sum(p.runs * p.steps for job in counter.jobs for p in job.portions) == 2 * 12 * 7
    first = counter.jobs[4].portions[0]  # visual, a, two runs
    assert (first.group, first.runs, first.batch, first.classes) == ("a", 2, 4, 2)
    assert first.step == cost.image_step(counter.backbone, 2, 4, 2)
    # Step 0 and 7 on all 100 images, the two stops between on 60.
    own = [
        2 * cost.image_forward(counter.backbone, images, 2) + 2 * 2 * images * 2 * 16
        for images in (100, 60)
    ]
    assert first.scorings == ((2, own[0]), (2, own[1]))
    assert first.scoring == 2 * sum(own)
    assert first.bytes == 2 * cost.image_bytes(counter.backbone, 4, 2)


def test_bytes_of_attention_are_those_that_it_keeps() -> None:
    """On a processor attention between bf16 matrices is in fp32: what it keeps is counted so."""
    kept, counted = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        backbone = random_backbone(SHAPES, torch.device("cpu"), dtype)
        found = []
        q, k, v = (torch.ones(1, 3, 32, dtype=dtype, requires_grad=True) for _ in range(3))
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda x, f=found: f.append(x), lambda x: x
        )
        with hooks:
            backbone.image.blocks[0].attend(q, k, v)
        kept[dtype] = {x.dtype for x in found}
        counted[dtype] = cost.image_bytes(backbone, 4, 2)
    assert kept[torch.bfloat16] == kept[torch.float32] == {torch.float32}
    # 4 images of 5 tokens and 2 vectors, 2 layers, width 32: 6 widths in attention, 12 others.
    assert counted[torch.float32] == 28 * 2 * 32 * (6 + 12) * 4
    assert counted[torch.bfloat16] == 28 * 2 * 32 * (6 * 4 + 12 * 2)
    elsewhere = random_backbone(SHAPES, torch.device("meta"), torch.bfloat16)
    assert cost.image_bytes(elsewhere, 4, 2) == 28 * 2 * 32 * 18 * 2


def test_the_best_checkpoint_is_scored_too() -> None:
    tuning = {"epochs": 4, "batch_size": 4, "evaluations": 2, "checkpoint": "best_val"}
    portion = a_counter(tuning=tuning | {"curve_images": 0}).jobs[0].portions[0]
    assert portion.steps == 4 * 2  # two batches of four of eight images
    assert [count for count, _ in portion.scorings] == [3, 2]
    one = a_counter(tuning=tuning | {"curve_images": 0}, shots=[1]).jobs[0].portions[0]
    assert [count for count, _ in one.scorings] == [2]


def test_groups_have_the_budget_of_their_tasks() -> None:
    counter = a_counter({"ab": ("a", "b")}, runs={"x": [{"group": "ab", "start": "random"}]})
    (portion,) = counter.jobs[0].portions
    assert (portion.steps, portion.classes) == (14, 6)
    assert counter.jobs[0].opened == 2
    assert len(portion.scorings) == 4  # whole and sample, of each task


def test_little_memory_makes_portions() -> None:
    whole, parts = a_counter(), a_counter(memory_gb=1e-4)
    assert len(parts.jobs[4].portions) > len(whole.jobs[4].portions)
    assert sum(p.runs for p in parts.jobs[4].portions) == 6


def test_shapes_are_those_of_the_model() -> None:
    shapes = read_shapes("ViT-B-16")
    towers = random_backbone(shapes, "meta", torch.float32)
    assert (len(towers.image.blocks), towers.image.width, towers.text.width) == (12, 768, 512)
    assert towers.image.position.shape == (197, 768)
    # 149.6 million parameters, less norms and biases.
    assert weight_bytes(towers) == pytest.approx(4 * 149.6e6, rel=0.005)
    with pytest.raises(InputError, match="unknown model name: expected one of open_clip's"):
        read_shapes("ViT-Z-99")
    with pytest.raises(InputError, match="its shapes are not in"):
        read_shapes("local-dir:nowhere")
    with pytest.raises(InputError, match="its shapes are not in"):
        read_shapes("RN50")


def test_speeds_are_lines_through_points() -> None:
    speed = Speed(((10.0, 2.0), (20.0, 3.0), (40.0, 9.0)))
    assert [speed.seconds(x) for x in (10, 15, 20, 30, 40, 80)] == [2, 2.5, 3, 6, 9, 18]
    assert speed.seconds(0) == 1  # the overhead that the first two points show
    assert speed.rate == 40 / 9
    assert Speed.of_rate(1e9).seconds(5e8) == 0.5


def test_a_machine_of_a_rate() -> None:
    counter = a_counter()
    machine = Machine.of_rate(1e9, counter.study.methods.by_name())
    job = counter.jobs[4]
    work = sum(p.tuning + p.scoring for p in job.portions)
    fixed = machine.start + job.runs * machine.write + weight_bytes(counter.backbone) / 1e9
    assert machine.job(job, counter.backbone) == pytest.approx(fixed + work / 1e9)
    peaks = memory(counter, machine)
    assert list(peaks) == ["text", "visual"]
    assert peaks["visual"] > peaks["text"] > machine.base


@pytest.mark.parametrize("method", ["text", "visual"])
def test_real_steps_are_timed(method: str) -> None:
    counter = a_counter()
    backbone = random_backbone(SHAPES, "cpu", torch.float32)
    settings = counter.study.methods.by_name()[method]
    bench = Bench(counter, backbone, settings, Stopwatch(backbone.device, 1))
    steps, scores = bench.speeds([Shape(1, 4, 4, 50), Shape(2, 4, 4, 50)], tokens=2)
    for speed in (steps, scores):
        # A text step costs the same for any batch, so that the tiny one is one of the two.
        assert len(speed.points) >= 2
        assert all(seconds > 0 for _, seconds in speed.points)
    assert frozen_speed(backbone, Stopwatch(backbone.device, 1)).rate > 0


def test_sizes_come_from_data_or_are_assumed(tmp_path) -> None:
    drawn = task_size(TaskRow("x", "testbed", "object_golden", "accuracy"), None)
    assert (drawn.classes, drawn.test, drawn.train, drawn.name_tokens) == (8, 200, 320, 1)
    missing = task_size(TaskRow("x", "wds", "x", "accuracy"), str(tmp_path))
    assert missing.assumed
    assert (missing.classes, missing.test) == (ASSUMED_CLASSES, ASSUMED_TEST)


def test_disk_counts_images_and_rows() -> None:
    counter = a_counter()
    images = counter.frozen()[0]
    assert counter.disk() > images * 3 * 16**2
    more = a_counter(keep_prompts="all")
    cells = 9 * 2
    kept = cells * 4 * (4 * 32 + 2 * 2 * 32)
    assert more.disk() - counter.disk() == kept


def test_descriptions_are_read_from_a_folder(tmp_path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": SHAPES}))
    assert read_shapes(f"local-dir:{tmp_path}") == SHAPES
