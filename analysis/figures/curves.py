"""Learning curves of transfer against scratch."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ..catalogue import SCRATCH
from ..gains.curves import curve_frame, nearest_sources
from ..read.study import from_tasks
from ..view import View
from .style import OTHERS, Plate, legend_above, looks, notice, panels


def draw_curves(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Draw a `curves.curve_frame`; the zero line is what tuning from scratch ends at."""
    ax.axhline(0, color="black", lw=0.6)
    shown = looks([str(name) for name in frame["start"].unique() if name != SCRATCH], OTHERS)
    shown[SCRATCH] = ("#555555", "X")
    for start, part in frame.groupby("start", sort=False):
        colour, marker = shown[str(start)]
        look: Any = {
            "ls": "--" if start == SCRATCH else "-",
            "marker": marker,
            "ms": 2.8,
            "lw": 1.1,
        }
        ax.fill_between(part["step"], part["low"], part["high"], color=colour, alpha=0.15, lw=0)
        ax.plot(part["step"], part["points"], color=colour, label=str(start), **look)
    ax.set_xlabel("tuning step")
    return ax


def plot_curves(
    view: View, _: str, curves: pd.DataFrame, gains: pd.DataFrame, similarity: pd.DataFrame
) -> Plate:
    """One panel a method that has curves."""
    title = "How much faster"
    if not (curves["step"] > 0).any():
        return notice(title, "the study has no curves (tuning.curve_images is 0)")
    curves = from_tasks(curves, view.givers)
    frames = {}
    for method in view.methods:
        nearest = nearest_sources(gains, similarity, view.measures, method)
        frame = curve_frame(curves, method, nearest)
        if len(frame):
            frames[method] = frame
    if not frames:
        return notice(title, "no run has a curve from its start to its end")
    figure, axes = panels(len(frames), 2.2)
    for ax, (method, frame) in zip(axes, frames.items(), strict=True):
        draw_curves(ax, frame)
        ax.set_title(method, loc="left")
    axes[0].set_ylabel("points from the final\nscore of scratch")
    legend_above(figure)
    caption = (
        "Mean score on a fixed sample of the test images by tuning step, relative to what scratch "
        "ends at (0): where a curve crosses 0 it has caught up; nearest sources are chosen without "
        "looking at gains, and bands are 95% intervals over targets."
    )
    return Plate(title, caption, figure)
