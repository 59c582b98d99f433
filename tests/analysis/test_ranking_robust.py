"""Rankings for a new family of tasks, and among fewer sources."""

import numpy as np
import pytest

from mvlpt_analysis.choice import gain_model, ranking, robust
from mvlpt_analysis.report import rules
from mvlpt_analysis.view import View
from mvlpt_analysis.vocabulary import BEST_AVERAGE, CHOSEN, MODEL_TASK, RANDOM
from support import view_data as made

TASKS = tuple(f"t{i}" for i in range(12))
FAMILIES = {task: f"f{i // 3}" for i, task in enumerate(TASKS)}
SAME = np.array([[FAMILIES[a] == FAMILIES[b] for b in TASKS] for a in TASKS])


def grid_of(gain, **similarities):
    gain = np.where(np.eye(12, dtype=bool), np.nan, gain)
    return gain_model.Grid(
        TASKS, TASKS, tuple(similarities), gain, np.array(list(similarities.values()))
    )


def regrets(table):
    return table[table["metric"] == "regret1"].set_index("ranker")


def test_a_measure_that_is_the_family_is_chance_for_a_new_one():
    rng = np.random.default_rng(0)
    other = rng.normal(size=(12, 12))
    grid = grid_of(3 * SAME + other, family=SAME.astype(float), alike=other)
    inside = regrets(
        ranking.summarise_quality(
            ranking.judged(
                grid,
                {"family": grid.features[0], BEST_AVERAGE: np.zeros((12, 12))},
            ),
            FAMILIES,
        )
    )
    new = regrets(robust.new_family(grid, FAMILIES))
    assert inside.loc["family", "mean"] < 0.6 * inside.loc[BEST_AVERAGE, "mean"]
    assert new.loc["family", "mean"] == pytest.approx(new.loc[RANDOM, "mean"])
    assert new.loc["alike", "mean"] == 0
    assert new.loc[MODEL_TASK, "mean"] < 0.5 * new.loc[RANDOM, "mean"]
    assert set(new["unit"]) == {"families"}


def test_the_model_and_the_bar_know_nothing_of_the_family():
    """Gains to and from the first family may be anything: what is said of its targets stays."""
    rng = np.random.default_rng(1)
    gain, alike = rng.normal(size=(2, 12, 12))
    told = gain_model.leave_family_out(grid_of(gain, alike=alike), FAMILIES)
    assert (np.isfinite(told) == ~SAME).all()
    first = np.array([FAMILIES[task] == "f0" for task in TASKS])
    other = np.where(first[:, None] | first, 100.0, gain)
    again = gain_model.leave_family_out(grid_of(other, alike=alike), FAMILIES)
    np.testing.assert_allclose(again[:, first], told[:, first])
    assert not np.allclose(again[:, ~first], told[:, ~first], equal_nan=True)
    # The bar by hand: t6 gives 3 to the first family, t5 gives 1 to all others.
    gain = np.zeros((12, 12))
    gain[5, 3:], gain[6, :3] = 1, 3
    new = regrets(robust.new_family(grid_of(gain), FAMILIES))
    # The first family takes t5 and loses 3, the last takes t6 and loses 1; the families of t5 and t6
    # lose nothing: they have no other source that gives, and t5 as the best of the rest.
    assert new.loc[BEST_AVERAGE, "mean"] == pytest.approx((3 + 0 + 0 + 1) / 4)


def test_without_families_there_is_no_new_one():
    grid = grid_of(np.zeros((12, 12)))
    assert robust.new_family(grid, None).empty
    assert robust.new_family(grid, dict.fromkeys(TASKS, "one")).empty


def test_signs_on_halves_of_the_sources():
    rng, noise = np.random.default_rng(2), []
    for _ in range(10):
        gain = rng.normal(size=(12, 12))
        grid = grid_of(gain, perfect=gain, noise=rng.normal(size=(12, 12)))
        rankers = {
            "perfect": gain,
            "noise": grid.features[1],
            BEST_AVERAGE: ranking._best_average(grid),
            RANDOM: np.zeros((12, 12)),
        }
        table = ranking.with_chosen(ranking.judged(grid, rankers), FAMILIES)
        held = robust.thinned(grid, rankers, table, FAMILIES, halves=40)
        assert held["perfect"] == 1
        assert held[CHOSEN] == 1  # it is the perfect one
        assert np.isnan(held[BEST_AVERAGE])
        noise.append(held["noise"])
    assert 0.5 < np.mean(noise) < 0.9
    assert held == pytest.approx(
        robust.thinned(grid, rankers, table, FAMILIES, halves=40), nan_ok=True
    )
    summary = regrets(ranking.summarise_quality(table, FAMILIES, thinned=held))
    assert summary.loc["perfect", "thinned"] == 1


def test_slope_by_hand():
    """Scores 0, 1, 2 with gains 1, 3, 5: 2 for each unit, of which sqrt(2 / 3) is a standard deviation."""
    gains = np.array([1.0, 3, 5])
    assert ranking.slope(gains, np.arange(3.0)) == pytest.approx(2 * np.sqrt(2 / 3))
    assert ranking.slope(gains, 10 * np.arange(3.0)) == pytest.approx(2 * np.sqrt(2 / 3))
    assert ranking.slope(gains, -np.arange(3.0)) < 0
    assert ranking.slope(gains, np.full(3, 0.1)) == 0


def test_the_report_says_both():
    tasks = made.tables(6, ("text",))
    view = View(made.tasks(6), ("text",), factors=made.factors(6))
    said = rules.choice(view, tasks, "text")
    assert "of random halves of the sources" in said
    assert "For a new family of tasks" in said
    alone = made.tables(6, ("text",), planted=False)
    assert alone["ranking_new_family"].empty
    assert "new family" not in rules.choice(View(made.tasks(6), ("text",)), alone, "text")
