"""Gains pulled towards what repeats, and how well they foretell another seed."""

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis import catalogue
from mvlpt_analysis.figures import gallery
from mvlpt_analysis.gains.table import gain_table
from mvlpt_analysis.read.pairs import off_diagonal
from mvlpt_analysis.stats.shrink import Relations, predicted, shrunk
from mvlpt_analysis.view import View
from speed import calibration
from support import view_data as made

SHARES = (0.05, 0.05, 0.45, 0.05, 0.15, 0.25)  # as on the testbed: half of the variance repeats


def off(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)]


def test_pairs_alone_by_hand():
    """Half of the variance repeats, so that each cell moves half of the way to the mean, 2."""
    means = np.array([0.0, 1, 3, 4])
    found = predicted(means, 3 * np.eye(4), 3 * np.eye(4))
    assert found == pytest.approx([1, 1.5, 2.5, 3])


def test_two_cells_of_a_source_by_hand():
    """The source's mean of cells 1 and 3 lies 2 below or above; variance 1 of source beside 1 of noise
    for a cell is 2 of 3 for two cells: 4 - 2 * 2 / 3 and 4 + 2 * 2 / 3."""
    same = Relations(source=1).between(np.array([0, 0, 1, 1]), np.array([2, 3, 2, 3]))
    found = predicted(np.array([1.0, 3, 5, 7]), same, np.eye(4))
    assert found == pytest.approx(np.repeat([4 - 4 / 3, 4 + 4 / 3], 2))


def test_covariances_of_cells():
    between = Relations(1, 2, 4, 0.5, 3).between(np.array([0, 1, 0, 2]), np.array([1, 0, 2, 3]))
    assert between[0].tolist() == [7, 1 + 3, 1, 0]  # itself, opposite, same source, nothing
    assert between[1].tolist() == [4, 7, 0.5, 0]  # 1 -> 0 and 0 -> 2: a target that is the source
    assert between[0, 2] == between[2, 0]


def test_without_noise_it_is_the_gain():
    gains = off_diagonal(np.random.default_rng(0).normal(size=(6, 6)))
    found = shrunk(gains[None], np.zeros((6, 6)))
    np.testing.assert_allclose(found, gains, atol=1e-6)


def test_without_pairs_it_is_additive():
    """Noise as large as what pairs seem to be: what is left has a source and a target part alone."""
    rng = np.random.default_rng(1)
    true = 3 * rng.normal(size=(12, 1)) + 3 * rng.normal(size=12)
    found = shrunk((true + rng.normal(size=(12, 12)))[None], np.full((12, 12), 2.0))
    corners = found[0, 4] - found[0, 5] - found[1, 4] + found[1, 5]
    assert corners == pytest.approx(0, abs=1e-6)
    assert np.abs(off(found - true)).mean() < 0.5  # of the cells' own noise: 0.8


@pytest.mark.parametrize(("n_seeds", "most"), [(2, 0.92), (3, 0.98)])
def test_it_foretells_a_fresh_seed_better_than_the_gain(n_seeds, most):
    """Squared error on a new seed, as a share of the gain's: with the variances known it would be .886
    and .952, and less than 1 in 19 and 16 of these 20 studies."""
    rng, better, ratio = np.random.default_rng(2), 0, []
    for _ in range(20):
        *old, fresh = calibration.related_gains(20, n_seeds + 1, SHARES, rng)
        old = np.array(old)
        raw, pulled = (np.mean(off(m - fresh) ** 2) for m in (old.mean(0), shrunk(old)))
        better += pulled < raw
        ratio.append(pulled / raw)
    assert better >= 16
    assert np.mean(ratio) < most


def test_known_noise_at_one_seed():
    rng, noise = np.random.default_rng(3), np.full((20, 20), 0.5)
    gains, fresh = calibration.related_gains(20, 2, (0.1, 0.1, 0.3, 0, 0, 0.5), rng, 0.0)
    found = shrunk(gains[None], noise)
    assert np.mean(off(found - fresh) ** 2) < 0.8 * np.mean(off(gains - fresh) ** 2)
    assert np.isnan(shrunk(gains[None])).all()  # nothing tells noise from pairs


def test_missing_cells_and_tasks_that_only_give():
    rng = np.random.default_rng(4)
    gains = calibration.related_gains(8, 3, SHARES, rng)
    gains[:, 2, 3] = np.nan
    gains[0, 4, 5] = np.nan
    gains[:, :, 6] = np.nan  # a source that is no target
    found = shrunk(gains)
    known = np.isfinite(gains).any(0) & ~np.eye(8, dtype=bool)
    assert (np.isfinite(found) == known).all()
    assert np.isnan(shrunk(gains[:, :3, :3])).all()
    apart = np.full((3, 9, 9), np.nan)
    apart[:, :5, 5:] = rng.normal(size=(3, 5, 4)) + np.arange(5)[:, None]
    assert np.isfinite(shrunk(apart)[:5, 5:]).all()


def test_the_column_of_the_gains_table():
    tasks = made.tasks(8)
    transfer = made.transfer(8, ("text", "visual"), seeds=3)
    table = gain_table(transfer, tasks=tasks)
    own = table[table["diagonal"] | table["gain"].isna()]
    assert own["gain_shrunk"].isna().all()
    text = table[(table["method"] == "text") & table["gain_shrunk"].notna()]
    assert text["gain_shrunk"].std() < text["gain"].std()
    alone = gain_table(transfer[transfer["method"] == "text"])
    pd.testing.assert_series_equal(
        alone["gain_shrunk"], table.loc[table["method"] == "text", "gain_shrunk"]
    )
    group = transfer.assign(source=transfer["source"].replace(tasks[0], "a_group"))
    table = gain_table(group, tasks=tasks)
    assert table.loc[table["source"] == "a_group", "gain_shrunk"].isna().all()
    assert table.loc[table["source"] == tasks[1], "gain_shrunk"].notna().any()
    # One seed without outcomes: nothing is known of its noise.
    assert gain_table(made.transfer(8, ("text",), seeds=1))["gain_shrunk"].isna().all()


def test_the_figure_shows_raw_and_shrunk_on_one_scale():
    frames = made.tables(6, ("text",), seeds=3)
    view = View(made.tasks(6), ("text",))
    (drawing,) = (
        d for d in catalogue.drawings(("text",), has_factors=False) if d.kind == "gains_shrunk"
    )
    plate = gallery.make_plate(drawing, frames, view)
    raw, pulled = plate.figure.axes[:2]
    assert raw.collections[0].get_clim() == pulled.collections[0].get_clim()
    values = np.ma.filled(pulled.collections[0].get_array(), np.nan)
    table = frames["gains"].set_index(["source", "target"])["gain_shrunk"]
    assert values[0, 2] == pytest.approx(100 * table[view.tasks[0], view.tasks[2]])
    one = {"gains": gain_table(made.transfer(6, ("text",), seeds=1))}
    assert gallery.make_plate(drawing, one, view).caption == (
        "There is nothing to draw, because one seed without stored outcomes does not tell noise from pairs."
    )
