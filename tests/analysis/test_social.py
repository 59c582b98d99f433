"""The social relations model: where the variance of gains lies."""

import numpy as np
import pytest

from mvlpt_analysis.gains.shares import variance_table
from mvlpt_analysis.read.pairs import off_diagonal
from mvlpt_analysis.report.variance import headline, where_variance_lies
from mvlpt_analysis.stats import social
from mvlpt_analysis.view import View
from speed import calibration
from support import view_data as made


def split(gains):
    return {found.component: found for found in social.variance_split(gains)}


def from_sums_of_squares(x):
    """The estimators of Warner, Kenny and Stoto (1979) in their usual form (Kenny, Kashy and Cook
    2006, Dyadic Data Analysis, chapter 8), without missing cells: an independent way to the same."""
    n = len(x)
    x = np.where(np.eye(n, dtype=bool), 0, x)
    rows, columns = x.sum(1) / (n - 1), x.sum(0) / (n - 1)
    mean = x.sum() / (n * (n - 1))
    a = ((n - 1) ** 2 * rows + (n - 1) * columns - n * (n - 1) * mean) / (n * (n - 2))
    b = ((n - 1) ** 2 * columns + (n - 1) * rows - n * (n - 1) * mean) / (n * (n - 2))
    g = x - mean - a[:, None] - b[None]
    upper = np.triu_indices(n, 1)
    g, h = g[upper], g.T[upper]
    freedom = (n - 1) * (n - 2) / 2
    between = ((g + h) ** 2).sum() / 2 / (freedom - 1)
    inside = ((g - h) ** 2).sum() / 2 / freedom
    pair, opposite = (between + inside) / 2, (between - inside) / 2
    less = ((n - 1) * pair + opposite) / (n * (n - 2))
    source, target = a @ a / (n - 1) - less, b @ b / (n - 1) - less
    both = a @ b / (n - 1) - ((n - 1) * opposite + pair) / (n * (n - 2))
    return source, target, pair, opposite / pair, both / np.sqrt(source * target)


def test_four_tasks_by_hand():
    """Sources 3, 1, -1, -3 on every target: the mean square of sources is 20 / 3, and no more is there.

    Cells that share the source have a mean product of 5, cells that share nothing of -5 / 3.
    """
    gains = np.array([3.0, 1, -1, -3])[:, None] + np.zeros((4, 4))
    found = split(gains[None])
    assert found["source"].variance == pytest.approx(20 / 3)
    assert found["target"].variance == pytest.approx(0, abs=1e-12)
    assert found["pair"].variance == pytest.approx(0, abs=1e-12)
    assert found["source"].value == pytest.approx(1)
    assert found["source"].reason == "an interval takes 5 tasks whose gains vary"
    assert np.isnan(found["source"].low)


def test_it_is_the_estimator_from_sums_of_squares():
    rng = np.random.default_rng(0)
    tasks = rng.normal(size=(30, 2)) @ np.array([[2.0, 0.8], [0, 1.5]])
    gains = off_diagonal(tasks[:, :1] + tasks[:, 1] + rng.normal(size=(30, 30)) + 5)
    source, target, pair, reciprocity, both = from_sums_of_squares(gains)
    found = split(gains[None])
    for name, expected in (("source", source), ("target", target), ("pair", pair)):
        assert found[name].variance == pytest.approx(expected)
    assert found["giving_receiving"].value == pytest.approx(both)
    variances, values = social._components(social._with_left_out(gains[None]), several=False)
    assert values["reciprocity"][0] == pytest.approx(reciprocity)
    without = from_sums_of_squares(np.delete(np.delete(gains, 3, 0), 3, 1))
    assert variances["source"][4] == pytest.approx(without[0])  # the first holds all tasks


def test_many_tasks_give_the_shares_back():
    rng = np.random.default_rng(1)
    shares = (0.1, 0.2, 0.3, 0.05, 0.15, 0.2)
    gains = calibration.related_gains(150, 2, shares, rng, reciprocity=0.6)
    found = split(gains)
    for name, share in zip((*social.SHARES, *social.SEED_SHARES), shares, strict=True):
        assert found[name].value == pytest.approx(share, abs=0.04), name
    assert found["reciprocity"].value == pytest.approx(0.6, abs=0.03)
    assert sum(found[name].value for name in (*social.SHARES, *social.SEED_SHARES)) == (
        pytest.approx(1)
    )


def test_intervals_hold_the_true_shares():
    """150 studies of 12 tasks and 2 seeds: 95 % intervals hold at least .90 (standard error .02)."""
    table = calibration.share_coverage(studies=150, n_tasks=12, n_seeds=2, seed=0)
    shares = table.set_index("component")
    assert (shares["coverage"] > 0.90).all()
    assert (shares["mean"] - shares["share"]).abs().max() < 0.03


def test_missing_cells_bias_nothing_and_change_nothing_where_gains_are_additive():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(2, 12))
    gains = np.where(rng.random((12, 12)) < 0.2, np.nan, source[:, None] + target)
    found = split(gains[None])
    assert found["pair"].value == pytest.approx(0, abs=0.25)
    shares = (0.2, 0.3, 0.5, 0, 0, 0)
    means = []
    for _ in range(200):
        full = calibration.related_gains(10, 1, shares, rng)
        means.append(
            split(np.where(rng.random(full.shape) < 0.15, np.nan, full))["source"].variance
        )
    assert np.mean(means) == pytest.approx(0.2, abs=4 * np.std(means) / np.sqrt(200))


def test_a_correlation_of_what_does_not_vary_is_not_given():
    gains = np.random.default_rng(3).normal(size=(1, 12, 12))
    found = split(gains)
    assert np.isnan(found["giving_receiving"].value)
    assert found["giving_receiving"].reason.startswith("the variance of ")


def test_one_seed_repeated_has_no_seed_noise():
    one = np.random.default_rng(4).normal(size=(1, 9, 9))
    found, alone = split(np.repeat(one, 3, axis=0)), split(one)
    for name in social.SHARES:
        assert found[name].value == pytest.approx(alone[name].value)
        assert found[f"seed_{name}"].value == pytest.approx(0, abs=1e-12)


def test_the_table_and_its_sentence():
    transfer = made.transfer(8, ("text",), seeds=1)
    table = variance_table(transfer, ("gain",))
    row = table.set_index("component").loc["pair"]
    assert (row["n_seeds"], row["n_tasks"], row["n_pairs"], row["n_missing"]) == (1, 8, 55, 1)
    table["value"] = table["component"].map({"source": -0.03, "target": 0.24, "pair": 0.79})
    table["low"], table["high"] = table["value"] - 0.1, table["value"] + 0.3
    view = View(made.tasks(8), ("text",))
    (sentence,) = where_variance_lies(view, {"variance": table})
    assert sentence == (
        "text: 79% [69, 100] of the variance of text gains is the pair, 24% [14, 54] the target, 0% "
        "[0, 27] the source. With one seed the pair's share, and the target's, holds the noise of the "
        "seed, which may be most of it and cannot be separated. Estimates below 0 are shown as 0%, so that "
        "the shares shown add up to more than 100%. Left out: 1 run without a gain."
    )
    assert headline(view, {"variance": table}) == (
        "The pair, beyond what source and target bring, is 79% [69, 100] of the variance of text gains, "
        "with the noise of the one seed in it."
    )
    table["high"] = table["value"] + 0.02  # of the source: all below 0
    (sentence,) = where_variance_lies(view, {"variance": table})
    assert "0% (its interval lies beyond) the source" in sentence
    several = variance_table(made.transfer(8, ("text",), seeds=2), ("gain",))
    (sentence,) = where_variance_lies(view, {"variance": several})
    assert "pair by seed" in sentence
    assert "from 2 seeds" in sentence
    assert "With one seed" not in sentence
    assert headline(view, {"variance": several}).endswith("of the variance of text gains.")
    assert headline(view, {"variance": several[:0]}) == ""
