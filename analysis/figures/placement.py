"""Names beside the points of a scatter plot, placed so that they can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from .style import MUTED, SMALLEST


@dataclass(frozen=True)
class Spot:
    """A place for a point's name: offset of the text in font points, its alignment, its box and
    its leader in pixels, and what it costs on its own."""

    offset: tuple[float, float]
    align: tuple[str, str]
    box: Bbox
    leader: Path
    cost: float


def label_points(ax: Axes, frame: pd.DataFrame) -> None:
    """Name the outstanding points, each where its name covers few points and where names and
    leaders keep out of one another's way.

    Call it once the figure's layout is final: places are judged in pixels.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    points = ax.transData.transform(frame[["similarity", "points"]].to_numpy(float))
    named = frame[frame["outstanding"]].sort_values("residual", key=abs, ascending=False)
    texts, spots = [], []
    for row in named.itertuples():
        text = ax.annotate(
            f"{row.source}\n\u2192 {row.target}",
            (row.similarity, row.points),
            fontsize=SMALLEST,
            xytext=(0, 0),
            textcoords="offset points",
            linespacing=0.95,
            color="#222222",
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": MUTED, "shrinkA": 0, "shrinkB": 2},
        )
        text.set_in_layout(False)
        box = Text.get_window_extent(text, figure.canvas.get_renderer())  # type: ignore[attr-defined]
        point = ax.transData.transform((text.xy[0], text.xy[1]))
        texts.append(text)
        size = np.array(box.size)
        spots.append(_spots(point, size, points, ax.get_window_extent(), figure.dpi / 72))
    for text, spot in zip(texts, _arranged(spots), strict=True):
        if spot is None:
            text.remove()
            continue
        text.set(ha=spot.align[0], va=spot.align[1])
        text.set_position(spot.offset)


def _spots(
    point: np.ndarray, size: np.ndarray, points: np.ndarray, inside: Bbox, scale: float
) -> list[Spot]:
    """Places [x, y pixels] around `point` for a text of `size`, none of which leaves the axes."""
    found = []
    for distance in (6, 14, 24, 36, 50):
        for dx, dy in ((1, 0.6), (-1, 0.6), (1, -0.6), (-1, -0.6), (0, 1), (0, -1)):
            # The corner of the text at the end of the offset, and where its lower left is then.
            align = (
                "left" if dx > 0 else "right" if dx < 0 else "center",
                "bottom" if dy > 0 else "top",
            )
            back = np.array([(1 - np.sign(dx)) / 2, 0 if dy > 0 else 1]) * size
            corner = point + scale * distance * np.array([dx, dy]) - back
            box = Bbox([corner, corner + size]).padded(1)
            if np.any(box.min < inside.min) or np.any(box.max > inside.max):
                continue
            covered = int(((points > box.min) & (points < box.max)).all(1).sum())
            leader = Path([point, corner + size / 2])
            offset = (dx * distance, dy * distance)
            found.append(Spot(offset, align, box, leader, covered + 0.05 * distance))
    return found


def _arranged(spots: Sequence[Sequence[Spot]], tries: int = 30) -> list[Spot | None]:
    """One of each text's `spots` (None: leave it out), placed one after the other in the given
    and in random orders; the cheapest of these arrangements."""
    rng = np.random.default_rng(0)
    best: tuple[float, list[Spot | None]] = (np.inf, [None] * len(spots))
    for attempt in range(tries):
        order = rng.permutation(len(spots)) if attempt else np.arange(len(spots))
        chosen: list[Spot | None] = [None] * len(spots)
        total = 0.0
        for i in order:
            others = [spot for spot in chosen if spot is not None]
            costs = [(spot.cost + _conflicts(spot, others), k) for k, spot in enumerate(spots[i])]
            cost, k = min(costs, default=(np.inf, 0))
            if cost < 100:
                chosen[i] = spots[i][k]
            total += min(cost, 100)
        if total < best[0]:
            best = (total, chosen)
    return best[1]


def _conflicts(spot: Spot, others: Sequence[Spot]) -> float:
    """Cost of a spot beside others: never over another name, hardly across a leader."""
    cost = 0.0
    for other in others:
        if spot.box.overlaps(other.box):
            return np.inf
        crossings = (
            spot.leader.intersects_bbox(other.box),
            other.leader.intersects_bbox(spot.box),
            spot.leader.intersects_path(other.leader, filled=False),
        )
        cost += 10 * sum(map(bool, crossings))
    return cost
