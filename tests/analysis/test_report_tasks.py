"""What the report opens with, and what it says where little can be said."""

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis.read.study import few_tasks, seeds_known
from mvlpt_analysis.read.tasks import chance_level, sample_sizes, task_sizes
from mvlpt_analysis.report import answers, words
from mvlpt_analysis.report.glance import glance
from mvlpt_analysis.report.made import made_today
from mvlpt_analysis.report.rules import against_bar
from mvlpt_analysis.report.tasks import _best, overview
from mvlpt_analysis.view import View
from mvlpt_analysis.vocabulary import CHOSEN, signed
from mvlpt_core import __version__
from mvlpt_core.contract.tensors import write_tensors
from support import view_data as made


@pytest.mark.parametrize(
    ("metric", "labels", "classes", "expected"),
    [
        ("accuracy", [0, 0, 0, 1], 4, 0.25),
        ("mean_per_class", [0, 1, 1], 2, 0.5),
        ("roc_auc", [0, 1, 1], 2, 0.5),
        # 1 of 4 and 3 of 4 positive; the class without a positive is left out.
        ("map_11point", [[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]], 3, 0.5),
    ],
)
def test_chance_depends_on_the_metric(metric, labels, classes, expected):
    assert chance_level(metric, np.array(labels), classes) == pytest.approx(expected)


def test_sizes_are_read_from_prepared_files(tmp_path):
    about = {"name": "pets", "part": "test", "classnames": ["cat", "dog"], "metric": "accuracy"}
    write_tensors(tmp_path / "test.st", "task", about, {"labels": np.array([0, 1, 1])})
    drawn = {"train": np.arange(3), "val": np.arange(1)}
    about = {"name": "pets", "part": "sample", "shots": 2, "seed": 1}
    write_tensors(tmp_path / "sample.st", "task", about, drawn)
    assert task_sizes([tmp_path / "test.st"]).to_numpy().tolist() == [
        ["pets", "accuracy", 2, 3, 0.5]
    ]
    assert sample_sizes([tmp_path / "sample.st"]).to_numpy().tolist() == [["pets", 2, 1, 3, 1]]


def opening(scratch: dict[str, list[float]], zero: float = 0.6, probe: list[float] | None = None):
    """The opening table of 3 two-class tasks of 100 test images, by each method's scratch scores."""
    tasks = ["a", "b", "c"]
    sizes = pd.DataFrame(
        {"task": tasks, "metric": "accuracy", "classes": 2, "test": 100, "chance": 0.5}
    )
    samples = pd.DataFrame({"task": tasks, "seed": 1, "train": 12, "val": 4})
    rows = [
        {"method": m, "source": s, "target": t, "scratch": score, "zero_shot": zero}
        for m, scores in scratch.items()
        for t, score in zip(tasks, scores, strict=True)
        for s in tasks
    ]
    transfer = pd.DataFrame(rows)
    if probe:
        transfer["linear_probe"] = transfer["target"].map(dict(zip(tasks, probe, strict=True)))
    number = np.arange(len(transfer)) / 1000  # the last source of the last method is the best
    gains = transfer.assign(gain=0.1 + number, score=transfer["scratch"] + 0.1 + number)
    return overview(View(tasks, list(scratch)), sizes, samples, transfer, gains)


def test_the_opening_table_states_sizes_scores_and_the_best_source():
    shown = opening({"text": [0.9, 0.8, 0.7], "visual": [0.95, 0.9, 0.85]})
    assert shown.heads[:6] == [
        *("task", "classes", "train images", "test images", "chance", "zero-shot")
    ]
    numbers = ["a", "2", "16", "100", "50.0", "60.0 (at chance)", "90.0", "95.0"]
    assert shown.rows[0] == [*numbers, "c, visual: 106.1"]
    # Within two standard errors of a guess: 50 + 2 * 5 points.
    assert shown.flags == ["Zero-shot is at chance in a, b, c."]


def test_the_linear_probe_stands_beside_zero_shot_where_there_is_one():
    shown = opening({"text": [0.9, 0.8, 0.7]}, probe=[0.7, 0.65, np.nan])
    assert shown.heads[5:8] == ["zero-shot", "linear probe", "text from scratch"]
    assert [row[6] for row in shown.rows] == ["70.0", "65.0", "none"]
    assert "linear probe" not in opening({"text": [0.9, 0.8, 0.7]}, probe=[np.nan] * 3).heads


def test_methods_that_did_not_learn_are_flagged():
    flags = opening({"text": [0.4, 0.55, 0.9], "visual": [0.61, 0.5, 0.9]}, 0.61).flags
    assert flags[0].startswith("text did not learn: from scratch it is at chance in 2 of 3 tasks")
    assert flags[1].startswith("visual did not learn: from scratch it does not pass zero-shot in 2")
    assert opening({"text": [0.9, 0.9, 0.5]}, 0.7).flags == ["text from scratch is at chance in c."]
    lost = opening({"text": [np.nan] * 3}, 0.7)
    assert lost.flags == ["text: no run from scratch has a score."]
    assert "nan" not in " ".join(cell for row in lost.rows for cell in row)


def test_few_tasks_allow_no_correlation():
    frames = made.tables(4, ("text",))
    view = View(made.tasks(4), ("text",))
    (only,) = answers.what_explains(view, frames)
    assert "4 tasks have 24 orders" in only
    assert "p = 1/24 = 0.042" in only
    assert not any("rho" in head for head in glance(view, frames)[0])
    assert few_tasks(5) == ""
    assert few_tasks(np.nan) == ""


@pytest.mark.parametrize(
    ("low", "high", "said"), [(-0.02, 0.31, "holds 0"), (0.02, 0.31, "gain grows with")]
)
def test_no_claim_goes_beyond_its_interval(low, high, said):
    frames, view = made.tables(5, ("text",)), View(made.tasks(5), ("text",))
    table = frames["correlations"].assign(
        value=0.13, low=low, high=high, p_permutation=0.01, q=0.02
    )
    effects = frames["effects"].assign(value=0.1, low=low, high=high, p=0.01, p_within=0.01)
    links = frames["links"].iloc[:0]
    frames |= {"correlations": table, "effects": effects, "links": links}
    text = " ".join(answers.what_explains(view, frames))
    assert said in text
    assert ("grows" in text) == ("helps" in text) == (low > 0)


def test_speed_is_told_between_evaluations():
    frames, view = made.tables(5, ("text",)), View(made.tasks(5), ("text",))
    curve = {0: -0.2, 15: 0.1, 30: 0.2}
    rows = [
        ("text", source, target, 1, step, 0.5 + (value if source != "scratch" else min(value, 0)))
        for target in made.tasks(5)
        for source in ("scratch", made.tasks(5)[0], made.tasks(5)[1])
        for step, value in curve.items()
    ]
    names = ["method", "source", "target", "seed", "step", "score"]
    frames["curves"] = pd.DataFrame(rows, columns=names).assign(split="curve")
    text = " ".join(answers.what_to_do(view, frames))
    assert "between the evaluations after 0 and 15 of 30 steps" in text
    assert "after about" not in text


def test_rules_are_compared_with_the_best_average_source_and_chosen_on_other_targets():
    frames, view = made.tables(12, ("text",)), View(made.tasks(12), ("text",))
    text = " ".join(answers.what_to_do(view, frames))
    assert "the best of" not in text
    assert "of 4 rules, the one with the least regret on the other half of the families (" in text
    assert "over 3 families" in text
    ranked = frames["ranking"]
    own = (ranked["ranker"] == CHOSEN) & (ranked["metric"] == "regret1")
    for difference, p, said in (
        (-0.1, 0.01, "the rule is better (\N{MINUS SIGN}10.0"),
        (0.1, 0.01, "the rule is worse (10.0"),
        (
            -0.1,
            0.2,
            "the difference between similarity and the best average source is unclear: this design could",
        ),
    ):
        sizes = {"difference": difference, "difference_low": -0.2, "difference_high": 0.2, "p": p}
        changed = ranked.assign(**{k: ranked[k].where(~own, v) for k, v in sizes.items()})
        assert said in " ".join(answers.what_to_do(view, {**frames, "ranking": changed}))
    assert "Left out, as not open to a new task: model, target left out" in text
    table = against_bar(view, frames)
    assert [row[1] for row in table["rows"]] == [
        *("visual cosine", "label cosine", "model, target left out", "model, task left out"),
        "rule chosen on others",
    ]
    assert "over families" in table["note"]


def test_one_group_of_all_tasks_is_no_discovery():
    frames, view = made.tables(5, ("text",)), View(made.tasks(5), ("text",))
    whole = frames["groups"].assign(group=1, size=5)
    text = " ".join(answers.what_to_do(view, {**frames, "groups": whole}))
    assert "the one group holds all 5 tasks, which is no discovery" in text


def test_one_seed_is_called_significant_by_nobody():
    frames, view = made.tables(5, ("text",), seeds=1), View(made.tasks(5), ("text",))
    images = {**frames, "gains": made.gains(made.transfer(5, ("text",)))}
    assert not seeds_known(images["gains"])
    sentence = answers.which_help(view, images)[0]
    assert "beyond test-image noise (q \u2264 0.05; seeds unknown)" in sentence
    assert "significant" not in sentence
    assert any("beyond test-image noise" in head for head in glance(view, images)[0])


def test_the_page_says_when_and_by_what_it_was_made():
    assert f"with version {__version__}" in made_today()


def test_a_difference_that_is_not_told_from_0_is_equal_or_unclear():
    """4 degrees of freedom and a standard error of 2 points: t is 2.776 at 95 %, 2.132 at 90 %."""
    view = View(made.tasks(4), ("text",))
    half = 0.02 * 2.776445
    span = (0.01, 0.01 - half, 0.01 + half)  # 90 %: to 0.01 + 0.0426
    assert words.not_told(view, span, 4, 0.053) == "equal to 0 within a margin of 5.3 points"
    # With 4 degrees of freedom t finds 3.75 standard errors in four of five studies.
    assert words.not_told(view, span, 4, 0.052).startswith(
        "unclear: this design could have told 7.5"
    )
    assert words.not_told(view, (0.01, np.nan, np.nan), 4, 1.0) == "unclear"
    tight = (0.0, -0.001, 0.001)
    assert words.not_told(view, tight, 4, 0.01) == "equal to 0 within a margin of 1 point"


def test_the_opening_table_shows_the_p_that_establishes_least():
    """With families named, a p of tasks that change places freely is not what the page opens with."""
    frames = dict(made.tables(8, ("text",)))
    view = View(made.tasks(8), ("text",), factors=made.factors(8))
    free = (frames["correlations"]["measure"] == "label_cosine").to_numpy()
    p = frames["correlations"]["p_permutation"].where(~free, 0.0005)
    frames["correlations"] = frames["correlations"].assign(p_permutation=p)
    links = frames["links"]
    whole = (links["link"] == "all") & (links["measure"] == "label_cosine")
    frames["links"] = links.assign(
        p_permutation=links["p_permutation"].where(~whole, 0.99), reason=links["reason"].fillna("")
    )
    heads, (row,) = glance(view, frames)
    (place,) = (i for i, head in enumerate(heads) if head.startswith("rho with label cosine"))
    assert heads[place].endswith("(largest p with task, family, style as units)")
    assert row[place].endswith("(p = 0.990)")
    text = " ".join(answers.what_explains(view, frames))
    assert "with each task as a unit gain " in text
    mean, low, high = (
        100 * frames["diagonal"].set_index("gain_kind").loc["gain", f"transfer_gain{end}"]
        for end in ("", "_low", "_high")
    )
    shown = row[heads.index("mean transfer gain")]
    assert shown == f"{signed(mean)} [{signed(low)}, {signed(high)}] points"


def test_best_sources_that_are_equally_good_are_counted():
    """The one that is listed first is not called the best alone."""
    cells = [
        ("a", "c", 0.3),
        ("b", "c", 0.1 + 0.2),
        ("c", "a", 0.5),
        ("b", "a", 0.4),
        ("a", "b", 0.2),
    ]
    gains = pd.DataFrame(cells, columns=["source", "target", "score"])
    gains = gains.assign(method="text", gain=gains["score"] - 0.1, diagonal=False)
    best = _best(View(["a", "b", "c"], ["text"]), gains)
    assert best["c"].endswith(", text: 30.0 (and 1 as good)")
    assert best["a"] == "c, text: 50.0"
