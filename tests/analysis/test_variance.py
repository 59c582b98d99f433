"""Moderated variances against Smyth's model and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import digamma, polygamma

from mvlpt_analysis.stats.variance import (
    MIN_PAIRS,
    fit_prior,
    mean_interval,
    mean_intervals,
    moderated,
    moderated_by_group,
)


def drawn(prior: float, strength: float, df: int, n: int, seed: int) -> np.ndarray:
    """Sample variances of the model: the true ones are inverse chi-squared."""
    rng = np.random.default_rng(seed)
    true = strength * prior / rng.chisquare(strength, n)
    return true * rng.chisquare(df, n) / df


@pytest.mark.parametrize("strength", [2.0, 6.0, 15.0])
def test_the_prior_is_found(strength: float) -> None:
    found = fit_prior(drawn(4.0, strength, 2, 50_000, 0), np.full(50_000, 2.0))
    assert found == pytest.approx((4.0, strength), rel=0.15)


def test_posterior_by_hand() -> None:
    variance, df = drawn(1.0, 5.0, 2, 400, 1), np.full(400, 2.0)
    prior, strength = fit_prior(variance, df)
    logs = np.log(variance) - digamma(1) + np.log(1)
    assert polygamma(1, strength / 2) == pytest.approx(logs.var(ddof=1) - polygamma(1, 1))
    after, total = moderated(variance, df)
    assert after == pytest.approx((strength * prior + 2 * variance) / (strength + 2))
    assert total == pytest.approx(np.full(400, 2 + strength))


def test_equal_true_variances_are_pooled_and_know_no_more_than_all_pairs() -> None:
    rng = np.random.default_rng(2)
    variance = np.array([rng.normal(size=5).var(ddof=1) for _ in range(100)])
    after, total = moderated(variance, np.full(100, 4.0))
    assert after == pytest.approx(np.ones(100), abs=0.25)
    assert np.ptp(after) < 0.2 * np.ptp(variance)
    assert (total <= 400).all()


def test_few_or_missing_variances_stay_as_they_are() -> None:
    few = np.arange(1.0, MIN_PAIRS)
    after, total = moderated(few, np.full(len(few), 2.0))
    assert after.tolist() == few.tolist()
    assert total.tolist() == [2.0] * len(few)
    zeros = moderated(np.zeros(20), np.full(20, 1.0))
    assert zeros[0].tolist() == [0.0] * 20
    variance = np.r_[drawn(1.0, 4.0, 2, 30, 3), np.nan, 1.0]
    df = np.r_[np.full(30, 2.0), 2.0, 0.0]
    after, total = moderated(variance, df)
    assert np.isnan(after[30:]).all()
    assert np.isnan(total[30:]).all()
    assert after[:30] == pytest.approx(moderated(variance[:30], df[:30])[0])


@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_units_do_not_matter_and_order_stays(seed: int, unit: float) -> None:
    variance, df = drawn(1.0, 3.0, 2, 40, seed), np.full(40, 2.0)
    after, total = moderated(variance, df)
    scaled, same = moderated(unit * variance, df)
    assert scaled == pytest.approx(unit * after, rel=1e-6)
    assert same == pytest.approx(total, rel=1e-6)
    order = np.argsort(variance)
    assert (np.diff(after[order]) >= 0).all()


def test_a_noisy_group_is_not_drawn_to_the_quiet_ones() -> None:
    """Mean gains of three seeds, targets' standard deviations from 1 to 16: t intervals hold 0 in 95 %."""
    rng = np.random.default_rng(0)
    sd = np.repeat(np.geomspace(1, 16, 20), 19)
    target, df = np.repeat(np.arange(20), 19), np.full(380, 2.0)
    held = {moderated: [], moderated_by_group: []}
    for _ in range(60):
        seeds = sd * rng.normal(size=(3, 380))
        variance, mean = seeds.var(0, ddof=1), np.abs(seeds.mean(0))
        for how in held:
            after, total = how(variance, df) if how is moderated else how(variance, df, target)
            held[how].append(mean <= stats.t.ppf(0.975, total) * np.sqrt(after / 3))
    noisy = {how: np.mean(found, axis=0)[target >= 17].mean() for how, found in held.items()}
    assert noisy[moderated] < 0.9
    assert noisy[moderated_by_group] == pytest.approx(0.95, abs=0.02)
    assert np.mean(held[moderated_by_group]) == pytest.approx(0.95, abs=0.01)


def test_few_groups_and_groups_without_variances_are_taken_as_they_come() -> None:
    variance, df = drawn(1.0, 4.0, 2, 60, 3), np.full(60, 2.0)
    few = moderated_by_group(variance, df, np.arange(60) % 5)
    np.testing.assert_array_equal(few, moderated(variance, df))
    lost = np.where(np.arange(60) < 4, np.nan, variance)
    after, total = moderated_by_group(lost, df, np.arange(60) // 4)
    assert np.isnan(after[:4]).all()
    assert np.isnan(total[:4]).all()
    assert np.isfinite(after[4:]).all()
    assert (total[4:] <= 8).all()


def test_intervals_of_means_lend_one_another_their_variances() -> None:
    """Two seeds of 20 tasks with one spread: they cover as often as they say, and are far narrower."""
    rng = np.random.default_rng(3)
    covered, widths, alone = [], [], []
    for _ in range(100):
        samples = list(rng.normal(5, 2, (20, 2)))
        found = np.array(mean_intervals(samples))
        covered.append((found[:, 1] < 5) & (found[:, 2] > 5))
        widths.append(found[:, 2] - found[:, 1])
        alone.append([np.subtract(*mean_interval(values)[2:0:-1]) for values in samples])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert np.median(widths) < 0.4 * np.median(alone)


def test_intervals_of_means_by_hand() -> None:
    samples = [np.array([i, i + 1.0 + i % 3, np.nan]) for i in range(12)]
    found = mean_intervals([*samples, np.array([3.0]), np.array([])])
    variance, df = moderated(np.array([(1 + i % 3) ** 2 / 2 for i in range(12)]), np.ones(12))
    for (mean, low, high, p), v, d, values in zip(found, variance, df, samples, strict=False):
        assert mean == np.nanmean(values)
        expected = stats.t(d, mean, np.sqrt(v / 2))
        assert (low, high) == pytest.approx(expected.interval(0.95))
        assert p == pytest.approx(2 * min(expected.cdf(0), expected.sf(0)))
    assert found[12][0] == 3
    assert np.isnan([*found[12][1:], *found[13]]).all()
    few = samples[: MIN_PAIRS - 1]
    assert mean_intervals(few) == [pytest.approx(mean_interval(values)) for values in few]
