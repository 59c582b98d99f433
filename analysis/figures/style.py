"""What all figures share: style, colours, names of things, and files that are reproducible.

Figures are made in two steps: a pure `*_frame` function returns exactly what is drawn, a `draw_*`
function puts it on axes and returns them. Saving is separate (`save`). Gains are drawn in points
(score x 100).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe & Ito (2008), told apart by colour-blind readers; markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
POSITIVE, NEGATIVE, MUTED = "#2166AC", "#B2182B", "#666666"
DIVERGING, SEQUENTIAL = "RdBu", "cividis"
GAIN_LABELS = {
    "gain": "transfer gain (points)",
    "relative_error_reduction": "relative error reduction (%)",
    "ceiling_gain": "share of the distance to the ceiling (%)",
}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "analysis",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "hatch.linewidth": 0.7,
    "figure.facecolor": "white",
    "figure.dpi": 170,
}


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures, undone on leaving; no window is ever opened."""
    with mpl.rc_context(STYLE):
        yield


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    layout: str = "constrained",
    **keywords: Any,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `width` x `height` inches with a grid of axes [rows][columns]."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout=layout, squeeze=False, **keywords
    )
    return figure, [list(row) for row in axes]


def fix_layout(figure: Figure, passes: int = 1) -> None:
    """Lay the figure out once, for good: a layout measures every text, which costs most. Grids of
    square panels need a second pass, because their labels move with the panels' size."""
    engine = figure.get_layout_engine()
    if engine is not None:
        for _ in range(passes):
            engine.execute(figure)
        figure.set_layout_engine("none")


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png (170 dpi) and `stem`.svg (text as text) and close the figure.

    Neither carries a date or a random id: the same data gives the same bytes.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    fix_layout(figure)
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    # The canvases themselves: `savefig` would draw everything twice for the sake of the layout.
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return [png, svg]


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each name, by position; names past the palette start it again."""
    return {
        name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)
    }
