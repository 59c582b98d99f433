"""One seed, and some runs repeated with a second: what is then known of seeds, and that intervals cover."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mvlpt_analysis import study
from mvlpt_analysis.gains.seed_noise import replicated, seed_noise_table
from mvlpt_analysis.gains.shares import variance_table
from mvlpt_analysis.gains.table import gain_table, seed_gains
from mvlpt_analysis.read.study import seeds_known
from mvlpt_analysis.report.answers import how_certain
from mvlpt_analysis.report.variance import noise_of_seeds, where_variance_lies
from mvlpt_analysis.stats.replicates import seed_noise
from mvlpt_analysis.view import View
from mvlpt_core.contract.design import replicated_pairs
from speed import calibration
from speed.replicates import frame, replicate_figures
from support import view_data as made


def repeated(gains: np.ndarray, share: float = 0.1) -> pd.DataFrame:
    """The designed part of a second seed's gains [T, T], as a transfer table."""
    names = calibration.tasks(len(gains))
    pairs = [(group, start) for group in names for start in names if group != start]
    table = frame(gains).set_index(["target", "source"])
    return table.loc[replicated_pairs(pairs, share)].reset_index().assign(seed=2)


def test_noise_of_four_pairs_by_hand():
    """Differences 2, 4 of one target and -2, 0 of another: squares have a mean of 6, half of it is 3; the
    products within targets, 8 and 0, have a mean of 4, half of it is 2."""
    found = seed_noise(
        np.array([2.0, 4, -2, 0]), np.array(["a", "b", "c", "d"]), np.array(["t", "t", "u", "u"])
    )
    assert found.variance == pytest.approx(3)
    assert found.shared == pytest.approx(2)
    # Halved squares 2, 8, 2, 0 less 3 add up to 4 in t and -4 in u: var = (16 + 16) / 4^2 = 2; a normal
    # variable's would be 2 * 9 * (4 + 4 * (2 / 3)^2) / 16 = 6.5, which is larger.
    assert found.df == pytest.approx(2 * 9 / 6.5)


def test_equal_seeds_have_no_noise():
    found = seed_noise(np.zeros(5), np.arange(5), np.arange(5))
    assert (found.variance, found.shared, found.df) == (0, 0, 5)


def test_a_gain_with_the_noise_of_its_pairs_by_hand():
    one = np.zeros((4, 4))
    one[0, 1] = 0.1
    two = one + 0.02 * np.array([[0, 1, -1, 1], [1, 0, 1, -1], [-1, 1, 0, 1], [1, -1, 1, 0]])
    again = repeated(two, 1.0)
    table = gain_table(frame(one), replicates=again)
    pairs = replicated(seed_gains(frame(one)), seed_gains(again))
    assert len(pairs) == 12
    noise = seed_noise(*(pairs[c].to_numpy() for c in ("difference", "source", "target")))
    assert noise.variance == pytest.approx(0.02**2 / 2)
    row = table.set_index(["source", "target"]).loc[("task00", "task01")]
    assert (row.gain, row.n_seeds, row.interval) == (pytest.approx(0.1), 1, "replicates")
    df, error = 1 / (1 / noise.df + 1 / 6), 0.02 / np.sqrt(2) * np.sqrt(4 / 6)
    assert (row.df, row.se) == pytest.approx((df, error))
    half = stats.t.ppf(0.975, df) * error
    assert (row.low, row.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert row.new_seed_high - row.gain == pytest.approx(np.sqrt(2) * half)
    assert row.p == pytest.approx(2 * stats.t.sf(0.1 / error, df))
    # Scratch is 0.5: half of the way to 1 is left.
    assert row.relative_error_reduction_low == pytest.approx(2 * (0.1 - half))
    assert row.verdict == "gain"
    assert seeds_known(table)
    own = table[table["diagonal"]]
    assert set(own["interval"]) == {"none"}


def test_image_noise_is_not_counted_twice():
    """The mean variance of the repeated pairs is what their differences show; a pair measured on fewer
    images has more."""
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 0.05, (2, 8, 8))
    images = frame(one).assign(n_images=100, gain=one.ravel())
    images["se"] = np.where(images["target"] == "task00", 0.03, 0.01)
    for column in ("low", "high", "p", *(f"relative_error_reduction_{s}" for s in ("low", "high"))):
        images[column] = 0.0
    again = repeated(two, 1.0)
    table = gain_table(frame(one), images, replicates=again)
    pairs = replicated(seed_gains(frame(one)), seed_gains(again))
    off = table[~table["diagonal"]]
    noise = (pairs["difference"] ** 2).mean() / 2
    assert (off["se"] ** 2).mean() == pytest.approx(noise * 4 / 6)
    by_target = off.groupby("target")["se"].first()
    beyond = by_target["task00"] ** 2 - by_target["task01"] ** 2
    assert beyond == pytest.approx((0.03**2 - 0.01**2) * 4 / 6)
    assert set(table.loc[table["diagonal"], "interval"]) == {"images"}
    assert seeds_known(table)
    assert not seeds_known(gain_table(frame(one), images))


def test_gains_are_the_first_seeds_everywhere():
    rng = np.random.default_rng(1)
    one, two = rng.normal(0, 0.05, (2, 20, 20))
    alone, beside = gain_table(frame(one)), gain_table(frame(one), replicates=repeated(two))
    for column in ("gain", "score", "scratch", "ceiling", "relative_error_reduction", "n_seeds"):
        pd.testing.assert_series_equal(alone[column], beside[column])


def test_too_few_or_diverged_replicates_leave_seeds_unknown():
    one = np.random.default_rng(2).normal(0, 0.05, (5, 5))
    again = repeated(one + 0.01).assign(status="diverged")
    table = gain_table(frame(one), replicates=again)
    assert set(table["interval"]) == {"none"}
    found = seed_noise_table(replicated(seed_gains(frame(one)), seed_gains(again)))
    assert (found["n_pairs"][0], found["n_missing"][0]) == (0, len(again))
    assert found["reason"][0] == "fewer than 4 pairs have two seeds"


def test_intervals_hold_the_mean_and_a_fresh_seed():
    """Seeded studies with the testbed's shares: 95 % where targets are alike, nearly so where they are not.
    The interval of the mean is not one of a fresh seed."""
    found = replicate_figures(20, seed=1)
    assert found["mean"].between(0.93, 0.98).all()
    assert found["fresh"].between(0.93, 0.98).all()
    assert (found["narrow"] < 0.90).all()
    assert (found["false"] < 0.12).all()


def test_shares_of_variance_are_split_by_differences():
    """The mean of studies with known shares: a tenth of the second seed tells the seed's part."""
    shares = np.array([0.03, 0.04, 0.54, 0.04, 0.14, 0.21])
    found = []
    for number in range(40):
        rng = np.random.default_rng([3, number])
        one, two = calibration.related_gains(20, 2, 0.03**2 * shares, rng, 0.8)
        table = variance_table(frame(one), ("gain",), replicates=repeated(two))
        found.append(table.set_index("component")["value"])
    mean = pd.concat(found, axis=1).mean(axis=1)
    names = ["source", "target", "pair", "seed_source", "seed_target", "seed_pair"]
    assert mean[names].to_numpy() == pytest.approx(shares, abs=0.05)


@pytest.fixture(scope="module")
def tables():
    every = made.transfer(20, ("text",), 2)
    first, second = (every[every["seed"] == seed] for seed in (1, 2))
    names = made.tasks(20)
    pairs = [(group, start) for group in names for start in names if group != start]
    chosen = replicated_pairs(pairs, 0.1)
    kept = [pair in chosen for pair in zip(second["target"], second["source"], strict=True)]
    none = pd.DataFrame()
    args = (first, none, none, made.similarity(20), names, ("text",), made.factors(20))
    few = {"permutations": 50, "bootstrap": 50}
    found = study.statistics(*args, **few, replicates=second[kept])
    return found | {"agreement": pd.DataFrame(), "transfer": first}


def test_the_report_says_how_seed_noise_was_measured(tables):
    view = View(made.tasks(20), ("text",), factors=made.factors(20))
    (noise,) = noise_of_seeds(view, tables)
    assert noise.startswith("text: over seeds a gain has a standard deviation of 1.")
    assert "26 pairs of 13 targets" in noise or "25 pairs of 13 targets" in noise
    said = how_certain(view, tables)
    assert "was repeated with a second one" in said[0]
    assert noise in said
    (split,) = where_variance_lies(view, tables)
    assert "from one seed and the pairs that were repeated" in split
    assert "cannot be separated" not in split
