"""Gain, loss, equal or unclear."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mvlpt_analysis.figures.heatmaps import gain_frame
from mvlpt_analysis.gains.table import gain_table
from mvlpt_analysis.gains.verdicts import smallest_told, verdicts
from mvlpt_analysis.report import answers
from mvlpt_analysis.report.glance import glance
from mvlpt_analysis.stats.power import t_power
from mvlpt_analysis.view import View
from support import view_data as made


def rows(**columns):
    base = {"gain": [0.0], "se": [0.001], "df": [9.0], "q": [0.5], "interval": ["seeds"]}
    return pd.DataFrame(base | columns)


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"gain": [0.03], "q": [0.01]}, "gain"),
        ({"gain": [-0.03], "q": [0.05]}, "loss"),
        ({"gain": [0.03], "q": [0.051]}, "unclear"),
        ({"gain": [0.004]}, "equal"),
        ({"gain": [0.004], "q": [0.001]}, "equal"),  # certain, and of no matter
        ({"gain": [0.009]}, "unclear"),  # the interval leaves the margin
        ({"gain": [0.0], "se": [0.02]}, "unclear"),  # no evidence is not equality
        ({"gain": [0.3], "q": [0.0], "interval": ["images"]}, "seeds unknown"),
        ({"se": [np.nan], "df": [np.nan], "q": [np.nan], "interval": ["none"]}, ""),
        ({"gain": [np.nan]}, ""),
    ],
)
def test_each_pair_has_its_verdict(columns, word):
    assert verdicts(rows(**columns), 0.01).tolist() == [word]


def test_equal_is_two_one_sided_tests_at_five_percent():
    """A pair whose gain is the margin itself is called equal in one of twenty studies."""
    rng = np.random.default_rng(0)
    seeds = 0.01 + 0.004 * rng.normal(size=(20_000, 5))
    se = seeds.std(1, ddof=1) / np.sqrt(5)
    table = pd.DataFrame(
        {"gain": seeds.mean(1), "se": se, "df": 4.0, "q": 1.0, "interval": "seeds"}
    )
    share = (verdicts(table, 0.01) == "equal").mean()
    assert share == pytest.approx(0.05, abs=0.005)
    upper = [stats.ttest_1samp(row, 0.01, alternative="less").pvalue for row in seeds[:200]]
    lower = [stats.ttest_1samp(row, -0.01, alternative="greater").pvalue for row in seeds[:200]]
    expected = np.maximum(upper, lower) <= 0.05
    np.testing.assert_array_equal(verdicts(table[:200], 0.01) == "equal", expected)


def test_what_unclear_pairs_could_have_told():
    pairs = pd.DataFrame({"se": [0.01, 0.02, 0.04, np.nan], "df": [4.0, 4.0, 4.0, np.nan]})
    assert t_power(smallest_told(pairs) / 0.02, 4.0) == pytest.approx(0.8)
    assert np.isnan(smallest_told(pairs[3:]))


def test_the_margin_reaches_table_map_and_report():
    transfers = made.transfer(5, ("text",), seeds=3, noise=0.002)
    narrow, wide = gain_table(transfers), gain_table(transfers, margin=0.2)
    assert set(narrow["margin"]) == {0.01}
    assert set(narrow["verdict"]) >= {"gain", "loss"}
    measured = wide["gain"].notna()
    assert set(wide.loc[measured, "verdict"]) == {"equal"}
    frame = gain_frame(wide, "text", made.tasks(5))
    assert frame["equal"].sum() == measured.sum()
    frames, view = made.tables(5, ("text",)), View(made.tasks(5), ("text",))
    off = frames["gains"][~frames["gains"]["diagonal"]]
    count = {word: (off["verdict"] == word).sum() for word in answers.VERDICTS}
    assert sum(count.values()) == off["gain"].notna().sum()
    said = answers.which_help(view, frames)[0]
    assert f"{count['gain']} pairs gain and {count['loss']} lose" in said
    assert (
        f"{count['equal']} are equal within a margin of 1 point, and {count['unclear']} are unclear"
        in said
    )
    heads, (row,) = glance(view, frames)
    place = heads.index("pairs of two tasks that gain / lose / are equal / unclear")
    assert row[place] == " / ".join(str(n) for n in count.values())


def test_one_seed_has_no_verdict():
    images = made.gains(made.transfer(5, ("text",))).assign(verdict="seeds unknown", margin=0.01)
    frames = {**made.tables(5, ("text",), seeds=1), "gains": images}
    view = View(made.tasks(5), ("text",))
    assert "seeds unknown" in answers.which_help(view, frames)[0]
    heads, _ = glance(view, frames)
    assert any("beyond test-image noise" in h and "seeds unknown" in h for h in heads)


def test_one_degree_of_freedom_has_a_size_too():
    """scipy's noncentral t has no number for a tail that is nothing."""
    found = smallest_told(pd.DataFrame({"se": [1.0], "df": [1.0]}))
    rng = np.random.default_rng(0)
    t = (found + rng.normal(size=200_000)) / np.abs(rng.normal(size=200_000))
    assert np.mean(np.abs(t) > stats.t.ppf(0.975, 1)) == pytest.approx(0.8, abs=0.005)
