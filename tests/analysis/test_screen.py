"""Pairs ranked before any transfer run: scores and ranks by hand, judged beside similarities, in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis import study
from mvlpt_analysis.choice.complete import (
    ADDITIVE,
    ALIKE,
    LOW_RANK,
    SCREENED,
    complete,
    completed_table,
    completion_table,
)
from mvlpt_analysis.choice.gain_model import Grid
from mvlpt_analysis.choice.screen import SCREEN_COLUMNS, screen_scores, screen_table, share_of_runs
from mvlpt_analysis.report.rules import choice
from mvlpt_analysis.report.screened import what_screening_tells
from mvlpt_analysis.report.unmeasured import what_is_told
from mvlpt_analysis.view import View
from mvlpt_analysis.vocabulary import BEST_AVERAGE, SCREENS, untrained
from mvlpt_core.contract.design import designed_pairs
from support import view_data as made


def rows(**columns: list[float]) -> pd.DataFrame:
    """Sources a, b, c for the target a at two seeds."""
    frame = pd.DataFrame({"source": list("abc") * 2, "seed": [1] * 3 + [2] * 3, **columns})
    same = {"method": "text", "target": "a", "start_loss": 3.0, "n": 10}
    return frame.assign(**same, operations=2.0, run_operations=50.0)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return screen_table(
        rows(
            loss=[0.1, 1.0, 2.0, 0.3, 2.0, 1.4],
            gradient=[1, 2, 3, 1, 2, 5],
            toward=[9, 1, -1, 9, 3, -3],
            distance=[1, 2, 3, 2, 4, 6],
        )
    )


def test_scores_and_ranks_by_hand(table: pd.DataFrame) -> None:
    assert tuple(table.columns) == SCREEN_COLUMNS
    own = table.set_index("source")
    assert own["loss"].tolist() == pytest.approx([0.2, 1.5, 1.7])
    # The target's own prompt is no candidate.
    assert np.isnan(own.loc["a", "rank"])
    assert own.loc[["b", "c"], "rank"].tolist() == [1, 2]
    # The mean distance is 2 at seed 1 and 4 at seed 2: (1 - 2 * 2 + 2 - 2 * 4) / 2.
    assert own.loc["b", "descent"] == pytest.approx(-4.5)
    assert own.loc["c", "descent"] == pytest.approx((2 - 3 * 2 + 1.4 - 5 * 4) / 2)
    assert own["n_seeds"].tolist() == [2, 2, 2]
    assert share_of_runs(table) == pytest.approx(0.04)


def test_higher_scores_promise_more(table: pd.DataFrame) -> None:
    scores = screen_scores(table)
    assert list(scores["measure"].unique()) == list(SCREENS)
    wide = scores.pivot_table(index="source", columns="measure", values="value")
    assert wide.loc["b", "screen_loss"] == pytest.approx(-1.5)
    assert wide.loc["b", "screen_gradient"] == pytest.approx(-2)
    assert wide.loc["b", "screen_descent"] == pytest.approx(4.5)
    assert wide.loc["b", "screen_toward"] == pytest.approx(2)


def test_a_loss_that_is_not_finite_has_no_rank() -> None:
    nan = np.nan
    one = {"gradient": [1.0] * 6, "toward": [1.0] * 6, "distance": [1.0] * 6}
    own = screen_table(rows(loss=[1, nan, 2, 1, nan, 2], **one)).set_index("source")
    assert own["rank"].isna().tolist() == [True, True, False]
    # Of a run that diverged at one seed, the others tell.
    own = screen_table(rows(loss=[1, nan, 2, 1, 3, 2], **one)).set_index("source")
    assert own.loc["b", "loss"] == 3
    assert screen_table(pd.DataFrame()).empty


def test_screening_is_judged_beside_the_similarities() -> None:
    found = made.tables(12, ("text",), screened=True)
    without = made.tables(12, ("text",))
    for name in ("gains", "correlations", "links", "regression"):
        pd.testing.assert_frame_equal(found[name], without[name])
    quality = found["ranking"].set_index(["ranker", "metric"])["mean"]
    assert set(SCREENS) <= {ranker for ranker, _ in quality.index}
    assert quality["screen_loss", "ndcg"] > quality[BEST_AVERAGE, "ndcg"] + 0.05
    # Without information a score is about as good as chance.
    assert quality["screen_gradient", "regret1"] > 3 * quality["screen_loss", "regret1"]
    links = found["screen_links"].query("link == 'pairs' and statistic == 'spearman'")
    links = links[links["factor"] == ""].set_index("measure")
    assert links.loc["screen_loss", "value"] > 0.8
    assert links.loc["screen_loss", "p_permutation"] < 0.01
    assert links.loc["screen_gradient", "p_permutation"] > 0.05
    assert SCREENED in set(found["completion"]["model"])
    assert SCREENED not in set(without["completion"]["model"])
    assert without["screen"].empty
    # The models that a new task has are fitted without.
    model = "model, task left out"
    before = without["ranking"].set_index(["ranker", "metric"])["mean"]
    assert quality[model, "ndcg"] == pytest.approx(before[model, "ndcg"])
    assert untrained(["label_cosine", *SCREENS]) == ["label_cosine"]


def test_a_study_without_transfer_runs_has_its_ranking() -> None:
    none = made.transfer(3, ("text",)).iloc[:0]
    empty = pd.DataFrame()
    found = study.statistics(
        none, empty, empty, empty, made.tasks(3), ("text",), {}, screen=made.screen(3, ("text",))
    )
    assert len(found["screen"]) == 9
    assert found["screen_links"].empty


def grid(alike: float, promised: float) -> Grid:
    """Gains made of a similarity, a score of the screening, and noise."""
    rng = np.random.default_rng(0)
    names = tuple(f"t{i}" for i in range(14))
    z = rng.normal(size=(2, 14, 14))
    gain = alike * z[0] + promised * z[1] + 0.2 * rng.normal(size=(14, 14))
    np.fill_diagonal(gain, np.nan)
    return Grid(names, names, ("label_cosine", "screen_loss"), gain, z)


def test_screening_completes_a_grid_where_it_tells_more() -> None:
    both = completion_table(grid(0.7, 0.7)).set_index(["fraction", "model"])["r2"][0.5]
    assert both[SCREENED] > both[ALIKE] + 0.3
    assert both[ALIKE] > both[ADDITIVE] + 0.2
    whole = grid(0.7, 0.7)
    bare = replace(whole, measures=whole.measures[:1], features=whole.features[:1])
    kept = designed_pairs(whole.targets, whole.sources, 0.4)
    seen = np.array([[(t, s) in kept for t in whole.targets] for s in whole.sources])
    some, less = (replace(g, gain=np.where(seen, g.gain, np.nan)) for g in (whole, bare))
    # The others take no part in it.
    for model in (ADDITIVE, ALIKE, LOW_RANK):
        np.testing.assert_array_equal(
            complete(some, model).estimate, complete(less, model).estimate
        )
    table = completed_table(some)
    truth = [
        whole.gain[whole.sources.index(s), whole.targets.index(t)]
        for s, t in zip(table["source"], table["target"], strict=True)
    ]
    assert np.corrcoef(table["estimate"], truth)[0, 1] > 0.9
    # The report quotes the model of the estimates that it shows.
    names = [f"t{i}" for i in range(14)]
    of_part, of_whole = (completion_table(g).assign(method="text") for g in (some, whole))
    frames = {"completion": of_part, "completed": table.assign(method="text")}
    row = of_part[of_part["model"] == SCREENED].iloc[0]
    (text,) = what_is_told(View(names, ["text"]), frames)
    assert f"told with R2 {row['r2']:.2f} by similarities and screening (" in text
    width = 100 * (table["high"] - table["low"]).iloc[0]
    assert f"are estimated, each within {width / 2:.1f} points" in text
    (text,) = what_is_told(View(names, ["text"]), frames | {"completion": of_whole})
    quarter = of_whole.query("model == @SCREENED and fraction == 0.25").iloc[0]
    assert f"R2 {quarter['r2']:.2f} by similarities and screening (" in text


def test_the_report_says_what_screening_cost_and_told() -> None:
    frames = made.tables(12, ("text", "visual"), screened=True)
    view = View(made.tasks(12), ("text", "visual"))
    texts = what_screening_tells(view, frames)
    assert [text.split(":")[0] for text in texts[:-1]] == ["text", "visual"]
    assert "was chosen while looking at the built-in testbed with seed 1" in texts[-1]
    assert "taken with 2.5% of the operations of tuning the runs of all pairs" in texts[0]
    row = frames["ranking"].query(
        "method == 'text' and ranker == 'screen_loss' and metric == 'regret1'"
    )
    assert f"By it the best source is missed by {100 * row['mean'].iloc[0]:.1f} [" in texts[0]
    assert "NDCG: loss 0.9" in texts[0]
    assert "best average source 0." in texts[0]
    assert "less loss goes with more gain by rho = 0." in texts[0]
    # Of each: a run of text that diverged leaves its grid whole.
    for text in texts[:-1]:
        assert "lets a designed quarter of the pairs tell the others with R2 0." in text
    assert "(screening by loss" in choice(view, frames, "text")
    assert what_screening_tells(view, made.tables(6, ("text", "visual"))) == []
