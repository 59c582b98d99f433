"""Clusters, groups for joint tuning and the transfer graph."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvlpt_analysis.choice import groups
from mvlpt_core.contract.errors import InputError


def blocks(sizes: list[int], inside: float = 0.05, outside: float = -0.05) -> np.ndarray:
    label = np.repeat(np.arange(len(sizes)), sizes)
    gain = np.where(label[:, None] == label[None], inside, outside)
    np.fill_diagonal(gain, np.nan)
    return gain


def partitions(items: list[int]):
    """All set partitions."""
    if not items:
        yield []
        return
    first, *rest = items
    for part in partitions(rest):
        for i, group in enumerate(part):
            yield [*part[:i], [first, *group], *part[i + 1 :]]
        yield [[first], *part]


def worth(gain: np.ndarray, part: list[list[int]], objective: str) -> float:
    total = 0.0
    for group in part:
        for t in group:
            given_to = [gain[s, t] for s in group if s != t]
            if given_to:
                total += sum(given_to) if objective == "sum" else np.mean(given_to)
    return total


def as_part(labels: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(labels == k).tolist() for k in np.unique(labels)]


@pytest.mark.parametrize("exact", [True, False])
def test_planted_groups_are_found(exact):
    labels = groups.best_groups(blocks([3, 4, 1, 2]), 5, exact=exact)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 3, 3]


def test_the_limit_holds_and_negative_gains_leave_tasks_alone():
    labels = groups.best_groups(blocks([6]), 2)
    assert np.bincount(labels).tolist() == [2, 2, 2]
    assert groups.best_groups(blocks([4], inside=-0.1), 4).tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="expected 2 or more"):
        groups.best_groups(blocks([4]), 1)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(["sum", "mean"]), st.integers(2, 4))
def test_exact_equals_brute_force_and_bounds_the_search(seed, objective, limit):
    gain = np.random.default_rng(seed).normal(size=(6, 6))
    best = max(
        worth(gain, part, objective)
        for part in partitions(list(range(6)))
        if max(map(len, part)) <= limit
    )
    exact = groups.best_groups(gain, limit, objective)
    search = groups.best_groups(gain, limit, objective, exact=False, seed=seed)
    assert worth(gain, as_part(exact), objective) == pytest.approx(best)
    assert worth(gain, as_part(search), objective) <= best + 1e-9
    assert np.bincount(search).max() <= limit


def test_symmetrised_gains_are_weighted_by_noise():
    gain = np.array([[np.nan, 0.1], [0.3, np.nan]])
    equal = groups.symmetrise(gain)
    assert equal[0, 1] == equal[1, 0] == pytest.approx(0.2)
    se = np.array([[0.1, 0.1], [0.3, 0.1]])
    # The difference of 0.2 is within the noise, so no variance between directions is added.
    weights = np.array([1 / 0.1**2, 1 / 0.3**2])
    assert groups.symmetrise(gain, se)[0, 1] == pytest.approx(
        (weights * [0.1, 0.3]).sum() / weights.sum()
    )


def test_a_diverged_cell_takes_its_mirror_and_a_lost_pair_its_tasks_level():
    gain = blocks([3], inside=0.04)
    gain[0, 1] = np.nan
    assert groups.symmetrise(gain)[0, 1] == pytest.approx(0.04)
    gain[1, 0] = np.nan
    assert groups.symmetrise(gain)[0, 1] == pytest.approx(0.04)
    assert np.isnan(np.diag(groups.symmetrise(gain))).all()


def test_clusters_join_the_planted_groups_first():
    tree = groups.cluster(groups.symmetrise(blocks([3, 3])))
    assert tree.shape == (5, 4)
    assert tree[:4, 2] == pytest.approx(0)
    assert tree[4, 2] == pytest.approx(0.1)
    assert groups.cluster(np.full((2, 2), 0.1)).shape == (1, 4)
    with pytest.raises(InputError, match="at least 2"):
        groups.cluster(np.array([[np.nan]]))


def test_profile_clusters_on_a_table_that_is_not_square():
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(3, 9))
    gain = np.repeat(kinds, 4, axis=0) + 0.05 * rng.normal(size=(12, 9))
    labels = groups.profile_clusters(gain, np.eye(12, 9, dtype=bool))
    assert labels.tolist() == np.repeat([0, 1, 2], 4).tolist()
    assert groups.profile_clusters(gain[:3], np.zeros((3, 9), bool)).tolist() == [0, 0, 0]


def test_shrinkage_goes_all_the_way_for_pure_noise():
    rng = np.random.default_rng(1)
    noise = 0.01 * rng.normal(size=(12, 12))
    shrunk = groups.shrink(noise, np.full((12, 12), 0.02))
    off = ~np.eye(12, dtype=bool)
    assert np.ptp(shrunk[off]) < 1e-12
    strong = blocks([6, 6])
    np.testing.assert_allclose(groups.shrink(strong, np.full((12, 12), 1e-6)), strong, atol=1e-6)


def test_stability_tells_firm_groups_from_noise():
    tasks = [f"t{i}" for i in range(8)]
    se = np.full((8, 8), 0.01)
    firm = groups.group_table(tasks, blocks([4, 4]), se, draws=30)
    assert firm["stability"].min() > 0.95
    assert firm["together"].min() > 0.95
    assert firm["expected_gain"].to_numpy() == pytest.approx(0.05, abs=0.003)
    assert firm["size"].tolist() == [4] * 8
    rng = np.random.default_rng(2)
    loose = groups.group_table(tasks, 0.05 * rng.normal(size=(8, 8)), se * 6, draws=30)
    assert loose["stability"].mean() < 0.9
    seeds = np.array([blocks([4, 4]) + 0.001 * k for k in range(3)])
    assert groups.group_table(tasks, seeds.mean(0), None, seeds, draws=10)["stability"].min() == 1
    alone = groups.group_table(tasks, blocks([4, 4]))
    assert alone["stability"].isna().all()


def test_graph_and_givers_count_significant_edges():
    pairs = pd.DataFrame(
        [
            ("a", "b", 0.1, 0.01),
            ("b", "a", 0.2, 0.5),
            ("a", "c", -0.1, 0.02),
            ("c", "a", 0.0, 0.9),
            ("b", "c", 0.3, 0.001),
            ("c", "b", -0.2, 0.6),
            ("a", "a", 0.5, 0.0),
        ],
        columns=["source", "target", "gain", "q"],
    )
    graph = groups.transfer_graph(pairs)
    edges = set(zip(graph["source"], graph["target"], strict=True))
    assert edges == {("a", "b"), ("a", "c"), ("b", "c")}
    table = groups.givers(pairs).set_index("task")
    assert table.index[0] == "b"
    assert table.loc["a", ["helps", "hurts", "helped_by", "hurt_by"]].tolist() == [1, 1, 0, 0]
    assert table.loc["c", ["helped_by", "hurt_by"]].tolist() == [1, 1]
    assert table["hub"].tolist() == pytest.approx([0.75, 0.25, 0.0])
    assert table.loc["a", "mean_given"] == pytest.approx(0.0)
