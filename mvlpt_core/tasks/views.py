"""Augmented views of a training image: a random resized crop, flipped half the time.

As torchvision's RandomResizedCrop with its defaults, which the published code uses on the CoOp tasks:
8 to 100 % of the area, sides at 3/4 to 4/3. Drawn once and kept, so that frozen features of a view are
encoded once too.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_TRIES = 10


def crop_flip(
    image: Image.Image, size: int, resample: Image.Resampling, random: np.random.Generator
) -> NDArray[np.uint8]:
    """One view, uint8 [size, size, 3], of an RGB image of any size."""
    left, top, width, height = _box(image.width, image.height, random)
    view = image.crop((left, top, left + width, top + height)).resize((size, size), resample)
    pixels = np.asarray(view)
    return pixels[:, ::-1] if random.random() < 0.5 else pixels


def _box(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of the crop; the centre where no draw fits a long image."""
    for _ in range(_TRIES):
        area = width * height * random.uniform(*_AREA)
        ratio = math.exp(random.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.integers(width - w + 1), random.integers(height - h + 1)
            return int(left), int(top), w, h
    w = min(width, round(height * _RATIO[1]))
    h = min(height, round(width / _RATIO[0]))
    return (width - w) // 2, (height - h) // 2, w, h
