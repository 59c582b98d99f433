"""A contact sheet of tasks' images, as the backbone sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mvlpt_core.contract.files import whole
from mvlpt_core.contract.seeds import generator
from mvlpt_core.tasks.prepare import image_transform
from mvlpt_core.tasks.verify import Found

CLASSES = 6  # rows a task, spread over its classes
IMAGES = 8  # columns: images of the class, drawn from those to tune on
_GAP = 4  # pixels
_HEAD = 24  # pixels of a row's caption


def write_sheet(path: Path, found: Iterable[Found], preprocess: Mapping[str, Any]) -> None:
    """Write a PNG with a row for each of `CLASSES` classes of every task: images to tune on that decode, cut
    and scaled as for the backbone (uint8 [S, S, 3], before its mean is subtracted)."""
    rows = [row for one in found for row in _rows(one, preprocess)]
    side = int(preprocess["size"])
    width = IMAGES * (side + _GAP) + _GAP
    sheet = Image.new("RGB", (width, max(1, len(rows)) * (side + _HEAD)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for number, (caption, images) in enumerate(rows):
        top = number * (side + _HEAD)
        draw.text((_GAP, top + _GAP), caption, "black", font)
        for column, pixels in enumerate(images):
            sheet.paste(Image.fromarray(pixels), (_GAP + column * (side + _GAP), top + _HEAD))
    with whole(path) as part:
        sheet.save(part, "png")


def _rows(found: Found, preprocess: Mapping[str, Any]) -> list[tuple[str, list[np.ndarray]]]:
    """(caption, images) of each class that is shown."""
    if found.source is None or "train" not in found.splits:
        return []
    split, names = found.splits["train"], found.source.classnames
    transform = image_transform(preprocess)
    shown = np.unique(np.linspace(0, len(names) - 1, CLASSES).round().astype(int))
    random = generator("sheet", found.task)
    chosen = {}
    for c in shown:
        own = split.labels[:, c] > 0 if split.labels.ndim == 2 else split.labels == c
        own &= found.hashes["train"].any(1)  # images that decode
        chosen[int(c)] = random.permutation(np.flatnonzero(own))[:IMAGES]
    wanted = sorted({int(i) for images in chosen.values() for i in images})
    pixels = {i: transform(image) for i, image in split.images(wanted)}
    return [
        (f"{found.task}: {names[c]}", [pixels[int(i)] for i in own]) for c, own in chosen.items()
    ]
