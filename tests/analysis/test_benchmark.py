"""Benchmark tables: cells, averages and differences of made-up scores."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mvlpt_analysis.benchmark.adaptation import (
    ADAPTATION_COLUMNS,
    GIVEN,
    OTHERS,
    SAME,
    adaptation,
    judge,
)
from mvlpt_analysis.benchmark.few_shot import few_shot
from mvlpt_analysis.benchmark.generalisation import (
    PUBLISHED,
    PUBLISHED_COLUMNS,
    PUBLISHED_TARGETS,
    Way,
    beside_published,
    best_single,
    generalisation,
)
from mvlpt_analysis.benchmark.joint import compare_modes, joint_pairs
from mvlpt_analysis.benchmark.table import (
    AVERAGE_COLUMNS,
    CELL_COLUMNS,
    DIFFERENCE_COLUMNS,
    Entry,
)
from mvlpt_core.contract.errors import InputError
from support.benchmark_scores import (
    FEW,
    GROUPS,
    JOINT,
    T2,
    TRANSFER,
    alone,
    average,
    cell,
    difference,
    frame,
    together,
    way,
)


def test_cells_are_means_over_seeds_with_t_intervals():
    found = few_shot(frame(*FEW))
    assert list(found.cells.columns) == list(CELL_COLUMNS)
    assert [entry.name for entry in found.entries] == ["zero-shot", "linear probe", "CoOp", "VPT"]
    assert found.targets == ("a", "b")
    assert found.shots == (5,)
    assert len(found.cells) == 4 * 2
    row = cell(found.cells, "CoOp", "a")
    # Two values 0.2 apart: standard error 0.1.
    assert_allclose([row["score"], row["low"], row["high"]], [0.6, 0.6 - T2 * 0.1, 0.6 + T2 * 0.1])
    assert (row["n_seeds"], row["n_diverged"], row["reason"]) == (2, 0, "")
    zero = cell(found.cells, "zero-shot", "b")
    assert zero["score"] == 0.4
    assert np.isnan(zero["low"])
    assert zero["reason"] == ""


def test_averages_have_targets_as_units():
    found = few_shot(frame(*FEW)).averages
    assert list(found.columns) == list(AVERAGE_COLUMNS)
    row = average(found, "CoOp")  # 0.6 and 0.8; over zero-shot 0.4 and 0.4
    assert_allclose([row["score"], row["low"]], [0.7, 0.7 - T2 * 0.1])
    assert_allclose(
        [row["over_zero_shot"], row["over_zero_shot_low"], row["over_zero_shot_high"]], 0.4
    )
    assert row["n_targets"] == 2
    assert_allclose(average(found, "zero-shot")["score"], 0.3)


def test_differences_are_paired_by_seed_and_averaged_over_targets():
    found = few_shot(frame(*FEW)).differences
    assert list(found.columns) == list(DIFFERENCE_COLUMNS)
    row = difference(found, "CoOp", "linear probe", "a")  # 0.5 - 0.3 and 0.7 - 0.5
    assert_allclose([row["difference"], row["low"], row["high"]], 0.2)
    row = difference(found, "VPT", "linear probe", "a")  # 0.3 and 0.1
    assert_allclose([row["difference"], row["high"]], [0.2, 0.2 + T2 * 0.1])
    assert (row["n"], row["unit"]) == (2, "seeds")
    mean = difference(found, "VPT", "linear probe")  # 0.2 and 0.1
    assert_allclose([mean["difference"], mean["low"]], [0.15, 0.15 - T2 * 0.05])
    assert (mean["n"], mean["unit"]) == (2, "targets")
    row = difference(found, "CoOp", "zero-shot", "a")  # one zero-shot score for both seeds
    assert_allclose([row["difference"], row["high"]], [0.4, 0.4 + T2 * 0.1])


def test_averages_are_over_the_targets_that_all_have():
    more = alone("text", "random", "c", 0.9, 0.9), alone("visual", "random", "d", 0.1, None)
    found = few_shot(frame(*FEW, *more))
    for entry in ("zero-shot", "linear probe", "CoOp", "VPT"):
        row = average(found.averages, entry)
        assert row["n_targets"] == 2
        assert row["reason"] == "left out: c, d"
    assert_allclose(average(found.averages, "CoOp")["score"], 0.7)
    empty = cell(found.cells, "VPT", "c")
    assert np.isnan(empty["score"])
    assert (empty["n_seeds"], empty["reason"]) == (0, "no run")
    assert cell(found.cells, "VPT", "d")["reason"] == "1 of 2 runs diverged"
    row = difference(found.differences, "CoOp", "linear probe")
    assert (row["n"], row["reason"]) == (2, "left out: c, d")


def test_shots_do_not_share_their_averages():
    more = alone("text", "random", "a", 0.3, shots=1), alone("text", "random", "c", 0.5, shots=1)
    found = few_shot(frame(*FEW, *more))
    assert found.shots == (1, 5)
    row = average(found.averages, "CoOp", 1)
    # No other entry has a run with one shot, so these do not count.
    assert_allclose(row["score"], 0.4)
    assert row["reason"] == "left out: b"
    assert average(found.averages, "VPT", 1)["reason"] == "no run"
    assert average(found.averages, "zero-shot", 1)["score"] == pytest.approx((0.2 + 0.6) / 2)


def test_fewer_seeds_are_said():
    found = few_shot(frame(*FEW, alone("text", "random", "c", 0.5)))
    row = cell(found.cells, "CoOp", "c")
    assert (row["reason"], row["n_seeds"]) == ("1 of 2 seeds", 1)
    assert np.isnan(row["low"])


def test_a_method_of_another_name_keeps_it():
    rows = alone("adapter", "random", "a", 0.5)
    assert [e.name for e in few_shot(frame(rows)).entries] == ["zero-shot", "adapter"]
    assert Entry("multitask", "adapter").name == "multitask adapter"
    assert Entry("multitask", "unified").name == "MUPT"


def test_unusable_scores_are_named():
    with pytest.raises(InputError, match="no runs"):
        few_shot(frame(alone("text", "b", "a", 0.5)).iloc[:0])
    with pytest.raises(InputError, match="column 'step0' is missing"):
        few_shot(frame(*FEW).drop(columns="step0"))
    with pytest.raises(InputError, match="CoOp on 'a' with 5 shots and seed 1 occurs twice"):
        few_shot(frame(*FEW, alone("text", "random", "a", 0.5)))
    odd = frame(*FEW)
    odd.loc[0, "zero_shot"] = 0.9
    with pytest.raises(InputError, match="task 'a' has more than one zero-shot score"):
        few_shot(odd)


def test_generalisation_compares_starts():
    found = generalisation(frame(*TRANSFER), [way("set", "ab")])
    names = [entry.name for entry in found.entries]
    assert names == [
        *("zero-shot", "linear probe", "CoOp", "VPT", "MCoOp", "MVPT"),
        *("MCoOp as it is", "MVPT as it is", "CoOp from best source"),
    ]
    assert found.title == "Generalisation from set"
    assert_allclose(cell(found.cells, "MCoOp", "a")["score"], 0.85)
    assert_allclose(cell(found.cells, "MCoOp as it is", "a")["score"], 0.25)
    assert_allclose(average(found.averages, "MCoOp as it is")["score"], 0.375)
    row = difference(found.differences, "MCoOp", "CoOp", "a")  # 0.3 and 0.2
    assert_allclose([row["difference"], row["low"]], [0.25, 0.25 - T2 * 0.05])
    row = difference(found.differences, "MCoOp", "CoOp")  # 0.25 and -0.05
    assert_allclose([row["difference"], row["high"]], [0.1, 0.1 + T2 * 0.15])
    assert row["n"] == 2


def test_the_best_single_source_is_a_member_and_not_the_target():
    found = generalisation(frame(*TRANSFER), [way("set", "ab")])
    row = cell(found.cells, "CoOp from best source", "a")
    assert (row["source"], row["score"]) == ("d", pytest.approx(0.8))
    # It has none on b: it gets no average, and takes none away from the others.
    assert average(found.averages, "CoOp from best source")["reason"] == "no score on b"
    assert average(found.averages, "CoOp")["n_targets"] == 2
    row = difference(found.differences, "MCoOp", "CoOp from best source")
    assert (row["n"], row["reason"]) == (1, "left out: b")
    assert np.isnan(row["low"])
    some = frame(*TRANSFER, alone("text", "e", "a", 1.0, 1.0))
    assert set(best_single(some, "text", {"a": ("c", "d")})["source"]) == {"d"}
    fewer = frame(*TRANSFER)[lambda t: ~((t["start"] == "d") & (t["seed"] == 1))]
    assert set(best_single(fewer, "text", {"a": ("c", "d")})["source"]) == {"c"}


def test_each_target_can_have_its_own_set():
    rows = frame(*TRANSFER, alone("text", "wide", "d", 0.3, 0.5), alone("text", "random", "d", 0.1))
    sets = {"a": "set", "d": "wide"}
    own = Way("own", sets, {target: GROUPS[name] for target, name in sets.items()})
    found = generalisation(rows, [own])
    assert found.title == "Generalisation from own"
    assert found.targets == ("a", "d")
    assert_allclose(cell(found.cells, "MCoOp", "d")["score"], 0.4)
    assert found.notes == ()


def test_several_ways_stand_side_by_side():
    rows = frame(*TRANSFER, alone("text", "wide", "a", 0.3, 0.5, step0=0.4))
    both = [way("set", "ab"), way("wide", "a", "all")]
    assert generalisation(rows, both).targets == ("a",)  # what all ways have
    found = generalisation(rows, both, ["a", "b"])
    assert found.title == "Multitask initialisation"
    assert_allclose(cell(found.cells, "CoOp from set", "a")["score"], 0.85)
    assert_allclose(cell(found.cells, "CoOp from all", "a")["score"], 0.4)
    assert_allclose(cell(found.cells, "CoOp, all as it is", "a")["score"], 0.4)
    assert cell(found.cells, "CoOp from all", "b")["reason"] == "no run"
    row = difference(found.differences, "CoOp from all", "CoOp from set", "a")  # -0.5 and -0.4
    assert_allclose(row["difference"], -0.45)
    # Averages are over what all ways have.
    assert average(found.averages, "CoOp from set")["n_targets"] == 1
    assert found.notes == ("all: a is among the tasks behind its own start",)


def test_a_wrong_target_is_named():
    scores = frame(*TRANSFER)
    with pytest.raises(InputError, match=r"no task was tuned from several \(pair\)"):
        generalisation(scores, [way("pair", "c")])
    with pytest.raises(InputError, match="target 'e' has no start from several tasks"):
        generalisation(scores, [way("set", "ab")], targets=["e"])


def test_published_averages_stand_beside_ours():
    result = generalisation(frame(*TRANSFER), [way("set", "ab")])
    table = beside_published(result, "ViT-B/16")
    assert list(table.columns) == list(PUBLISHED_COLUMNS)
    row = table[table["entry"] == "MCoOp"].iloc[0]
    ours = average(result.averages, "MCoOp")
    assert_allclose([row["ours"], row["published"], row["reading"]], [0.8, 0.616, 0.002])
    assert_allclose(row["difference"], 0.8 - 0.616)
    assert_allclose(row["difference_low"], ours["low"] - 0.616)
    assert not row["same_targets"]
    assert set(table["entry"]) == {"zero-shot", "CoOp", "VPT", "MCoOp", "MVPT"}
    named = replace(result, targets=tuple(PUBLISHED_TARGETS))
    assert beside_published(named, "ViT-B-16")["same_targets"].all()
    none = beside_published(result, "RN50")
    assert len(none) == 0
    assert list(none.columns) == list(PUBLISHED_COLUMNS)


def test_published_targets_are_tasks_of_the_suite(root):
    from mvlpt_core.contract.suite import read_suite

    tasks = {row.task for row in read_suite(root / "config/suites/elevater.tsv")}
    assert len(PUBLISHED_TARGETS) == 12
    assert tasks > PUBLISHED_TARGETS
    published = pd.read_csv(PUBLISHED)
    assert published.groupby("backbone").size().tolist() == [7, 7, 7]


def judged(table, group=None, target=None, start="random"):
    mine = table["start"] == start
    for key, value in (("group", group), ("target", target)):
        mine &= table[key].isna() if value is None else table[key] == value
    (row,) = table[mine].to_dict("records")
    return row


def test_tasks_together_are_compared_with_tasks_alone():
    table = judge(frame(*JOINT), {"pair": GROUPS["pair"]})
    assert list(table.columns) == list(ADAPTATION_COLUMNS)
    row = judged(table, "pair", "a")  # 0.9 - 0.5, 0.7 - 0.7
    assert_allclose([row["together"], row["alone"], row["difference"]], [0.8, 0.6, 0.2])
    assert_allclose(row["low"], 0.2 - T2 * 0.2)
    assert (row["n"], row["unit"], row["judged_on"]) == (2, "seeds", GIVEN)
    mean = judged(table, "pair")  # 0.2 and 0 (-0.1, 0.1)
    assert_allclose([mean["difference"], mean["low"]], [0.1, 0.1 - T2 * 0.1])
    assert (mean["n"], mean["unit"]) == (2, "targets")
    assert judged(table)["difference"] == mean["difference"]


def test_the_task_alone_has_the_same_start():
    rows = frame(*JOINT, together("text", "pair", "set", {"a": 0.9, "b": 0.7}))
    table = adaptation(rows, {"pair": GROUPS["pair"]})
    assert judged(table, "pair", "a", "set")["reason"] == "no run of the task alone"
    assert judged(table, "pair", None, "set")["reason"] == "left out: a, b"
    rows = pd.concat([rows, frame(alone("text", "set", "a", 0.6))], ignore_index=True)
    table = adaptation(rows, {"pair": GROUPS["pair"]})
    assert_allclose(judged(table, "pair", "a", "set")["difference"], 0.3)
    assert judged(table, "pair", None, "set")["reason"] == "left out: b"


def test_a_task_of_several_groups_counts_once():
    rows = frame(
        *(alone("text", "random", task, 0.5) for task in "abc"),
        together("text", "one", "random", {"a": 0.6, "b": 0.6}),
        together("text", "two", "random", {"a": 1.0, "c": 0.8}),
    )
    table = adaptation(rows, {"one": ("a", "b"), "two": ("a", "c")})
    row = judged(table)  # a: (0.1 + 0.5) / 2; b: 0.1; c: 0.3
    assert_allclose(row["difference"], (0.3 + 0.1 + 0.3) / 3)
    assert row["n"] == 3


def test_groups_are_judged_on_other_seeds_than_found_them():
    groups = {"pair": GROUPS["pair"]}
    table = judge(frame(*JOINT), groups, found_on=[1])
    row = judged(table, "pair", "b")
    assert (row["n"], row["judged_on"]) == (1, OTHERS)
    assert_allclose(row["difference"], 0.1)
    table = judge(frame(*JOINT), groups, found_on=[1, 2])
    assert set(table["judged_on"]) == {SAME}
    assert judged(table, "pair", "b")["n"] == 2


def test_diverged_and_missing_tasks_of_a_group_are_said():
    rows = frame(*FEW, together("text", "pair", "random", {"a": None}))
    table = adaptation(rows, {"pair": GROUPS["pair"]})
    assert judged(table, "pair", "a")["reason"] == "diverged"
    assert judged(table, "pair", "b")["reason"] == "no run"
    assert judge(frame(*FEW), {"x": ("a",)}).empty


def pair_scores():
    """Three tasks, text, two seeds: alone, from one another's prompt, and in pairs."""
    rows = []
    for task, score in (("a", 0.5), ("b", 0.6), ("c", 0.4)):
        rows += alone("text", "random", task, score, score + 0.1)
    gain = {("b", "a"): 0.1, ("c", "a"): -0.1, ("a", "b"): 0.3, ("c", "b"): 0.0, ("a", "c"): 0.2}
    base = {"a": 0.5, "b": 0.6, "c": 0.4}
    for (source, target), plus in gain.items():
        rows += alone("text", source, target, base[target] + plus, base[target] + 0.1 + plus)
    for first, second in (("a", "b"), ("a", "c"), ("b", "c")):
        for seed in (1, 2):
            here = {t: base[t] + 0.1 * (seed - 1) + 0.05 for t in (first, second)}
            rows += together("text", f"{first}_and_{second}", "random", here, seed)
    table = frame(rows)
    own = table[(table["group"] == table["target"]) & (table["start"] == "random")]
    scratch = own.set_index(["target", "seed"])["score"]
    keys = zip(table["target"], table["seed"], strict=True)
    return table.assign(scratch=[scratch[key] for key in keys])


PAIRS = {"a_and_b": ("a", "b"), "a_and_c": ("a", "c"), "b_and_c": ("b", "c")}


def test_a_joint_pair_is_scored_on_both_beside_the_sequential_mode():
    table = joint_pairs(pair_scores(), PAIRS).set_index(["source", "target"])
    assert len(table) == 6
    assert_allclose(table["joint_gain"], 0.05)
    assert table.loc[("a", "b"), "group"] == table.loc[("b", "a"), "group"] == "a_and_b"
    assert_allclose(table.loc[("a", "b"), "sequential_gain"], 0.3)
    assert_allclose(table.loc[("a", "b"), ["scratch", "joint"]].astype(float), [0.65, 0.7])
    assert np.isnan(table.loc[("b", "c"), "sequential_gain"])  # never run
    assert (table["n_seeds"] == 2).all()


def test_modes_are_compared_over_the_pairs_that_both_have():
    table = joint_pairs(pair_scores(), PAIRS)
    table.loc[table["source"] == "a", "joint_gain"] = 0.1
    (row,) = compare_modes(table, ["a", "b", "c"], 10, 0).to_dict("records")
    # By target: a 0.05 (from b, c), b (0.1 + 0.05) / 2, c 0.1; sequential a 0, b 0.15, c 0.2.
    assert_allclose(row["joint_gain"], (0.05 + 0.075 + 0.1) / 3)
    assert_allclose(row["sequential_gain"], (0 + 0.15 + 0.2) / 3)
    assert_allclose(row["difference"], row["joint_gain"] - row["sequential_gain"])
    assert row["n_pairs"] == 5
    joint = [0.05, 0.05, 0.1, 0.05, 0.1]
    assert_allclose(row["r"], np.corrcoef(joint, [0.1, -0.1, 0.3, 0.0, 0.2])[0, 1])
    assert 0 < row["p"] <= 1


def test_groups_found_on_different_seeds_are_judged_apart():
    groups = {"pair": GROUPS["pair"], "other": ("a", "b")}
    rows = frame(*JOINT, together("text", "other", "random", {"a": 0.5, "b": 0.5}, 1))
    table = adaptation(rows, groups, {"pair": (1,)})
    judged = table.dropna(subset=["group"]).groupby("group")["judged_on"].unique()
    assert judged.map(list).to_dict() == {"pair": [OTHERS], "other": [GIVEN]}
    assert list(adaptation(frame(*FEW), groups).columns) == list(ADAPTATION_COLUMNS)
