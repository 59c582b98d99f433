"""Gain against similarity, the forest of correlations, and ranking quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ..choice.ranking import QUALITY
from ..read.study import similarity_frame
from ..vocabulary import MINUS, pretty, signed
from .style import COLOURS, looks

Array = NDArray[np.float64]
IN_POINTS = ("regret1", "regret3", "regret5", "gain1")  # qualities in the units of gains


def scatter_frame(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    method: str,
    measure: str,
    groups: pd.DataFrame | None = None,
    outstanding: int = 5,
    value: str = "gain",
    scale: float = 100.0,
) -> pd.DataFrame:
    """Off-diagonal pairs of one method: source, target, similarity, points, relation, residual,
    outstanding (the largest residuals from the fitted line, to be labelled).

    `relation` is family, style or neither where `groups` (task, family, style) is given, else "".
    """
    like = similarity_frame(similarity, measure, method).drop(columns="diagonal")
    frame = gains.loc[gains["method"] == method, ["source", "target", value]]
    frame = frame.merge(like.rename(columns={"value": "similarity"}), on=["source", "target"])
    frame = frame[frame["source"] != frame["target"]].dropna().reset_index(drop=True)
    frame["points"] = scale * frame.pop(value)
    frame["relation"] = ""
    if groups is not None:
        known = groups.set_index("task")
        same = {
            part: frame["source"].map(known[part]).eq(frame["target"].map(known[part]))
            for part in ("family", "style")
            if part in known
        }
        frame["relation"] = np.select(
            [flag.to_numpy() for flag in same.values()], list(same), "neither"
        )
    slope, level = line(frame["similarity"].to_numpy(float), frame["points"].to_numpy(float))
    frame["residual"] = frame["points"] - (level + slope * frame["similarity"])
    cut = frame["residual"].abs().nlargest(outstanding).min() if len(frame) > 10 else np.inf
    frame["outstanding"] = frame["residual"].abs() >= cut
    return frame


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
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(tasks), np.full(len(tasks), 1 / len(tasks)), size=bootstrap)
    weight = counts[:, frame["source"].map(place)] * counts[:, frame["target"].map(place)]
    total = weight.sum(1)
    weight, total = weight[total > 0], total[total > 0]
    mean_x, mean_y = weight @ x / total, weight @ y / total
    spread = weight @ x**2 / total - mean_x**2
    kept = spread > 1e-9 * x.var()
    slope = (weight @ (x * y) / total - mean_x * mean_y)[kept] / spread[kept]
    grid = np.linspace(x.min(), x.max(), points)
    lines = mean_y[kept, None] + slope[:, None] * (grid[None] - mean_x[kept, None])
    low, high = np.percentile(lines, [2.5, 97.5], axis=0)
    beta, level = line(x, y)
    return pd.DataFrame({"x": grid, "fit": level + beta * grid, "low": low, "high": high})


def draw_scatter(ax: Axes, frame: pd.DataFrame, band: pd.DataFrame) -> Axes:
    """Draw `scatter_frame` and `band_frame`. Labels come from `labels.label_points`, after the layout."""
    kinds = [k for k in ("family", "style", "neither", "") if (frame["relation"] == k).any()]
    shown = {
        "family": ("^", COLOURS[1], "same family"),
        "style": ("s", COLOURS[2], "same style"),
        "neither": ("o", "#8C8C8C", "neither"),
        "": ("o", COLOURS[0], "pair"),
    }
    ax.axhline(0, color="black", lw=0.6)
    for kind in reversed(kinds):
        some = frame[frame["relation"] == kind]
        marker, colour, label = shown[kind]
        ax.plot(
            some["similarity"],
            some["points"],
            marker,
            ms=3.4,
            mfc=colour,
            mec="white",
            mew=0.3,
            alpha=0.8,
            label=label,
            zorder=2,
        )
    if len(band):
        ax.fill_between(band["x"], band["low"], band["high"], color="black", alpha=0.12, lw=0)
        ax.plot(band["x"], band["fit"], color="black", lw=1.4)
    ax.margins(x=0.08, y=0.12)
    return ax


def forest_frame(
    correlations: pd.DataFrame,
    statistic: str = "spearman",
    scope: str = "pooled",
    gain_kind: str = "gain",
) -> pd.DataFrame:
    """Rows of one forest panel: method, measure, value, low, high, q; undefined values left out."""
    chosen = (
        (correlations["statistic"] == statistic)
        & (correlations["scope"] == scope)
        & (correlations["gain_kind"] == gain_kind)
    )
    columns = ["method", "measure", "value", "low", "high", "q"]
    return correlations.loc[chosen, columns].dropna(subset=["value"]).reset_index(drop=True)


def draw_forest(
    ax: Axes, frame: pd.DataFrame, measures: Sequence[str], methods: Sequence[str]
) -> Axes:
    """One row a measure, one mark a method with its interval; filled where q <= 0.05."""
    _dodged(ax, frame.assign(row=frame["measure"], filled=frame["q"] <= 0.05), measures, methods)
    ax.axvline(0, color="black", lw=0.6, zorder=0)
    low, high = frame["low"].fillna(frame["value"]), frame["high"].fillna(frame["value"])
    ends = np.array([min(low.min(), -0.1), max(high.max(), 0.1)] if len(frame) else [-1, 1])
    ax.set_xlim(*(np.clip(ends, -1, 1) + np.array([-0.05, 0.05])))
    return ax


def _dodged(ax: Axes, frame: pd.DataFrame, rows: Sequence[str], methods: Sequence[str]) -> None:
    """Marks with intervals at row `row`, methods side by side within a row, shaded every other."""
    step = 0.7 / max(len(methods), 1)
    for i in range(0, len(rows), 2):
        ax.axhspan(i - 0.5, i + 0.5, color="#F3F3F3", lw=0, zorder=-2)
    for k, (method, (colour, marker)) in enumerate(looks(methods).items()):
        some = frame[frame["method"] == method]
        y = some["row"].map({name: i for i, name in enumerate(rows)}) + step * (
            k - (len(methods) - 1) / 2
        )
        ax.hlines(y, some["low"], some["high"], color=colour, lw=1.3)
        for filled, part in some.groupby(some.get("filled", pd.Series(True, some.index))):
            ax.plot(
                part["value"],
                y[part.index],
                marker,
                ms=5,
                mec=colour,
                mew=1.1,
                mfc=colour if filled else "white",
            )
        ax.plot([], [], marker, ms=5, color=colour, label=method)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), [pretty(name) for name in rows])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def quality_frame(summaries: pd.DataFrame, metric: str, scale: float = 100.0) -> pd.DataFrame:
    """One panel of ranking quality: method, ranker, value, low, high; regrets in points.

    `summaries`: `selection.summarise_quality` with a method column."""
    chosen = summaries[summaries["metric"] == metric]
    scale = scale if metric in IN_POINTS else 1.0
    frame = chosen[["method", "ranker"]].reset_index(drop=True)
    for column, source in (("value", "mean"), ("low", "low"), ("high", "high")):
        frame[column] = scale * chosen[source].to_numpy(float)
    return frame.dropna(subset=["value"])


def draw_quality(
    ax: Axes,
    frame: pd.DataFrame,
    metric: str,
    rankers: Sequence[str],
    methods: Sequence[str],
    unit: str = "points",
) -> Axes:
    """Draw a `quality_frame`: rankers as rows, methods side by side; the title says which way is
    better, dotted lines show each method's random source."""
    label, higher = QUALITY[metric]
    _dodged(ax, frame.assign(row=frame["ranker"]), rankers, methods)
    for method, (colour, _) in looks(methods).items():
        chance = frame.loc[(frame["method"] == method) & (frame["ranker"] == "random source")]
        for value in chance["value"]:
            ax.axvline(value, color=colour, lw=0.8, ls=":", zorder=-1)
    arrow = "right" if higher else "left"
    shown = f" ({unit})" if metric in IN_POINTS else ""
    ax.set_xlabel(f"{label}{shown}\nbetter to the {arrow}")
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}".replace("-", MINUS))
    return ax


def correlation_note(frame: pd.DataFrame) -> str:
    """Spearman's rho of a `scatter_frame`, for its corner; empty when undefined."""
    if len(frame) < 3 or frame["similarity"].nunique() < 2 or frame["points"].nunique() < 2:
        return ""
    rho = frame["similarity"].rank().corr(frame["points"].rank())
    return f"\u03c1 = {signed(float(rho), 2)}, n = {len(frame)}"
