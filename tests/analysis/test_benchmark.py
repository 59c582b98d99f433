"""Benchmark tables: made-up scores whose means can be seen."""

import io
import itertools
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from mvlpt_analysis.benchmark import figure, grids, write
from mvlpt_analysis.benchmark.adaptation import ADAPTATION_COLUMNS, GIVEN, OTHERS, SAME, adaptation
from mvlpt_analysis.benchmark.few_shot import few_shot
from mvlpt_analysis.benchmark.generalisation import (
    PUBLISHED,
    PUBLISHED_COLUMNS,
    PUBLISHED_TARGETS,
    beside_published,
    best_single,
    generalisation,
)
from mvlpt_analysis.benchmark.table import (
    AVERAGE_COLUMNS,
    CELL_COLUMNS,
    DIFFERENCE_COLUMNS,
    Entry,
)
from mvlpt_analysis.figures.style import save
from mvlpt_core.contract.errors import InputError

T2 = stats.t.ppf(0.975, 1)  # Student's t of two seeds or targets
ZERO = {"a": 0.2, "b": 0.4, "c": 0.6, "d": 0.1, "e": 0.3}


def run(method, group, start, target, score, shots=5, seed=1, step0=0.15):
    """A row of a study's scores."""
    return {
        "method": method,
        "group": group,
        "start": start,
        "shots": shots,
        "seed": seed,
        "target": target,
        "metric": "accuracy",
        "score": np.nan if score is None else score,
        "scratch": np.nan,
        "zero_shot": ZERO[target],
        "step0": step0,
        "selected_step": 10,
        "status": "diverged" if score is None else "ok",
        "n": 100,
    }


def alone(method, start, target, *scores, shots=5, **more):
    """Runs of a task tuned alone, a seed a score."""
    return [
        run(method, target, start, target, score, shots=shots, seed=seed, **more)
        for seed, score in enumerate(scores, 1)
    ]


def frame(*rows):
    return pd.DataFrame(list(itertools.chain(*rows)))


def cell(table, entry, target, shots=5):
    (row,) = table[
        (table["entry"] == entry) & (table["target"] == target) & (table["shots"] == shots)
    ].to_dict("records")
    return row


def average(table, entry, shots=5):
    (row,) = table[(table["entry"] == entry) & (table["shots"] == shots)].to_dict("records")
    return row


def difference(table, entry, minus, target=None, shots=5):
    mine = (table["entry"] == entry) & (table["minus"] == minus) & (table["shots"] == shots)
    where = table["target"].isna() if target is None else table["target"] == target
    (row,) = table[mine & where].to_dict("records")
    return row


FEW = (
    alone("text", "random", "a", 0.5, 0.7),
    alone("text", "random", "b", 0.8, 0.8),
    alone("visual", "random", "a", 0.6, 0.6),
    alone("visual", "random", "b", 0.5, 0.9),
    alone("linear_probe", "zero_shot", "a", 0.3, 0.5),
    alone("linear_probe", "zero_shot", "b", 0.6, 0.6),
    # Another kind of run of the same target is not part of this table.
    alone("text", "b", "a", 0.99, 0.99),
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


GROUPS = {"set": ("c", "d"), "wide": ("a", "b", "c"), "pair": ("a", "b")}
TRANSFER = (
    *FEW,
    alone("text", "set", "a", 0.8, 0.9, step0=0.25),
    alone("text", "set", "b", 0.7, 0.8, step0=0.5),
    alone("visual", "set", "a", 0.6, 0.7),
    alone("visual", "set", "b", 0.6, 0.8),
    alone("text", "c", "a", 0.9, 0.6),
    alone("text", "d", "a", 0.7, 0.9),
    alone("text", "a", "a", 0.95, 0.95),
)


def test_generalisation_compares_starts():
    found = generalisation(frame(*TRANSFER), GROUPS, "set")
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
    found = generalisation(frame(*TRANSFER), GROUPS, "set")
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
    found = generalisation(rows, GROUPS, {"a": "set", "d": "wide"})
    assert found.title == "Generalisation from 2 source sets"
    assert found.targets == ("a", "d")
    assert_allclose(cell(found.cells, "MCoOp", "d")["score"], 0.4)


def test_a_wrong_set_is_named():
    scores = frame(*TRANSFER, alone("text", "wide", "a", 0.3), alone("text", "wide", "d", 0.3))
    with pytest.raises(InputError, match=r"source set 'nn' is no group of the study: .* set, wide"):
        generalisation(scores, GROUPS, "nn")
    with pytest.raises(InputError, match="target 'a' is in its own source set 'wide'"):
        generalisation(scores, GROUPS, {"a": "wide"})
    with pytest.raises(InputError, match="no task was tuned from the prompt of pair"):
        generalisation(scores, GROUPS, "pair")
    with pytest.raises(InputError, match="target 'e' has no source set"):
        generalisation(scores, GROUPS, {"a": "set"}, targets=["e"])
    # A member that was tuned from the prompt is no target unless asked for.
    assert generalisation(scores, GROUPS, "wide").targets == ("d",)


def test_published_averages_stand_beside_ours():
    result = generalisation(frame(*TRANSFER), GROUPS, "set")
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


def together(method, group, start, scores, seed=1):
    return [run(method, group, start, target, s, seed=seed) for target, s in scores.items()]


JOINT = (
    *FEW,
    together("text", "pair", "random", {"a": 0.9, "b": 0.7}, 1),
    together("text", "pair", "random", {"a": 0.7, "b": 0.9}, 2),
)


def judged(table, group=None, target=None, start="random"):
    mine = table["start"] == start
    for key, value in (("group", group), ("target", target)):
        mine &= table[key].isna() if value is None else table[key] == value
    (row,) = table[mine].to_dict("records")
    return row


def test_tasks_together_are_compared_with_tasks_alone():
    table = adaptation(frame(*JOINT), {"pair": GROUPS["pair"]})
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
    table = adaptation(frame(*JOINT), groups, found_on=[1])
    row = judged(table, "pair", "b")
    assert (row["n"], row["judged_on"]) == (1, OTHERS)
    assert_allclose(row["difference"], 0.1)
    table = adaptation(frame(*JOINT), groups, found_on=[1, 2])
    assert set(table["judged_on"]) == {SAME}
    assert judged(table, "pair", "b")["n"] == 2


def test_diverged_and_missing_tasks_of_a_group_are_said():
    rows = frame(*FEW, together("text", "pair", "random", {"a": None}))
    table = adaptation(rows, {"pair": GROUPS["pair"]})
    assert judged(table, "pair", "a")["reason"] == "diverged"
    assert judged(table, "pair", "b")["reason"] == "no run"
    with pytest.raises(InputError, match="none of the groups x was tuned"):
        adaptation(frame(*FEW), {"x": ("a",)})


def markdown_table(text, heading):
    """The cells of the table below a heading, header first, and the notes below it."""
    _, table, notes = text[text.index(f"### {heading}\n") :].split("\n\n")[:3]
    rows = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in table.splitlines()]
    assert len({len(line) for line in table.splitlines()}) == 1  # aligned
    assert len({len(row) for row in rows}) == 1
    return rows[:1] + rows[2:], notes


@pytest.fixture
def few():
    """Two targets with all, c and d with gaps."""
    gaps = alone("text", "random", "c", 0.9, 0.9), alone("visual", "random", "d", 0.1, None)
    return few_shot(frame(*FEW, *gaps, alone("text", "random", "a", 0.3, shots=1)))


def test_score_tables_are_complete_and_say_what_is_missing(few):
    text = write.markdown(grids.benchmark_grids(few))
    table, notes = markdown_table(text, "Few-shot benchmark, 5 shots")
    width = f"{100 * T2 * 0.1:.1f}"
    assert table == [
        ["task", "zero-shot", "linear probe", "CoOp", "VPT"],
        ["a", "20.0", f"40.0 ± {width}", f"**60.0 ± {width}**", "**60.0 ± 0.0**"],
        ["b", "40.0", "60.0 ± 0.0", "**80.0 ± 0.0**", f"70.0 ± {200 * T2 * 0.1:.1f}"],
        ["c", "60.0", "", "**90.0 ± 0.0**", ""],
        ["d", "**10.0**", "", "", "**10.0†**"],
        ["*average of 2*", "30.0", "50.0", "**70.0**", "65.0"],
    ]
    for note in (
        "Linear probe, no run: c, d.",
        "VPT, no run: c.",
        "VPT, 1 of 2 runs diverged: d.",
        "Not in the averages: c, d.",
        "± is half of a 95% interval over seeds.",
    ):
        assert note in notes
    table, notes = markdown_table(text, "Few-shot benchmark: average score")
    assert table[0] == ["", "1 shot", "5 shots"]
    assert table[3] == ["CoOp", "**30.0**", f"**70.0 ± {width}**"]
    assert table[4][:2] == ["VPT", ""]
    assert "1 shot: VPT has no average: no run." in notes


def test_differences_have_signs_and_bounds(few):
    table, notes = markdown_table(
        write.markdown([grids.difference_grid(few)]), "Few-shot benchmark: differences in points"
    )
    rows = {row[0]: row[1:] for row in table}
    low, high = 15 - 100 * T2 * 0.05, 15 + 100 * T2 * 0.05
    assert rows["VPT − linear probe"] == ["", f"+15.0 [−{-low:.1f}, +{high:.1f}]"]
    assert rows["CoOp − zero-shot"][0] == "+10.0"
    assert "VPT − linear probe, 5 shots: left out: c, d." in notes


def test_what_is_chosen_with_hindsight_is_never_bold():
    found = generalisation(
        frame(*TRANSFER, alone("text", "c", "b", 1.0, 1.0)), GROUPS, "set", targets=["b"]
    )
    text = write.markdown(grids.benchmark_grids(found))
    table, notes = markdown_table(text, "Generalisation from set, 5 shots, text")
    row = dict(zip(table[0], table[1], strict=True))
    assert row["CoOp from best source"] == "100.0 ± 0.0"
    assert row["CoOp"] == "**80.0 ± 0.0**"
    assert "hindsight" in notes
    assert "best source" not in " ".join(
        markdown_table(text, "Generalisation from set, 5 shots")[0][0]
    )


def test_latex_has_the_same_cells_and_escapes_names():
    grid = write.Grid(
        "50% of a_b",
        ("task", "x & y"),
        (("a_b", "1.0 ± 0.1"), ("mean", "−2.0†")),
        frozenset([(0, 1)]),
        frozenset([1]),
        ("A note.",),
    )
    text = write.latex([grid], "few")
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert [" ".join(line.split()) for line in body.splitlines()] == [
        r"\toprule",
        r"task & x \& y \\",
        r"\midrule",
        r"a\_b & \textbf{1.0 $\pm$ 0.1} \\",
        r"\midrule",
        r"mean & $-$2.0$^\dagger$ \\",
    ]
    assert r"\caption{50\% of a\_b. A note.}" in text
    assert r"\label{tab:few-1}" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert text.isascii()


def test_markdown_escapes_bars():
    text = write.markdown([write.Grid("t", ("task", "x"), (("a|b", "1"),))])
    assert "| a\\|b |" in text


def test_csv_keeps_every_digit(few):
    found = pd.read_csv(io.StringIO(write.csv(few.cells)), keep_default_na=False, na_values=[""])
    assert list(found.columns) == list(CELL_COLUMNS)
    assert (found["score"].dropna().to_numpy() == few.cells["score"].dropna().to_numpy()).all()


def test_adaptation_and_published_tables_are_written():
    table = adaptation(frame(*JOINT), {"pair": GROUPS["pair"]}, found_on=[1, 2])
    rows, notes = markdown_table(
        write.markdown(grids.adaptation_grids(table)),
        "Tasks tuned together, text from random, 5 shots",
    )
    width = f"{100 * T2 * 0.2 - 20:.1f}", f"{100 * T2 * 0.2 + 20:.1f}"
    difference = f"+20.0 [−{width[0]}, +{width[1]}]"
    assert rows[1] == ["a", "pair", "**80.0**", "60.0", difference, "2 seeds"]
    assert rows[-1][0] == "*mean over tasks*"
    assert "Judged on the seeds that found the groups: groups look better there" in notes
    result = generalisation(frame(*TRANSFER), GROUPS, "set")
    known = write.markdown([grids.published_grid(beside_published(result, "ViT-B-16"))])
    rows, notes = markdown_table(known, "Beside the published averages")
    assert rows[4][:4] == ["MCoOp", "5", "80.0", "61.6"]
    assert rows[4][5] == "2, others"
    assert "shots not stated" in notes
    none = write.markdown([grids.published_grid(beside_published(result, "x"))])
    assert "No published average is known" in none


@given(
    scores=st.lists(
        st.tuples(
            st.sampled_from("abcde"),
            st.sampled_from(["text", "visual"]),
            st.sampled_from([1, 5]),
            st.integers(1, 2),
            st.one_of(st.none(), st.floats(0, 1)),
        ),
        min_size=1,
        max_size=30,
        unique_by=lambda r: r[:4],
    )
)
@settings(max_examples=40, deadline=None)
def test_any_gaps_give_whole_tables(scores):
    """Averages are those of a loop, and every table can be written whatever is missing."""
    rows = frame([run(m, t, "random", t, s, shots=k, seed=seed) for t, m, k, seed, s in scores])
    found = few_shot(rows)
    means: dict[tuple[str, str, int], float] = {}
    for t, m, k, _, _ in scores:
        done = [s for (*key, _, s) in scores if key == [t, m, k] and s is not None]
        if done:
            means[t, m, k] = sum(done) / len(done)
    assert len(found.cells) == len(found.entries) * len(found.targets) * len(found.shots)
    for k in found.shots:
        known = {m for _, m, shots in means if shots == k}
        shared = [t for t in found.targets if all((t, m, k) in means for m in known)]
        for method, name in (("text", "CoOp"), ("visual", "VPT")):
            if name not in [entry.name for entry in found.entries]:
                continue
            row = average(found.averages, name, k)
            if method in known and shared:
                expected = sum(means[t, method, k] for t in shared) / len(shared)
                assert row["score"] == pytest.approx(expected, abs=1e-12)
                assert row["n_targets"] == len(shared)
            else:
                assert np.isnan(row["score"])
                assert row["reason"] or not shared
    text = write.markdown(grids.benchmark_grids(found))
    assert "nan" not in text
    assert "nan" not in write.latex(grids.benchmark_grids(found), "few")


@pytest.fixture
def agg():
    mpl.use("Agg")
    yield
    plt.close("all")


def test_bars_are_those_of_the_gain_over_zero_shot(few):
    drawn = figure.shots_frame(few)
    (row,) = drawn[(drawn["entry"] == "VPT") & (drawn["shots"] == 5)].to_dict("records")
    # 60 and 70 points where zero-shot has 20 and 40: gains 40 and 30.
    assert_allclose([row["score"], row["low"], row["high"]], 65 + 5 * T2 * np.array([0, -1, 1]))


def test_added_is_multitask_minus_scratch():
    found = generalisation(frame(*TRANSFER), GROUPS, "set")
    drawn = figure.contrast_frame(found).set_index("entry")
    assert_allclose(drawn.loc["MCoOp", ["score", "high"]].tolist(), [10, 10 + T2 * 15])
    assert set(drawn.index) == {"MCoOp", "MVPT"}
    assert figure.contrast_frame(few_shot(frame(*FEW))).empty


def test_figures_are_saved(agg, tmp_path, few):
    sets = generalisation(frame(*TRANSFER), GROUPS, "set")
    for name, plate in {
        "few": figure.plot_average(few),
        "sets": figure.plot_average(sets),
        "tasks": figure.plot_tasks(few, columns=3),
    }.items():
        assert plate.caption.endswith(".")
        assert all(path.stat().st_size for path in save(plate.figure, tmp_path / name))
    text = (tmp_path / "sets.svg").read_text()
    for word in ("CoOp", "MVPT", "multitask prompt as it is", "zero-shot", "what the start adds"):
        assert word in text


def test_no_common_task_is_a_notice(agg):
    rows = frame(alone("text", "random", "a", 0.5), alone("visual", "random", "b", 0.5))
    plate = figure.plot_average(few_shot(rows))
    assert "nothing to draw" in plate.caption
