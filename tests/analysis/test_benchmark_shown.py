"""Benchmark tables as text and as figures."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mvlpt_analysis.benchmark import figure, grids, write
from mvlpt_analysis.benchmark.adaptation import judge
from mvlpt_analysis.benchmark.few_shot import few_shot
from mvlpt_analysis.benchmark.generalisation import beside_published, generalisation
from mvlpt_analysis.benchmark.table import CELL_COLUMNS
from mvlpt_analysis.figures.style import save
from support.benchmark_scores import (
    FEW,
    GROUPS,
    JOINT,
    T2,
    TRANSFER,
    alone,
    average,
    frame,
    run,
    way,
)


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
        "± is half of a 95% interval over seeds, variances of ten tasks or more drawn towards one another.",
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
    (line,) = (line for line in notes.splitlines() if line.startswith("5 shots, left out: c, d: "))
    assert "VPT − linear probe" in line


def test_what_is_chosen_with_hindsight_is_never_bold():
    found = generalisation(
        frame(*TRANSFER, alone("text", "c", "b", 1.0, 1.0)), [way("set", "ab")], targets=["b"]
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
    table = judge(frame(*JOINT), {"pair": GROUPS["pair"]}, found_on=[1, 2])
    rows, notes = markdown_table(
        write.markdown(grids.adaptation_grids(table)),
        "Tasks tuned together, text from random, 5 shots",
    )
    width = f"{100 * T2 * 0.2 - 20:.1f}", f"{100 * T2 * 0.2 + 20:.1f}"
    difference = f"+20.0 [−{width[0]}, +{width[1]}]"
    assert rows[1] == ["a", "pair", "**80.0**", "60.0", difference, "2 seeds"]
    assert rows[-1][0] == "*mean over tasks*"
    assert "Judged on the seeds that found the groups: groups look better there" in notes
    result = generalisation(frame(*TRANSFER), [way("set", "ab")])
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
    found = generalisation(frame(*TRANSFER), [way("set", "ab")])
    drawn = figure.contrast_frame(found).set_index("entry")
    assert_allclose(drawn.loc["MCoOp", ["score", "high"]].tolist(), [10, 10 + T2 * 15])
    assert set(drawn.index) == {"MCoOp", "MVPT"}
    assert figure.contrast_frame(few_shot(frame(*FEW))).empty


def test_figures_are_saved(agg, tmp_path, few):
    sets = generalisation(frame(*TRANSFER), [way("set", "ab")])
    for name, plate in {
        "few": figure.plot_average(few),
        "sets": figure.plot_average(sets),
        "tasks": figure.plot_tasks(few, columns=3),
    }.items():
        assert plate.caption.endswith(".")
        assert all(path.stat().st_size for path in save(plate.figure, tmp_path / name))
    text = (tmp_path / "sets.svg").read_text()
    for word in ("CoOp", "VPT", "multitask prompt as it is", "zero-shot", "what the start adds"):
        assert word in text


def test_no_common_task_is_a_notice(agg):
    rows = frame(alone("text", "random", "a", 0.5), alone("visual", "random", "b", 0.5))
    plate = figure.plot_average(few_shot(rows))
    assert "nothing to draw" in plate.caption
