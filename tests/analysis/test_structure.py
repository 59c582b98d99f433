"""Families of tasks, senders and receivers: permutations, residuals, jackknife, links."""

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis.association import links
from mvlpt_analysis.association.tables import matrices
from mvlpt_analysis.report import apart
from mvlpt_analysis.stats import structure
from mvlpt_analysis.stats.variance import mean_interval
from speed import structures

NAMES = [f"t{i:02d}" for i in range(20)]
FACTORS = pd.DataFrame({"task": NAMES, "family": [f"f{i // 4}" for i in range(20)]})


def tidy(matrix, **names):
    source, target = np.indices(matrix.shape)
    frame = {"source": np.array(NAMES)[source.ravel()], "target": np.array(NAMES)[target.ravel()]}
    value = "value" if "measure" in names else "gain"
    return pd.DataFrame({**frame, value: matrix.ravel(), **names})


def links_of(y, x, factors=FACTORS, permutations=499):
    data = matrices(tidy(y, method="text"), tidy(x, measure="alike"))
    table = links.link_table(data, factors, permutations)
    chosen = table[table["statistic"] == "pearson"]
    free = chosen[(chosen["factor"] == "") | ~chosen["link"].isin(["sources", "targets", "pairs"])]
    return free.set_index("link"), table


def test_families_stay_together_and_tasks_in_their_families():
    family = structure.blocks(["a", "b", "a", "c", "b", "", "c"])
    assert len(set(family)) == 4
    within = structure.family_permutations(family, 200, 0, whole=False)
    assert (family[within] == family).all()
    whole = structure.family_permutations(family, 500, 0, whole=True)
    moved = family[whole]
    # Mates stay mates, the one alone stays, and each of the 3! 2^3 orders is drawn.
    assert ((moved[:, :, None] == moved[:, None]) == (family[:, None] == family)).all()
    assert (whole[:, 5] == 5).all()
    assert len(np.unique(whole, axis=0)) == 48
    assert len(np.unique(within, axis=0)) == 8


def test_what_sources_targets_and_blocks_explain_is_removed():
    rng = np.random.default_rng(0)
    family = np.arange(20) // 4
    effects = rng.normal(size=(20, 1)) + rng.normal(size=20)
    blocks = rng.normal(size=(5, 5))[family[:, None], family]
    off = ~np.eye(20, dtype=bool)
    assert (structure.residual(effects)[off] == 0).all()
    assert (structure.residual(effects + blocks, family)[off] == 0).all()
    assert (np.abs(structure.residual(effects + blocks)[off]) > 0.01).mean() > 0.9
    cells = rng.normal(size=(20, 20))
    left = structure.residual(cells)
    np.testing.assert_allclose(np.nansum(left, 0), 0, atol=1e-9)
    np.testing.assert_allclose(np.nansum(left, 1), 0, atol=1e-9)
    order = structure.family_permutations(family, 1, 3, whole=False)[0]
    moved = structure.residual(cells[np.ix_(order, order)], family)
    np.testing.assert_allclose(
        moved, structure.residual(cells, family)[np.ix_(order, order)], atol=1e-9
    )
    assert structure.within_share(blocks, family) < 1e-9
    assert structure.within_share(cells, family) > 0.8


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(1).normal(size=9)
    without = np.array([np.delete(values, i).mean() for i in range(9)])
    mean, low, high, p = mean_interval(values)
    np.testing.assert_allclose(structure.jackknife(mean, without), (low, high))
    assert structure.jackknife_p(mean, without) == pytest.approx(p)
    assert np.isnan(structure.jackknife(mean, without[:1])).all()


def test_means_without_a_task_equal_a_loop():
    matrix = np.random.default_rng(2).normal(size=(6, 6))
    matrix[2, 3] = matrix[0, 5] = np.nan
    np.fill_diagonal(matrix, np.nan)
    mean, without = structure.mean_without(matrix)
    assert mean == pytest.approx(np.nanmean(np.nanmean(matrix, 0)))
    for i in range(6):
        rest = np.delete(np.delete(matrix, i, 0), i, 1)
        assert without[i] == pytest.approx(np.nanmean(np.nanmean(rest, 0)))


def test_central_tasks_that_are_good_sources_are_no_link_of_pairs():
    rng = np.random.default_rng(3)
    y, x = structures.STRUCTURES["g good sources are central tasks"](rng)
    found, table = links_of(y, x)
    assert found.loc["sources", "p_permutation"] < 0.01
    assert found.loc["sources", "value"] > 0.6
    assert found.loc["pairs", "p_permutation"] > 0.05
    (said,) = apart.apart(table, "text", ["alike"])
    assert "tasks that are more like the others give more" in said
    assert "with what " in said.split("unclear", 1)[-1]
    assert "pairs gain" in said


def test_a_link_of_pairs_is_found_behind_effects_of_tasks():
    rng = np.random.default_rng(4)
    x = structures._alike(rng)
    y = 0.4 * x + structures._effects(rng) + rng.normal(size=(20, 20))
    found, _ = links_of(y, x)
    assert found.loc[["pairs", "beyond"], "p_permutation"].max() <= 0.004
    # About 0.4 / sqrt(1 + 0.16) in both, for the effects of tasks are gone.
    assert found.loc["pairs", "low"] < 0.37 < found.loc["pairs", "high"]


def test_a_measure_that_is_the_family_is_said_to_be():
    rng = np.random.default_rng(5)
    family = np.arange(20) // 4
    x = (family[:, None] == family).astype(float)
    found, table = links_of(0.5 * x + 0.1 * rng.normal(size=(20, 20)), x)
    assert found.loc["pairs", "p_permutation"] == 0.002
    assert found.loc["all", "p_permutation"] == 1.0
    assert found.loc["beyond", "reason"] == "similarity is constant within family: it is the family"
    assert np.isnan(found.loc["beyond", "value"])
    (said,) = apart.apart(table, "text", ["alike"])
    assert "it is constant within family, and says no more than it" in said
    assert "not established with each family as a unit" in apart.in_kinds(table, "text", "alike")


def test_families_that_cannot_change_places_have_a_reason():
    rng = np.random.default_rng(6)
    alone = FACTORS.assign(family=NAMES)
    found, _ = links_of(rng.normal(size=(20, 20)), rng.normal(size=(20, 20)), alone, 19)
    assert found.loc["beyond", "reason"] == "no two tasks can change places by family"


def test_levels_and_coverage_where_tasks_are_not_alike():
    """Small fixed-seed version of `python -m speed.calibration`: 120 studies, standard error .02."""
    table = structures.levels(studies=120, permutations=99, seed=1).set_index("structure")
    (blocks,) = (name for name in table.index if "blocks" in name)
    (central,) = (name for name in table.index if "central" in name)
    assert (table.drop(columns=["all", "all by families", "pairs"]) <= 0.115).all(axis=None)
    assert (table.drop(index=[blocks, central]) <= 0.115).all(axis=None)
    assert table.loc[blocks, "all by families"] <= 0.115
    # What these numbers are for: free places count families as tasks, pooling takes hubs for pairs.
    assert (table.loc[blocks, ["all", "pairs"]] > 0.15).all()
    assert table.loc[central, "all"] > 0.5
    held = structures.coverage(studies=120, seed=1).set_index("structure")
    assert (held >= 0.88).all(axis=None)
