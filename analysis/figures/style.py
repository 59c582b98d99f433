"""What all figures share: style, colours, plates, and files that are reproducible.

Figures are made in three steps: a pure `*_frame` function returns exactly what is drawn, a `draw_*`
function puts it on axes and returns them, and a `plot_*` function makes the whole plate from the
tables that it names. Saving is separate (`save`).
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from fontTools import subset
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mvlpt_core.contract.files import whole
from mvlpt_core.contract.layout import FIGURE_SUFFIXES

from ..vocabulary import NOTHING, pretty

# Okabe & Ito (2008), told apart by colour-blind readers; markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Tol (2021), muted: of what is no method (factors, starts of curves), so that a colour keeps its meaning.
OTHERS = ("#882255", "#44AA99", "#999933", "#332288", "#AA4499", "#117733")
POSITIVE, NEGATIVE, MUTED = "#2166AC", "#B2182B", "#666666"
DIVERGING, SEQUENTIAL = "RdBu", "cividis"
# Where the usual font lacks a letter of a name, the first of these that is installed and has it.
FALLBACKS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Source Han Sans"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAGothic", "IPAexGothic", "Microsoft YaHei"),
    *("Hiragino Sans", "PingFang SC", "Malgun Gothic", "Noto Sans KR", "NanumGothic", "Noto Sans"),
    *("Noto Sans Hebrew", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial"),
    *("Arial Unicode MS", "Segoe UI", "Segoe UI Emoji", "Noto Emoji", "Symbola", "Unifont"),
)
# Inches: the widths of one column (84 mm) and of two (174 mm) of a journal.
ONE_COLUMN, TWO_COLUMNS = 84 / 25.4, 174 / 25.4
SMALLEST = 6.0  # points of the smallest text
STYLE: Any = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # TrueType: text stays text
    "svg.hashsalt": "analysis",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "figure.dpi": 300,
}


@dataclass(frozen=True)
class Plate:
    """One figure with its title and its caption in one sentence."""

    title: str
    caption: str
    figure: Figure


def notice(title: str, reason: str) -> Plate:
    """A small plate in the place of a figure that has nothing to show, with the reason."""
    figure, axes = new_figure(ONE_COLUMN, 0.9)
    axes[0][0].axis("off")
    text = textwrap.fill(f"Nothing to draw: {reason}.", 52)
    axes[0][0].text(0.5, 0.5, text, ha="center", va="center", color=MUTED)
    return Plate(title, f"{NOTHING}{reason}.", figure)


def fonts(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Fonts that draw `names`: the usual one, then installed ones with letters that it lacks; and the
    names that hold a letter which none of them has."""
    usual = STYLE["font.sans-serif"]
    letters = {name: {c for c in name if c.isprintable()} for name in names}
    lost = set().union(*letters.values()) - _letters(font_manager.findfont(usual[0]))
    found = []
    if lost:
        installed = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
        for family in filter(installed.get, FALLBACKS):
            has = lost & _letters(installed[family])
            if has:
                found.append(family)
                lost -= has
    return [*usual, *found], [name for name, own in letters.items() if own & lost]


@cache
def _letters(path: str) -> frozenset[str]:
    """The letters that a font has a glyph for."""
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


@contextmanager
def style(names: Iterable[str] = ()) -> Iterator[None]:
    """The style of all figures, with fonts for `names`, undone on leaving; no window is ever opened."""
    families, lost = fonts(names)
    with mpl.rc_context({**STYLE, "font.sans-serif": families}), warnings.catch_warnings():
        if lost:  # the report says which
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    layout: str = "constrained",
    **keywords: Any,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `width` (`ONE_COLUMN` or `TWO_COLUMNS`) x `height` inches with a grid of axes
    [rows][columns]."""
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
    """Write `stem`.png (300 dpi), `stem`.svg and `stem`.pdf (text as text) and close the figure.

    None carries a date or a random id: the same data gives the same bytes.
    """
    fix_layout(figure)
    png, svg, pdf = (stem.with_name(f"{stem.name}.{suffix}") for suffix in FIGURE_SUFFIXES)
    # The canvases themselves: `savefig` would draw everything twice for the sake of the layout.
    with whole(png) as part:
        # Half the time of the default compression, for a twentieth more bytes.
        look: Any = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}}
        FigureCanvasAgg(figure).print_png(part, **look)
    with whole(svg) as part:
        FigureCanvasSVG(figure).print_svg(part, metadata={"Date": None, "Creator": None})
    with whole(pdf) as part, _fonts_of_glyphs():
        FigureCanvasPdf(figure).print_pdf(part, metadata={"CreationDate": None, "Creator": None})
    plt.close(figure)
    return [png, svg, pdf]


@contextmanager
def _fonts_of_glyphs() -> Iterator[None]:
    """Fonts go into a PDF without the tables for setting text, which is set already: to cut them down to the
    letters used takes longer than all else of a PDF, and no public option leaves them out."""
    usual = getattr(subset.Options, "_drop_tables_default", [])
    subset.Options._drop_tables_default = [*usual, "GDEF", "GPOS", "GSUB"]
    try:
        yield
    finally:
        subset.Options._drop_tables_default = usual


def panels(
    count: int, height: float, across: int = 3, **keywords: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` axes of `height` inches, at most `across` in a row: one of them takes one
    column, several take two. With keywords of `new_figure`."""
    rows, columns = -(-count // across), min(count, across)
    width = ONE_COLUMN if count == 1 else TWO_COLUMNS
    figure, axes = new_figure(width, 0.4 + height * rows, rows, columns, **keywords)
    flat = [ax for row in axes for ax in row]
    for ax in flat[count:]:
        ax.remove()
    for i in range(count - columns, count):  # the lowest of each column
        flat[i].tick_params(labelbottom=True)
    return figure, flat[:count]


def looks(names: Sequence[str], colours: Sequence[str] = COLOURS) -> dict[str, tuple[str, str]]:
    """Colour and marker of each name, by position; past the palette colours start again with other
    markers."""
    count = len(colours)
    return {
        name: (colours[i % count], MARKERS[(i + i // count) % len(MARKERS)])
        for i, name in enumerate(names)
    }


def legend_above(figure: Figure, columns: int | None = None) -> None:
    """One legend above all panels, with each label of them once."""
    shown: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    if shown:
        count = min(columns or len(shown), _fitting(figure, list(shown)))
        figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=count)


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """One legend below all panels, in as many columns as fit."""
    if handles:
        columns = _fitting(figure, [handle.get_label() for handle in handles])
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def _fitting(figure: Figure, labels: Sequence[str]) -> int:
    """How many columns of a legend the figure is wide enough for. Half an em is a letter's width at
    most on average, handle and gaps take 5 em."""
    size = font_manager.FontProperties(size=mpl.rcParams["legend.fontsize"])
    em = size.get_size_in_points() / 72
    widest = em * (5 + 0.56 * max(map(len, labels)))
    return int(np.clip(figure.get_figwidth() // widest, 1, len(labels)))


def ink(colour: Any) -> str:
    """Black or white, whichever has the higher contrast on a colour: at least 4.5:1 on every one.

    Contrast as in WCAG 2: (L1 + 0.05) / (L2 + 0.05) of relative luminances, equal for both at 0.179.
    """
    red, green, blue = mpl.colors.to_rgb(colour)
    channels = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    luminance = float(np.dot((0.2126, 0.7152, 0.0722), channels))
    return "black" if luminance > 0.179 else "white"


def draw_dodged(ax: Axes, frame: pd.DataFrame, rows: Sequence[str], methods: Sequence[str]) -> None:
    """Marks with intervals at row `row`, methods side by side within a row, shaded every other."""
    step = 0.7 / max(len(methods), 1)
    for i in range(0, len(rows), 2):
        ax.axhspan(i - 0.5, i + 0.5, color="#F3F3F3", lw=0, zorder=-2)
    for k, (method, (colour, marker)) in enumerate(looks(methods).items()):
        some = frame[frame["method"] == method]
        place = {name: i for i, name in enumerate(rows)}
        y = some["row"].map(place).astype(float) + step * (k - (len(methods) - 1) / 2)
        ax.hlines(y, some["low"], some["high"], color=colour, lw=1.0)
        for filled, part in some.groupby(some.get("filled", pd.Series(True, some.index))):
            look: Any = {"ms": 3.5, "mec": colour, "mew": 0.9, "mfc": colour if filled else "white"}
            ax.plot(part["value"], y[part.index], marker, **look)
        ax.plot([], [], marker, ms=3.5, color=colour, label=method)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), [pretty(name) for name in rows])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
