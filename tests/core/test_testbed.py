"""The testbed's properties: a full grid of deterministic, balanced tasks, and a small backbone."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mvlpt_core.testbed import FAMILIES, SPLIT_SIZES, STYLES, TASKS, draw_split
from mvlpt_core.testbed.captions import TEMPLATES, WORDS, caption_ids, caption_text
from mvlpt_core.testbed.draw import PALETTE, PARTS, SIZE, TINTS, Scenes, render, sample_scenes

ROOT = Path(__file__).parents[2]
BACKBONE = ROOT / "mvlpt_core" / "testbed" / "backbone"
GRID = [f"{family}_{style}" for family in FAMILIES for style in STYLES]
SOME = ["object_golden", "frame_icy", "bar_leafy"]


def test_tasks_are_the_full_grid_in_order() -> None:
    assert len(FAMILIES) == 5
    assert len(STYLES) == 4
    assert list(TASKS) == GRID
    assert all(
        (task.name, task.family, task.style) == (name, *name.split("_"))
        for name, task in TASKS.items()
    )


def test_class_names_agree_within_a_family_and_differ_between_families() -> None:
    names = {
        family: {TASKS[f"{family}_{style}"].classnames for style in STYLES} for family in FAMILIES
    }
    assert all(len(variants) == 1 for variants in names.values())
    sets = [next(iter(variants)) for variants in names.values()]
    assert len(set(sets)) == len(FAMILIES)
    assert all(len(set(s)) == len(s) == 8 and set(s) < set(PALETTE) for s in sets)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_is_deterministic_and_balanced(name: str, split: str) -> None:
    images, labels = draw_split(name, split)
    again, labels_again = draw_split(name, split)
    classes = len(TASKS[name].classnames)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert images.shape == (classes * SPLIT_SIZES[split], SIZE, SIZE, 3)
    assert (np.bincount(labels, minlength=classes) == SPLIT_SIZES[split]).all()
    assert np.array_equal(images, again)
    assert np.array_equal(labels, labels_again)


def test_no_image_is_drawn_twice() -> None:
    splits = [(name, split) for name in [*SOME, "object_icy"] for split in SPLIT_SIZES]
    images = np.concatenate([draw_split(name, split)[0] for name, split in splits])
    assert len({image.tobytes() for image in images}) == len(images)


def test_styles_share_labels_and_seeds_change_images() -> None:
    labels = [draw_split(f"dot_{style}", "train")[1] for style in STYLES]
    assert all(np.array_equal(labels[0], other) for other in labels)
    first, second = (
        draw_split("dot_icy", "test", seed=0)[0],
        draw_split("dot_icy", "test", seed=1)[0],
    )
    assert not np.array_equal(first, second)


def test_unknown_task_and_split_are_errors() -> None:
    with pytest.raises(KeyError):
        draw_split("object_plaid", "train")
    with pytest.raises(KeyError):
        draw_split("object_icy", "val")


@pytest.mark.parametrize("style", STYLES)
def test_a_style_draws_every_colour_towards_its_tint(style: str) -> None:
    def distance(images: np.ndarray) -> float:
        return float(np.abs(images.astype(float) - TINTS[style]).mean())

    rng = np.random.default_rng(5)
    plain = render(rng, sample_scenes(rng, 200))
    assert distance(draw_split(f"background_{style}", "test")[0]) < 0.75 * distance(plain)


@pytest.mark.parametrize("part", PARTS)
def test_a_class_changes_only_its_part(part: str) -> None:
    def drawn(colour: int) -> np.ndarray:
        colours = np.full((40, len(PARTS)), list(PALETTE).index("white"))
        colours[:, PARTS.index(part)] = colour
        scenes = Scenes(
            np.arange(40) % 2, colours, np.zeros_like(colours), np.zeros(colours.shape, np.float32)
        )
        return render(np.random.default_rng(3), scenes)

    changed = np.abs(drawn(0).astype(int) - drawn(5)).max(-1) > 60  # [N, 32, 32]
    share = changed.mean(axis=(1, 2))
    assert (share > 0.01).all()
    assert (share < 0.75).all()
    where = changed.mean(axis=0)
    assert (where[0, 0] == 1) == (part == "frame")  # the frame alone reaches the corner
    assert (where[SIZE // 2, SIZE // 2] == 1) == (
        part == "object"
    )  # the object alone covers the middle


def test_every_part_can_be_told_from_the_background() -> None:
    for part in PARTS:
        scenes = sample_scenes(
            np.random.default_rng(2), 500, part=part, part_colours=np.arange(500) % 10
        )
        background = PARTS.index("background")
        assert (scenes.colour[:, PARTS.index(part)] == np.arange(500) % 10).all()
        assert (np.delete(scenes.colour, background, 1) != scenes.colour[:, [background]]).all()


def test_captions_name_tints_and_parts() -> None:
    scenes = Scenes(
        shape=np.array([0, 1]),
        colour=np.array([[0, 5, 1, 8, 9], [3, 4, 6, 7, 2]]),
        tint=np.array([[1, 0, 0, 3, 0], [0, 0, 0, 0, 0]]),
        strength=np.full((2, 5), 0.4, np.float32),
    )
    first, second = map(caption_text, caption_ids(scenes, PARTS, full_stop=True))
    assert (
        first == "a golden red circle on a blue background in a orange frame "
        "with a icy white dot over a black bar ."
    )
    assert (
        second == "a green square on a teal background in a purple frame "
        "with a pink dot over a yellow bar ."
    )
    short = caption_ids(scenes, ["frame"])
    assert caption_text(short[0]) == TEMPLATES["frame"][0].format(c="orange")
    assert caption_text(caption_ids(scenes, ["object"])[1]) in [
        t.format(c="green") for t in TEMPLATES["object"]
    ]


def test_templates_and_class_names_use_the_captions_words() -> None:
    for task in TASKS.values():
        assert set(task.classnames) <= set(WORDS)
        assert all(
            set(template.format(c="red").split()) <= set(WORDS) for template in task.templates
        )
        assert not any(tint in template for template in task.templates for tint in TINTS)


def test_suite_agrees_with_the_tasks() -> None:
    with (ROOT / "config" / "suites" / "testbed.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["task"] for row in rows] == list(TASKS)
    for row in rows:
        task = TASKS[row["location"]]
        assert (row["task"], row["family"], row["style"]) == (task.name, task.family, task.style)
        assert (row["kind"], row["metric"]) == ("testbed", "accuracy")


def test_weights_are_small_and_of_the_stated_shape() -> None:
    path = BACKBONE / "open_clip_model.safetensors"
    assert path.stat().st_size <= 8_000_000
    config = json.loads((BACKBONE / "open_clip_config.json").read_text())
    assert (
        config["preprocess_cfg"]["size"] == config["model_cfg"]["vision_cfg"]["image_size"] == SIZE
    )
    text = config["model_cfg"]["text_cfg"]
    weights = load_file(path)
    tokens = weights["token_embedding.weight"]
    assert tokens.shape == (text["vocab_size"], text["width"])
    # Words that were never trained stay distinct.
    assert len(np.unique(tokens[:, :4], axis=0)) > 0.999 * len(tokens)
    assert all(np.isfinite(tensor).all() for tensor in weights.values())


def test_drawing_needs_no_torch() -> None:
    code = (
        "import sys, mvlpt_core.testbed as t; t.draw_split('bar_icy', 'test'); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
