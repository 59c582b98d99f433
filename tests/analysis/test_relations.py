"""Gains by planted relation."""

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis.gains import relations
from mvlpt_analysis.stats import resample
from mvlpt_core.contract.errors import InputError

NAMES = [f"t{i}" for i in range(12)]
GROUPS = pd.DataFrame(
    {
        "task": NAMES,
        "family": [f"f{i // 4}" for i in range(12)],
        "style": [i % 4 for i in range(12)],
    }
)


def gains_of(matrix, method="text"):
    source, target = np.indices(matrix.shape)
    return pd.DataFrame(
        {
            "method": method,
            "source": np.array(NAMES)[source.ravel()],
            "target": np.array(NAMES)[target.ravel()],
            "gain": matrix.ravel(),
        }
    )


@pytest.fixture
def planted():
    """+0.10 from the family, -0.02 from the style, 0 from neither, 0.5 from self."""
    relation = relations.relation_matrix(GROUPS, NAMES)
    matrix = np.zeros((12, 12))
    for name, gain in {"self": 0.5, "family": 0.10, "style": -0.02}.items():
        matrix[relation == name] = gain
    return matrix


def test_relations_of_a_grid():
    relation = relations.relation_matrix(GROUPS, NAMES)
    assert (relation[0, 0], relation[0, 1], relation[0, 4], relation[0, 5]) == (
        "self",
        "family",
        "style",
        "neither",
    )
    counts = [(relation == name).sum() for name in relations.relation_names(GROUPS)]
    assert counts == [12, 12 * 3, 12 * 2, 12 * 6]


def test_means_by_relation(planted):
    table = relations.relation_table(gains_of(planted), GROUPS)
    np.testing.assert_allclose(table["gain"], [0.5, 0.10, -0.02, 0.0], atol=1e-12)
    np.testing.assert_allclose(table["low"], table["gain"], atol=1e-12)
    assert table["n_pairs"].tolist() == [12, 36, 24, 72]


def test_effects_are_found_where_they_are_planted(planted):
    rng = np.random.default_rng(0)
    noisy = planted + rng.normal(0, 0.02, planted.shape)
    receivers = rng.normal(0, 0.3, 12)  # a target that always gains says nothing about relations
    table = relations.effect_table(gains_of(noisy + receivers), GROUPS, permutations=999)
    family, style = table.to_dict("records")
    assert family["value"] == pytest.approx(0.10, abs=0.01)
    assert family["p_permutation"] == 0.001
    assert family["p_above"] == 0.001
    assert family["low"] < 0.10 < family["high"]
    assert style["value"] == pytest.approx(-0.02, abs=0.015)
    assert style["p_below"] < style["p_above"]


def test_permuted_effects_equal_a_loop(planted):
    matrix = planted + np.random.default_rng(1).normal(0, 0.1, planted.shape)
    matrix[2, 3] = matrix[7, 1] = np.nan
    relation = relations.relation_matrix(GROUPS, NAMES)
    permuted = resample.permutations(12, 7, 0)
    expected = []
    for p in permuted:
        moved = matrix[np.ix_(p, p)]
        by_target = [
            np.nanmean(moved[relation[:, t] == "family", t])
            - np.nanmean(moved[relation[:, t] == "neither", t])
            for t in range(12)
        ]
        expected.append(np.mean(by_target))
    found = relations.permuted_effects(
        matrix, relation == "family", relation == "neither", permuted
    )
    np.testing.assert_allclose(found, expected)


def test_diverged_cells_are_left_out(planted):
    planted[1, 0] = np.nan
    table = relations.relation_table(gains_of(planted), GROUPS)
    assert table["n_pairs"].tolist() == [12, 35, 24, 72]
    assert table["gain"].iloc[1] == pytest.approx(0.10)


def test_an_effect_without_pairs_has_a_reason(planted):
    alone = GROUPS.assign(style=range(12))
    table = relations.effect_table(gains_of(planted), alone, permutations=9).set_index("effect")
    assert np.isnan(table.loc["style", "value"])
    assert table.loc["style", "reason"] == "no target has sources of the same style"


def test_unknown_tasks_and_columns_are_named(planted):
    with pytest.raises(InputError, match="task 't0' is missing: expected a row"):
        relations.relation_table(gains_of(planted), GROUPS.iloc[1:])
    with pytest.raises(InputError, match="gains: column 'profit' is missing"):
        relations.relation_table(gains_of(planted), GROUPS, "profit")


def test_any_number_of_factors_and_tasks_without_a_value(planted):
    one = GROUPS.drop(columns="style")
    table = relations.effect_table(gains_of(planted), one, permutations=9)
    assert table["effect"].tolist() == ["family"]
    three = GROUPS.assign(size=["big"] * 2 + [""] * 10)[["task", "size", "style", "family"]]
    relation = relations.relation_matrix(three, NAMES)
    assert relations.relation_names(three) == ["self", "size", "style", "family", "neither"]
    # The first factor that both share; an empty value is shared with nobody.
    assert relation[0, 1] == "size"
    assert (relation == "size").sum() == 2
