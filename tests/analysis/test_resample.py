"""Draws and percentile intervals against plain loops."""

import numpy as np
import pytest

from mvlpt_analysis.stats import resample


def test_permutations_and_counts_are_what_they_say() -> None:
    permuted = resample.permutations(7, 50, 3)
    assert (np.sort(permuted, axis=1) == np.arange(7)).all()
    for counts in (resample.task_counts(7, 50, 3), resample.unit_counts(7, 50, 3)):
        assert counts.shape == (50, 7)
        assert (counts.sum(1) == 7).all()
        assert len(np.unique(counts, axis=0)) > 40
    assert resample.unit_counts(0, 5, 0).shape == (5, 0)


def test_unit_counts_count_units_drawn_one_by_one() -> None:
    drawn = np.random.default_rng(11).integers(6, size=(40, 6))
    expected = [[(row == unit).sum() for unit in range(6)] for row in drawn]
    np.testing.assert_array_equal(resample.unit_counts(6, 40, 11), expected)


def test_a_generator_goes_on_from_where_it_is() -> None:
    rng = np.random.default_rng(5)
    first, second = (resample.unit_counts(6, 10, rng) for _ in range(2))
    np.testing.assert_array_equal(first, resample.unit_counts(6, 10, 5))
    assert (first != second).any()


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_interval_of_a_mean_equals_a_loop_over_draws(level: float) -> None:
    values = np.random.default_rng(0).normal(size=11)
    values[[2, 7]] = np.nan
    drawn = np.random.default_rng(4).integers(11, size=(300, 11))
    means = [np.nanmean(values[row]) for row in drawn]
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    found = resample.bootstrap_mean(values, resample.unit_counts(11, 300, 4), level)
    assert found == pytest.approx((np.nanmean(values), low, high))


def test_few_values_and_few_replicates_have_no_interval() -> None:
    counts = resample.unit_counts(4, 20, 0)
    two = np.array([1.0, np.nan, 2.0, np.nan])
    np.testing.assert_equal(resample.bootstrap_mean(two, counts), (1.5, np.nan, np.nan))
    np.testing.assert_equal(resample.bootstrap_mean(two * np.nan, counts), (np.nan,) * 3)
    replicates = np.array([1.0, 2.0, np.nan, np.nan, np.nan])
    assert np.isnan(resample.percentile_interval(replicates, 0.95)).all()
    assert resample.percentile_interval(replicates[:4], 1.0) == (1, 2)
    means = resample.resampled_mean(two, np.array([[0.0, 4, 0, 0], [3, 0, 1, 0]]))
    np.testing.assert_equal(means, [np.nan, 1.25])
