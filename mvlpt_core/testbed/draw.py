"""Drawings of the testbed: 32 px scenes of five coloured parts, each part plain or under a tint.

A scene is an object on a background, beside a dot and over a bar, inside a frame. `sample_scenes`
decides what is drawn, `render` draws it. Chance comes from the given numpy Generator alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE = 32
PARTS = ("object", "background", "frame", "dot", "bar")
SHAPES = ("circle", "square")
PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (240, 220, 50),
    "green": (50, 165, 65),
    "teal": (60, 195, 195),
    "blue": (45, 80, 210),
    "purple": (130, 50, 180),
    "pink": (245, 150, 195),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
TINTS: dict[str, tuple[int, int, int]] = {
    "golden": (250, 190, 20),
    "rosy": (240, 50, 130),
    "icy": (50, 120, 245),
    "leafy": (30, 190, 60),
}
PLAIN = 0  # tint index of a part that has none; tint k >= 1 is the k-th of TINTS

_BACKGROUND = PARTS.index("background")
_COLOURS = np.array(list(PALETTE.values()), dtype=np.float32) / 255
_TINTS = np.array([(0, 0, 0), *TINTS.values()], dtype=np.float32) / 255
_COLOUR_JITTER = 0.05  # half width, per part and channel
_PIXEL_NOISE = 0.05  # half width, per pixel and channel


@dataclass(frozen=True)
class Scenes:
    """What N drawings show; columns as in PARTS.

    Shape [N], colour [N, 5] (indices into SHAPES and PALETTE), tint [N, 5] (0 plain), and the
    tint's share of the colour, strength [N, 5].
    """

    shape: NDArray[np.int64]
    colour: NDArray[np.int64]
    tint: NDArray[np.int64]
    strength: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.shape)


def sample_scenes(
    rng: np.random.Generator,
    n: int,
    *,
    tint_share: float = 0.0,
    tint_strength: tuple[float, float] = (0.0, 0.0),
    part: str | None = None,
    part_colours: NDArray[np.int64] | None = None,
    light: int = PLAIN,
) -> Scenes:
    """Sample n scenes; every part differs in colour from the background, so that it can be seen.

    A part is tinted with probability `tint_share`, each independently, by a strength drawn from
    `tint_strength`. `light` > 0 puts all parts under that one tint instead. `part` gets
    `part_colours` [n] (indices into PALETTE).
    """
    k = len(PALETTE)
    fixed = np.zeros(n, dtype=np.int64) if part_colours is None else part_colours
    background = rng.integers(0, k, n)
    if part == "background":
        background = fixed
    elif part is not None:
        background = (fixed + rng.integers(1, k, n)) % k
    colour = (background[:, None] + rng.integers(1, k, (n, len(PARTS)))) % k
    colour[:, _BACKGROUND] = background
    if part is not None:
        colour[:, PARTS.index(part)] = fixed
    tint = rng.integers(1, len(TINTS) + 1, colour.shape)
    tint = np.where(rng.random(colour.shape) < tint_share, tint, PLAIN)
    if light != PLAIN:
        tint = np.full_like(tint, light)
    strength = rng.uniform(*tint_strength, size=colour.shape).astype(np.float32)
    return Scenes(rng.integers(0, len(SHAPES), n), colour, tint, strength)


def render(rng: np.random.Generator, scenes: Scenes) -> NDArray[np.uint8]:
    """Draw scenes: uint8 [N, 32, 32, 3]. Places, sizes and noise come from `rng`."""
    n = len(scenes)
    strength = np.where(scenes.tint == PLAIN, np.float32(0), scenes.strength)[..., None]
    paint = (1 - strength) * _COLOURS[scenes.colour] + strength * _TINTS[scenes.tint]
    paint += _COLOUR_JITTER * (2 * rng.random(paint.shape, np.float32) - 1)  # [N, 5, 3]

    def between(low: float, high: float) -> NDArray[np.float32]:
        return low + (high - low) * rng.random((n, 1, 1), np.float32)

    axis = np.arange(SIZE, dtype=np.float32) + 0.5
    y, x = axis[None, :, None], axis[None, None, :]
    bar = np.abs(y - between(25, 26)) - between(1.8, 2.4)
    dot = np.hypot(y - between(7, 8), x - between(24, 25)) - between(3, 3.6)
    frame = between(13.5, 14.25) - np.maximum(np.abs(y - SIZE / 2), np.abs(x - SIZE / 2))
    dy, dx, r = y - between(14.5, 16.5), x - between(13, 15.5), between(6, 7)
    objects = [np.hypot(dy, dx) - r, np.maximum(np.abs(dy), np.abs(dx)) - 0.9 * r]  # as in SHAPES
    # Signed distance in pixels to a part's edge, negative inside; later parts cover earlier ones.
    cover = {
        "bar": np.broadcast_to(bar, (n, SIZE, SIZE)),
        "dot": dot,
        "object": np.choose(scenes.shape[:, None, None], objects),
        "frame": frame,
    }
    image = np.tile(paint[:, _BACKGROUND, None, None], (1, SIZE, SIZE, 1))  # [N, 32, 32, 3]
    for part, distance in cover.items():
        alpha = np.clip(0.5 - distance, 0, 1)[..., None]
        image += alpha * (paint[:, PARTS.index(part), None, None] - image)
    image += _PIXEL_NOISE * (2 * rng.random(image.shape, np.float32) - 1)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
