"""Benchmark tables as text: Markdown, LaTeX (booktabs) and CSV. Tables in, text out; no file is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..vocabulary import MINUS

PLUS_MINUS, DAGGER = "\N{PLUS-MINUS SIGN}", "\N{DAGGER}"
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{PLUS_MINUS: r"$\pm$", MINUS: r"$-$", DAGGER: r"$^\dagger$"},
}


@dataclass(frozen=True)
class Grid:
    """A table of words: first column left, others right; `bold` holds (row, column) of the body, `rules`
    the rows before which a line is drawn. Notes stand below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    rules: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


def csv(frame: pd.DataFrame) -> str:
    """A tidy table with its header; undefined values are empty."""
    return frame.to_csv(index=False, lineterminator="\n")


def markdown(grids: Sequence[Grid]) -> str:
    """The tables one below the other, aligned in the source too."""
    return "\n".join(_markdown(grid) for grid in grids)


def latex(grids: Sequence[Grid], label: str) -> str:
    """The tables as floats (`\\usepackage{booktabs}`), labelled `tab:<label>-<number>`."""
    return "\n".join(_latex(grid, f"{label}-{i}") for i, grid in enumerate(grids, 1))


def _markdown(grid: Grid) -> str:
    def cell(text: str, strong: bool = False) -> str:
        text = text.replace("|", "\\|")
        return f"**{text}**" if strong and text else text

    body = [
        # Markdown has no rules within a table: the row below one stands in italics.
        [
            f"*{cell(text)}*" if j == 0 and i in grid.rules else cell(text, (i, j) in grid.bold)
            for j, text in enumerate(row)
        ]
        for i, row in enumerate(grid.rows)
    ]
    lines = [[cell(name) for name in grid.header], *body]
    widths = [max(3, *(len(line[j]) for line in lines)) for j in range(len(grid.header))]

    def joined(line: Sequence[str]) -> str:
        parts = [
            text.ljust(width) if j == 0 else text.rjust(width)
            for j, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(parts)} |"

    rule = ["-" * w if j == 0 else "-" * (w - 1) + ":" for j, w in enumerate(widths)]
    table = "\n".join([joined(lines[0]), f"| {' | '.join(rule)} |", *map(joined, lines[1:])])
    notes = "".join(f"\n{note}" for note in grid.notes)
    return f"### {grid.title}\n\n{table}\n{notes}\n"


def _latex(grid: Grid, label: str) -> str:
    def cell(text: str, strong: bool = False) -> str:
        text = "".join(_LATEX.get(sign, sign) for sign in text)
        return rf"\textbf{{{text}}}" if strong and text else text

    lines = [[cell(name) for name in grid.header]]
    lines += [
        [cell(text, (i, j) in grid.bold) for j, text in enumerate(row)]
        for i, row in enumerate(grid.rows)
    ]
    widths = [max(len(line[j]) for line in lines) for j in range(len(grid.header))]
    body = [
        " & ".join(
            text.ljust(width) if j == 0 else text.rjust(width)
            for j, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        + r" \\"
        for line in lines
    ]
    for i in sorted(grid.rules, reverse=True):
        body.insert(i + 1, r"\midrule")
    caption = " ".join(cell(text) for text in (f"{grid.title}.", *grid.notes))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
