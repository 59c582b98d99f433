"""Gain against similarity, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ..read.study import few_tasks, similarity_frame
from ..stats.resample import percentile_interval, task_counts
from ..view import View
from ..vocabulary import pretty, signed
from .placement import label_points
from .style import COLOURS, MUTED, OTHERS, Plate, fix_layout, legend_above, notice, panels

Array = NDArray[np.float64]
NEITHER = "neither"  # sources and targets that share no factor
GREY = "#8C8C8C"
SHAPES = ("^", "s", "D", "v", "P", "X")  # of factors, by position


def scatter_frame(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    method: str,
    measure: str,
    factors: pd.DataFrame | None = None,
    outstanding: int = 5,
    scale: float = 100.0,
) -> pd.DataFrame:
    """Off-diagonal pairs of one method: source, target, similarity, points, relation, residual,
    outstanding (the largest residuals from the fitted line, to be labelled).

    `relation` is the first of the `factors` (a frame of task and a column a factor) that the two
    tasks share, else neither; "" without factors.
    """
    like = similarity_frame(similarity, measure, method).drop(columns="diagonal")
    frame = gains.loc[gains["method"] == method, ["source", "target", "gain"]]
    frame = frame.merge(like.rename(columns={"value": "similarity"}), on=["source", "target"])
    frame = frame[frame["source"] != frame["target"]].dropna().reset_index(drop=True)
    frame["points"] = scale * frame.pop("gain")
    frame["relation"] = _relation(frame, factors)
    slope, level = line(frame["similarity"].to_numpy(float), frame["points"].to_numpy(float))
    frame["residual"] = frame["points"] - (level + slope * frame["similarity"])
    cut = frame["residual"].abs().nlargest(outstanding).min() if len(frame) > 10 else np.inf
    frame["outstanding"] = frame["residual"].abs() >= cut
    return frame


def _relation(frame: pd.DataFrame, factors: pd.DataFrame | None) -> pd.Series:
    if factors is None or factors.shape[1] == 1:
        return pd.Series("", index=frame.index, dtype=str)
    known = factors.set_index("task")
    out = pd.Series(NEITHER, index=frame.index, dtype=str)
    for factor in reversed(known.columns):  # the first factor has the last word
        own, other = (frame[end].map(known[factor]) for end in ("source", "target"))
        out = out.mask(own.eq(other) & own.ne("") & own.notna(), factor)
    return out


def line(x: Array, y: Array) -> tuple[float, float]:
    """Least-squares slope and intercept; slope 0 for a constant `x`."""
    if len(x) < 2 or not np.ptp(x) > 1e-12 * max(float(np.abs(x).max()), 1e-300):
        return 0.0, float(y.mean()) if len(y) else 0.0
    slope = float(np.cov(x, y)[0, 1] / np.var(x, ddof=1))
    return slope, float(y.mean() - slope * x.mean())


def band_frame(
    frame: pd.DataFrame, bootstrap: int = 1000, seed: int = 0, points: int = 50
) -> pd.DataFrame:
    """Fitted line of a `scatter_frame` with its 95% band: x, fit, low, high.

    The bootstrap draws tasks, not pairs (a pair counts as often as both its tasks were drawn),
    since the pairs of a task are not independent. Empty when similarity is constant or there are
    fewer than 4 pairs.
    """
    x, y = frame["similarity"].to_numpy(float), frame["points"].to_numpy(float)
    if len(x) < 4 or not np.ptp(x) > 1e-12 * max(float(np.abs(x).max()), 1e-300):
        return pd.DataFrame(columns=["x", "fit", "low", "high"], dtype=float)
    tasks = list(dict.fromkeys([*frame["source"], *frame["target"]]))
    place = {task: i for i, task in enumerate(tasks)}
    counts = task_counts(len(tasks), bootstrap, seed)
    weight = counts[:, frame["source"].map(place)] * counts[:, frame["target"].map(place)]
    total = weight.sum(1)
    weight, total = weight[total > 0], total[total > 0]
    mean_x, mean_y = weight @ x / total, weight @ y / total
    spread = weight @ x**2 / total - mean_x**2
    kept = spread > 1e-9 * x.var()
    slope = (weight @ (x * y) / total - mean_x * mean_y)[kept] / spread[kept]
    grid = np.linspace(x.min(), x.max(), points)
    lines = mean_y[kept, None] + slope[:, None] * (grid[None] - mean_x[kept, None])
    low, high = np.array([percentile_interval(drawn, 0.95) for drawn in lines.T]).T
    beta, level = line(x, y)
    return pd.DataFrame({"x": grid, "fit": level + beta * grid, "low": low, "high": high})


def draw_scatter(
    ax: Axes, frame: pd.DataFrame, band: pd.DataFrame, factors: Sequence[str] = ()
) -> Axes:
    """Draw `scatter_frame` and `band_frame`. Names of pairs come from `placement.label_points`,
    after the layout."""
    shown = {"": ("o", COLOURS[0], "pair"), NEITHER: ("o", GREY, NEITHER)}
    for i, factor in reversed(list(enumerate(factors))):
        colour = OTHERS[i % len(OTHERS)]
        shown[factor] = (SHAPES[i % len(SHAPES)], colour, f"same {factor}")
    ax.axhline(0, color="black", lw=0.6)
    for relation, (marker, colour, label) in shown.items():
        some = frame[frame["relation"] == relation]
        if len(some):
            look: Any = {"ms": 2.6, "mfc": colour, "mec": "white", "mew": 0.3, "alpha": 0.8}
            ax.plot(some["similarity"], some["points"], marker, label=label, zorder=2, **look)
    # The points take the panel: a band that is wider is cut.
    ax.margins(x=0.08, y=0.12)
    ax.set_ylim(ax.get_ylim())
    if len(band):
        ax.fill_between(band["x"], band["low"], band["high"], color="black", alpha=0.12, lw=0)
        ax.plot(band["x"], band["fit"], color="black", lw=1.1)
    return ax


def correlation_note(frame: pd.DataFrame) -> str:
    """Spearman's rho of a `scatter_frame`, for its corner; empty when undefined."""
    if len(frame) < 3 or frame["similarity"].nunique() < 2 or frame["points"].nunique() < 2:
        return ""
    rho = frame["similarity"].rank().corr(frame["points"].rank())
    return f"\u03c1 = {signed(float(rho), 2)}, n = {len(frame)}"


def plot_scatter(view: View, measure: str, gains: pd.DataFrame, similarity: pd.DataFrame) -> Plate:
    """One panel a method: gain against one measure."""
    name = pretty(measure)
    title = f"Gain against {name} similarity"
    methods, scale, factors = list(view.methods), view.wording.scale, view.factor_names
    if few := few_tasks(max(gains["source"].nunique(), gains["target"].nunique())):
        return notice(title, few)
    if not (similarity["measure"] == measure).any():
        return notice(title, f"no pair of tasks has a {name} similarity")
    options: Any = {"factors": view.factor_frame, "scale": scale}
    options["outstanding"] = 5 if len(methods) == 1 else 3  # as many names as fit
    frames = [scatter_frame(gains, similarity, m, measure, **options) for m in methods]
    if not any(len(frame) for frame in frames):
        return notice(title, f"no pair of tasks has both a gain and a {name} similarity")
    figure, axes = panels(len(methods), 2.4, sharex=True)
    for ax, method, frame in zip(axes, methods, frames, strict=True):
        if frame.empty:
            ax.text(0.5, 0.5, "no gains", transform=ax.transAxes, ha="center", color=MUTED)
            ax.set_yticks([])
        else:
            draw_scatter(ax, frame, band_frame(frame), factors)
        if len(methods) > 1:
            ax.set_title(method, loc="left")
        ax.set_title(correlation_note(frame), loc="right", fontsize=6.5, weight="normal")
        ax.set_xlabel(f"{name} similarity")
    axes[0].set_ylabel(view.wording.axis)
    if factors:
        legend_above(figure)
    # Names are placed in pixels, so the layout comes first.
    fix_layout(figure)
    for ax, frame in zip(axes, frames, strict=True):
        label_points(ax, frame)
    caption = (
        "Each point is a pair of tasks; the line is the least-squares fit, its band a 95% interval "
        "over resampled tasks (cut where it leaves the points), and the pairs furthest from the line "
        "are named."
    )
    return Plate(title, caption, figure)
