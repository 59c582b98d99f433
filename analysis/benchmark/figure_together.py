"""Figures of tasks tuned together: what a group adds, and joint pairs beside sequential ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mvlpt_core.contract.layout import RANDOM

from ..figures.heatmaps import colour_limit, draw_gain_heatmap, gain_frame
from ..figures.style import (
    ONE_COLUMN,
    TWO_COLUMNS,
    Plate,
    draw_dodged,
    fix_layout,
    legend_above,
    new_figure,
    notice,
    style,
)
from .joint import JOINT, SEQUENTIAL
from .table import methods_of, shots_name

_MEAN = "mean over tasks"


def adaptation_frame(table: pd.DataFrame, shots: int) -> pd.DataFrame:
    """What `draw_dodged` draws of `adaptation.adaptation`: row, method, value, low, high in points; a row a
    group and start, its mean over tasks, and below them the mean over all tasks."""
    found = table[(table["shots"] == shots) & table["target"].isna()]
    found = found[found["difference"].notna()]
    name = found["group"].where(found["group"].notna(), _MEAN)
    row = name.where(found["start"] == RANDOM, name + " from " + found["start"])
    points = 100 * found[["difference", "low", "high"]]
    points = points.rename(columns={"difference": "value"})
    # Of two tasks an interval spans more than the figure, and says no more.
    points.loc[found["n"] < 3, ["low", "high"]] = float("nan")
    frame = pd.concat([row.rename("row"), found["method"], points], axis=1)
    return frame.drop_duplicates(["row", "method"]).reset_index(drop=True)


def plot_adaptation(table: pd.DataFrame) -> Plate:
    """What tuning the tasks of a group together adds to each tuned alone: a panel a number of shots."""
    title = "Tasks tuned together"
    shots = sorted(table["shots"].unique())
    frames = {int(k): adaptation_frame(table, int(k)) for k in shots}
    frames = {k: frame for k, frame in frames.items() if len(frame)}
    if not frames:
        return notice(title, "no group has scores together and alone")
    names = list(dict.fromkeys(row for frame in frames.values() for row in frame["row"]))
    rows = [name for name in names if not name.startswith(_MEAN)]
    rows += [name for name in names if name.startswith(_MEAN)]
    methods = methods_of(table)
    with style():
        width = ONE_COLUMN if len(frames) == 1 else TWO_COLUMNS
        height = max(0.9 + 0.09 * len(rows) * (len(methods) + 1), 1.8)
        figure, axes = new_figure(width, height, 1, len(frames), sharey=True)
        for ax, (k, frame) in zip(axes[0], frames.items(), strict=True):
            draw_dodged(ax, frame, rows, methods)
            ax.axvline(0, color="black", lw=0.6)
            ax.set_title(shots_name(k), loc="left")
            ax.set_xlabel("together minus alone (points)")
        legend_above(figure)
    caption = (
        "What tuning the tasks of a group together with one prompt adds to each tuned alone with the same "
        "budget a task; bars are 95% intervals with the tasks as units, where these are three or more."
    )
    return Plate(title, caption, figure)


def joint_frame(table: pd.DataFrame, method: str, shots: int, mode: str) -> pd.DataFrame:
    """The cells of one heatmap (as `heatmaps.gain_frame` makes them) of `joint.joint_pairs`."""
    found = table[(table["method"] == method) & (table["shots"] == shots)]
    tasks = [*found["source"], *found["target"]]
    return gain_frame(found, method, tasks, f"{mode}_gain")


def plot_joint(table: pd.DataFrame, tasks: Sequence[str]) -> Plate:
    """Gains of both modes side by side on one scale, a row a method and number of shots."""
    title = "Joint pairs and sequential transfer"
    known = table[table[f"{JOINT}_gain"].notna()]
    cells = [
        (method, int(shots))
        for method in methods_of(known)
        for shots in sorted(known.loc[known["method"] == method, "shots"].unique())
    ]
    if not cells:
        return notice(title, "no pair of tasks was tuned together")
    frames = {
        (cell, mode): joint_frame(known, *cell, mode)
        for cell in cells
        for mode in (JOINT, SEQUENTIAL)
    }
    limit = colour_limit(list(frames.values()))
    with style():
        size = TWO_COLUMNS, 1.2 + len(cells) * 2.75
        figure, axes = new_figure(*size, len(cells), 2, layout="compressed")
        for i, cell in enumerate(cells):
            for j, mode in enumerate((JOINT, SEQUENTIAL)):
                ax, frame = axes[i][j], frames[cell, mode]
                labels = (i == len(cells) - 1, j == 0)
                draw_gain_heatmap(
                    ax, frame, tasks, limit, compact=True, labels=labels, colour_bar=False
                )
                ax.set_ylabel("other task" if j == 0 else "")
                ax.set_title(f"{cell[0]}, {shots_name(cell[1])}: {mode}")
                ax.tick_params(labelsize=6)
        flat = [ax for row in axes for ax in row]
        look: Any = {"shrink": 0.7, "aspect": 30, "pad": 0.01, "extend": "both"}
        bar = figure.colorbar(
            flat[0].collections[0], ax=flat, label="gain over scratch (points)", **look
        )
        bar.outline.set_visible(False)
        fix_layout(figure, passes=2)
    caption = (
        "What each task (row) adds to another (column) over tuning it alone: tuned together with one prompt "
        "(left), and tuned from the other's prompt (right); a minus sign marks clearly negative cells."
    )
    return Plate(title, caption, figure)
