"""The testbed: 20 tasks with a known structure, drawn procedurally (numpy only; nothing is stored).

Five label families (which part of a drawing the class names) by four visual styles (the tint of the
light that falls on the whole drawing). Class names are bare colour words, which mean a part only
with context. A family leaves out two of the ten colours, so label sets differ between families and
agree within one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.testbed.captions import TEMPLATES
from mvlpt_core.testbed.draw import PALETTE, PARTS, TINTS, render, sample_scenes

FAMILIES: tuple[str, ...] = PARTS
STYLES: tuple[str, ...] = tuple(TINTS)
SPLIT_SIZES: dict[str, int] = {"train": 40, "test": 25}  # images a class
LIGHT_STRENGTH = 0.5  # share of the tint in every colour of a task's drawings

_SPLIT_KEYS = {"train": 0, "test": 1}


@dataclass(frozen=True)
class TestbedTask:
    """One task: its place in the grid, its class names, and templates that put them in context."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    name: str
    family: str
    style: str
    classnames: tuple[str, ...]
    templates: tuple[str, ...]


def _classnames(family: str) -> tuple[str, ...]:
    left_out = 2 * FAMILIES.index(family)
    return tuple(word for i, word in enumerate(PALETTE) if i not in (left_out, left_out + 1))


TASKS: dict[str, TestbedTask] = {
    f"{family}_{style}": TestbedTask(
        f"{family}_{style}", family, style, _classnames(family), TEMPLATES[family]
    )
    for family in FAMILIES
    for style in STYLES
}


def draw_split(name: str, split: str, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N] of a task's "train" or "test" split.

    Classes are balanced. Labels come in the same order for all styles of a family; the images are
    drawn anew for each task and split. Raises KeyError for an unknown task or split.
    """
    task = TASKS[name]
    family, style = FAMILIES.index(task.family), STYLES.index(task.style)
    key = _SPLIT_KEYS[split]
    classes = len(task.classnames)
    labels = np.repeat(np.arange(classes), SPLIT_SIZES[split])
    np.random.default_rng([seed, key, family]).shuffle(labels)
    colours = np.array([list(PALETTE).index(word) for word in task.classnames])[labels]
    rng = np.random.default_rng([seed, key, family, style + 1])
    scenes = sample_scenes(
        rng,
        len(labels),
        tint_strength=(LIGHT_STRENGTH, LIGHT_STRENGTH),
        part=task.family,
        part_colours=colours,
        light=style + 1,
    )
    return render(rng, scenes), labels
