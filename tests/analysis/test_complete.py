"""Completion of a grid: against plain solutions, on grids of a known kind, and the sentences about it."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PatchCollection

from mvlpt_analysis.choice.complete import (
    ADDITIVE,
    ALIKE,
    COMPLETED_COLUMNS,
    COMPLETION_COLUMNS,
    LOW_RANK,
    MIN_CELLS,
    complete,
    completed_table,
    completion_table,
)
from mvlpt_analysis.choice.gain_model import Grid
from mvlpt_analysis.figures.completed import completed_frame, plot_completed
from mvlpt_analysis.report.unmeasured import what_is_told
from mvlpt_analysis.view import View
from mvlpt_analysis.vocabulary import NOTHING
from mvlpt_core.contract.design import designed_pairs

TASKS = tuple(f"t{i}" for i in range(16))


def drawn(seed: int = 0, beta: float = 1.0, noise: float = 0.3, rank: float = 0.0) -> Grid:
    """Gains of source and target effects, one similarity of two, noise, and a matrix of rank one."""
    rng = np.random.default_rng(seed)
    n = len(TASKS)
    z = rng.normal(size=(2, n, n))
    gain = rng.normal(size=(n, 1)) / 2 + rng.normal(size=(1, n)) / 2 + beta * z[0]
    gain += rank * np.outer(rng.normal(size=n), rng.normal(size=n)) + noise * rng.normal(
        size=(n, n)
    )
    np.fill_diagonal(gain, np.nan)
    return Grid(TASKS, TASKS, ("a", "b"), gain, z)


def part(grid: Grid, fraction: float) -> Grid:
    kept = designed_pairs(TASKS, TASKS, fraction)
    seen = np.array([[(t, s) in kept for t in TASKS] for s in TASKS])
    return replace(grid, gain=np.where(seen, grid.gain, np.nan))


def r2(grid: Grid, some: Grid, model: str) -> float:
    cells = np.isfinite(grid.gain) & ~np.isfinite(some.gain)
    rest = grid.gain[cells] - complete(some, model).estimate[cells]
    return float(1 - rest.var() / grid.gain[cells].var())


def test_each_model_tells_what_it_can() -> None:
    similar = drawn()
    assert r2(similar, part(similar, 0.5), ADDITIVE) < 0.5
    assert r2(similar, part(similar, 0.5), ALIKE) > 0.85
    low = drawn(beta=0, rank=1.5, noise=0.1)
    assert r2(low, part(low, 0.6), ALIKE) < 0.5
    assert r2(low, part(low, 0.6), LOW_RANK) > r2(low, part(low, 0.6), ALIKE) + 0.2


def test_without_noise_the_additive_grid_is_found() -> None:
    grid = drawn(beta=0, noise=0)
    found = complete(part(grid, 0.5), ADDITIVE).estimate
    known = np.isfinite(grid.gain)
    # The least penalty still shrinks the effects a little.
    assert np.abs(found - grid.gain)[known].max() < 0.35
    assert np.corrcoef(found[known], grid.gain[known])[0, 1] > 0.99


def test_left_out_cells_were_not_seen() -> None:
    """The estimate of a cell left out does not change with its own gain."""
    grid = part(drawn(), 0.5)
    cell = tuple(np.argwhere(np.isfinite(grid.gain))[7])
    before = complete(grid, ALIKE).left_out[cell]
    gain = grid.gain.copy()
    gain[cell] += 1e-7  # too little to choose another penalty
    assert complete(replace(grid, gain=gain), ALIKE).left_out[cell] == pytest.approx(
        before, abs=1e-9
    )


@pytest.mark.parametrize("heavy", [False, True])
def test_intervals_cover(heavy: bool) -> None:
    held = []
    for seed in range(12):
        grid = drawn(seed, noise=0)
        rng = np.random.default_rng(100 + seed)
        noise = rng.standard_t(3, grid.gain.shape) if heavy else rng.normal(size=grid.gain.shape)
        grid = replace(grid, gain=grid.gain + 0.5 * noise)
        some = part(grid, 0.4)
        cells = np.isfinite(grid.gain) & ~np.isfinite(some.gain)
        found = complete(some)
        held.append(np.abs(found.estimate - grid.gain)[cells] <= found.half)
    assert np.concatenate(held).mean() == pytest.approx(0.95, abs=0.025)


def test_tables_of_a_part_and_of_a_whole() -> None:
    grid = drawn()
    families = {task: str(i // 4) for i, task in enumerate(TASKS)}
    whole = completion_table(grid, families)
    assert list(whole.columns) == list(COMPLETION_COLUMNS)
    assert len(whole) == 3 * 3 * 2
    rows = whole.set_index(["mates", "fraction", "model"])
    assert (rows["n_measured"] + rows["n_judged"])["all"].eq(16 * 15).all()
    assert (rows["n_measured"] + rows["n_judged"])["without"].eq(16 * 12).all()
    assert rows.loc[("all", 0.5, ALIKE), "r2"] > rows.loc[("all", 0.5, ADDITIVE), "r2"] + 0.3
    assert rows.loc[("all", 0.5, ALIKE), "covered"] == pytest.approx(0.95, abs=0.06)
    assert (
        0 <= rows.loc[("all", 0.5, ALIKE), "regret1"] < rows.loc[("all", 0.1, ADDITIVE), "regret1"]
    )
    assert completed_table(grid).empty

    some = part(grid, 0.5)
    left = completion_table(some, families)
    assert left["fraction"].isna().all()
    assert left["ndcg"].isna().all()
    table = completed_table(some)
    assert list(table.columns) == list(COMPLETED_COLUMNS)
    measured = np.isfinite(some.gain).sum()
    assert len(table) == 16 * 15 - measured
    assert not (table["source"] == table["target"]).any()
    assert table["estimate"].is_monotonic_decreasing
    assert ((table["low"] + table["high"]) / 2).to_numpy() == pytest.approx(
        table["estimate"].to_numpy()
    )

    view = View(TASKS, ["text"])
    for own, done, words in (
        (whole, completed_table(grid), "would have told the others with R2"),
        (left, table, f"{measured} pairs were measured and {len(table)} are estimated"),
    ):
        frames = {"completion": own.assign(method="text"), "completed": done.assign(method="text")}
        (text,) = what_is_told(view, frames)
        assert text.startswith("text: ")
        assert words in text
        assert "add nothing" not in text
    nothing = completion_table(drawn(beta=0, noise=1))
    frames = {"completion": nothing.assign(method="text"), "completed": done.assign(method="text")}
    assert "similarities add nothing" in what_is_told(view, frames)[0]


def test_a_diverged_pair_makes_no_part_of_a_whole_grid() -> None:
    """It is no cell to judge and none to estimate; the same pair missing from the table leaves a part."""
    whole = drawn()
    gains = pd.DataFrame(
        [
            {"source": s, "target": t, "gain": whole.gain[i, j]}
            for i, s in enumerate(TASKS)
            for j, t in enumerate(TASKS)
        ]
    )
    at = (gains["source"] == "t3") & (gains["target"] == "t7")
    diverged = Grid.from_frames(gains.assign(gain=gains["gain"].mask(at)), None)
    rows = completion_table(diverged)
    assert set(rows["fraction"]) == {0.1, 0.25, 0.5}
    assert (rows["n_measured"] + rows["n_judged"]).eq(16 * 15 - 1).all()
    assert completed_table(diverged).empty
    absent = Grid.from_frames(gains[~at], None)
    rows = completion_table(absent)
    assert rows["fraction"].isna().all()
    assert rows["n_measured"].eq(16 * 15 - 1).all()
    (left,) = completed_table(absent)[["source", "target"]].to_numpy().tolist()
    assert left == ["t3", "t7"]
    # Of a part, too, what diverged is not estimated.
    both = Grid.from_frames(
        gains.assign(gain=gains["gain"].mask(at))[gains["source"] != gains["target"]].iloc[1:], None
    )
    (left,) = completed_table(both)[["source", "target"]].to_numpy().tolist()
    assert left == ["t0", "t1"]


def test_too_few_cells_are_not_completed() -> None:
    grid = part(drawn(), 0.05)
    gain = grid.gain.copy()
    gain.ravel()[np.flatnonzero(np.isfinite(gain.ravel()))[MIN_CELLS - 1 :]] = np.nan
    few = replace(grid, gain=gain)
    assert np.isnan(complete(few).estimate).all()
    assert completion_table(few)["r2"].isna().all()
    frames = {
        "completion": completion_table(few).assign(method="text"),
        "completed": completed_table(few),
    }
    assert what_is_told(View(TASKS, ["text"]), frames) == []


def test_a_grid_without_similarities() -> None:
    grid = drawn()
    bare = replace(grid, measures=(), features=np.empty((0, 16, 16)))
    assert r2(bare, part(bare, 0.5), ALIKE) == pytest.approx(
        r2(bare, part(bare, 0.5), ADDITIVE), abs=0.05
    )
    flat = replace(
        grid, features=np.where(np.arange(2)[:, None, None] == 1, np.nan, grid.features * 0 + 3)
    )
    assert np.isfinite(complete(part(flat, 0.5)).estimate).all()


def gains_of(grid: Grid) -> pd.DataFrame:
    """Measured gains of a grid, as a table of gains."""
    rows, columns = np.nonzero(np.isfinite(grid.gain))
    gain = grid.gain[rows, columns]
    names = np.array(TASKS)
    table = pd.DataFrame({"method": "text", "source": names[rows], "target": names[columns]})
    return table.assign(gain=gain, low=gain - 0.1, high=gain + 0.1, interval="seeds", n_diverged=0)


def test_the_figure_tells_measured_from_estimated() -> None:
    """Every pair is drawn once, with its own value and width; estimates are squares inside their cells."""
    some = part(drawn(), 0.5)
    gains, done = gains_of(some), completed_table(some).assign(method="text")
    frame = completed_frame(gains, done, "text", 100)
    assert len(frame) == 16 * 15
    assert not frame.duplicated(["source", "target"]).any()
    assert int(frame["estimated"].sum()) == len(done)
    assert frame.loc[~frame["estimated"], "width"].to_numpy() == pytest.approx(20)
    wide = frame[frame["estimated"]].merge(done, on=["source", "target"])
    assert wide["points"].to_numpy() == pytest.approx(100 * wide["estimate"].to_numpy())
    assert wide["width"].to_numpy() == pytest.approx(100 * (wide["high"] - wide["low"]).to_numpy())
    plate = plot_completed(View(TASKS, ["text"]), "text", gains, done)
    for ax in plate.figure.axes[:2]:
        (squares,) = (c for c in ax.collections if isinstance(c, PatchCollection))
        assert len(squares.get_paths()) == len(done)
        (mesh,) = (c for c in ax.collections if c is not squares)
        assert np.ma.count(mesh.get_array()) == len(gains)
    assert f"the {len(done)} small ones are estimates" in plate.caption
    assert "test images alone" not in plate.caption
    plt.close(plate.figure)
    images = plot_completed(View(TASKS, ["text"]), "text", gains.assign(interval="images"), done)
    assert "test images alone" in images.caption
    plt.close(images.figure)
    few = done.assign(estimate=np.nan, low=np.nan, high=np.nan)
    nothing = plot_completed(View(TASKS, ["text"]), "text", gains, few)
    assert nothing.caption == f"{NOTHING}no pair of text is estimated."
    plt.close(nothing.figure)
