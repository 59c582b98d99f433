"""Ranking of sources, the model of gains, and recommendations for a new task."""

from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import ndcg_score

from mvlpt_analysis import vocabulary
from mvlpt_analysis.choice import gain_model, ranking
from mvlpt_analysis.choice.recommend import familiarity, recommend
from mvlpt_core.contract.errors import InputError
from speed import calibration
from support import view_data as made

GAINS = np.array([0.05, 0.01, -0.02, 0.03])


def test_a_perfect_ranking_has_ndcg_1_and_no_regret():
    found = ranking.quality(GAINS, GAINS * 7 + 3)
    assert found["ndcg"] == pytest.approx(1)
    assert [found[f"regret{k}"] for k in (1, 3, 5)] == [0, 0, 0]
    assert found["hit1"] == found["hit3"] == 1
    assert found["tau"] == pytest.approx(1)
    assert found["gain1"] == pytest.approx(0.05)


def test_a_reversed_ranking_by_hand():
    found = ranking.quality(GAINS, -GAINS)
    relevance = (np.array([-0.02, 0.01, 0.03, 0.05]) + 0.02) / 0.07
    discount = 1 / np.log2([2, 3, 4, 5])
    assert found["ndcg"] == pytest.approx(
        (relevance * discount).sum() / (relevance[::-1] * discount).sum()
    )
    assert found["regret1"] == pytest.approx(0.07)
    assert found["regret3"] == pytest.approx(0.02)
    assert found["regret5"] == 0
    assert found["hit1"] == found["hit3"] == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.data())
def test_ties_count_as_the_mean_over_all_orders_they_allow(ranks, data):
    gains = np.array(
        data.draw(st.lists(st.integers(-3, 3), min_size=len(ranks), max_size=len(ranks))), float
    )
    predicted = np.array(ranks, float)
    orders = [
        order
        for order in permutations(range(len(ranks)))
        if all(predicted[a] >= predicted[b] for a, b in pairwise(order))
    ]
    strict = np.empty(len(ranks))
    values = []
    for order in orders:
        strict[list(order)] = -np.arange(len(order))
        values.append(ranking.quality(gains, strict.copy()))
    found = ranking.quality(gains, predicted)
    for name in ("ndcg", "ndcg_of_ranks", "regret1", "regret3", "hit1", "hit3", "gain1"):
        expected = np.mean([value[name] for value in values])
        assert found[name] == pytest.approx(expected, nan_ok=True), name


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(0, 10**6))
def test_ndcg_is_scikit_learns_and_many_first_choices_are_those_of_one(n, seed):
    rng = np.random.default_rng(seed)
    gains, predicted = rng.integers(-4, 5, (2, 6, n)).astype(float)
    candidates = rng.random((6, n)) < 0.7
    candidates[:, 0] = True
    found = ranking.first_regret(gains, predicted, candidates)
    for one, score, some, lost in zip(gains, predicted, candidates, found, strict=True):
        assert lost == pytest.approx(ranking.regret(one[some], score[some], 1))
        if np.ptp(one):
            expected = ndcg_score([one - one.min()], [score])
            assert ranking.ndcg(one, score) == pytest.approx(expected)


def test_rank_quality_prefers_the_measure_that_made_the_gains():
    transfers = made.transfer(12, ("visual",))
    table = ranking.rank_quality(transfers, made.similarity(12))
    assert set(table["ranker"]) == {
        "visual_cosine",
        "label_cosine",
        vocabulary.MODEL_TARGET,
        vocabulary.MODEL_TASK,
        vocabulary.BEST_AVERAGE,
        vocabulary.CHOSEN,
        vocabulary.RANDOM,
    }
    # One cell diverged: its source is no candidate.
    assert sorted(table.drop_duplicates("target")["n_sources"]) == [10] + [11] * 11
    mean = table.groupby("ranker")["ndcg"].mean()
    assert mean["visual_cosine"] > mean["label_cosine"] + 0.05
    assert mean[vocabulary.MODEL_TASK] > mean[vocabulary.RANDOM] + 0.05
    summary = ranking.summarise_quality(table).set_index(["ranker", "metric"])
    row = summary.loc[("visual_cosine", "regret1")]
    assert row["low"] <= row["mean"] <= row["high"]
    assert row["difference"] < 0
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert (row["unit"], row["n_units"]) == ("targets", 12)
    assert np.isnan(summary.loc[(vocabulary.BEST_AVERAGE, "regret1"), "difference"])


def by_target(values, metric="regret1"):
    """A table of one quality, `values` by ranker [targets]; the others are 0."""
    rows = [
        {"ranker": ranker, "target": f"t{i}", "rule": "", "n_sources": 3, metric: value}
        for ranker, own in values.items()
        for i, value in enumerate(own)
    ]
    return pd.DataFrame(rows).reindex(columns=list(ranking.RANKING_BY_TARGET_COLUMNS), fill_value=0)


def test_families_are_the_units_of_the_difference_from_the_best_average_source():
    """Two targets a family: the difference is t over the families' means -4, -2 and -3."""
    own = {"m": [1, 1, 2, 2, 3, 3.0], vocabulary.BEST_AVERAGE: [4, 6, 3, 5, 5, 7.0]}
    families = {f"t{i}": f"f{i // 2}" for i in range(6)}
    table = ranking.summarise_quality(by_target(own), families)
    row = table.set_index(["ranker", "metric"]).loc[("m", "regret1")]
    expected = stats.ttest_1samp([-4, -2, -3], 0)
    low, high = expected.confidence_interval()
    assert row["difference"] == pytest.approx(-3)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high))
    assert row["p"] == pytest.approx(expected.pvalue)
    assert (row["unit"], row["n_units"], row["n_targets"]) == ("families", 3, 6)
    assert row["low"] == 0  # a regret is never below 0
    pair = ranking.summarise_quality(by_target(own), {f"t{i}": f"f{i // 3}" for i in range(6)})
    assert pair[["low", "difference_low", "p", "q"]].isna().all(axis=None)  # two families


def test_ndcg_above_random_is_0_for_chance_and_1_for_a_perfect_order():
    found = ranking.quality(GAINS, np.zeros(4))
    assert found["ndcg_above_random"] == pytest.approx(0)
    assert ranking.quality(GAINS, GAINS)["ndcg_above_random"] == pytest.approx(1)
    worst = ranking.quality(GAINS, -GAINS)
    chance = ranking.ndcg(GAINS, np.zeros(4))
    assert worst["ndcg_above_random"] == pytest.approx((worst["ndcg"] - chance) / (1 - chance))


def test_ndcg_of_ranks_by_hand():
    """Gains .05, .03, .01, -.02 have relevance 7, 3, 1, 0, whatever their distances."""
    discount = 1 / np.log2([2, 3, 4, 5])
    found = ranking.quality(GAINS, np.array([1.0, 4, 2, 3]))  # the order .01, .03, -.02, .05
    best = np.array([7, 3, 1, 0]) @ discount
    assert found["ndcg_of_ranks"] == pytest.approx(np.array([1, 3, 0, 7]) @ discount / best)
    assert ranking.quality(GAINS**3, GAINS)["ndcg_of_ranks"] == pytest.approx(1)
    assert np.isnan(ranking.ndcg_of_ranks(np.zeros(3), np.arange(3.0)))


def test_ndcg_of_ranks_of_tied_gains_and_of_many_sources():
    discount = 1 / np.log2([2, 3, 4])
    tied = np.array([2**1.5 - 1, 2**1.5 - 1, 0])  # the two best are 1 and 2 above the worst: 1.5
    found = ranking.ndcg_of_ranks(np.array([0.1, 0.1, 0.0]), np.array([0.0, 1, 2]))
    assert found == pytest.approx(tied[::-1] @ discount / (tied @ discount))
    many = np.arange(2000.0)
    assert ranking.ndcg_of_ranks(many, many) == pytest.approx(1)
    assert ranking.ndcg_of_ranks(many, -many) < 0.2


def test_a_rule_is_chosen_on_the_other_half_of_the_families():
    """a is the best rule on all targets together, thanks to the families 1 and 3 alone."""
    own = {
        "a": [5, 5, 0, 0, 5, 5, 0, 0.0],
        "b": [4, 4, 9, 9, 4, 4, 9, 9.0],
        vocabulary.BEST_AVERAGE: [9] * 8,
        vocabulary.RANDOM: [0] * 8,  # no rule
    }
    families = {f"t{i}": f"f{i // 2}" for i in range(8)}
    table = ranking.with_chosen(by_target(own), families)
    chosen = table[table["ranker"] == vocabulary.CHOSEN].set_index("target")
    assert chosen.loc[["t0", "t1", "t4", "t5"], "rule"].tolist() == ["a"] * 4
    assert chosen.loc[["t2", "t3", "t6", "t7"], "rule"].tolist() == ["b"] * 4
    assert chosen.loc[["t0", "t2"], "regret1"].tolist() == [5, 9]


def test_differences_over_targets_are_widened_for_shared_training():
    own = {"m": [1, 2, 3, 4.0], vocabulary.BEST_AVERAGE: [3, 3, 5, 9.0]}
    row = ranking.summarise_quality(by_target(own)).query("ranker == 'm' and metric == 'regret1'")
    differences = np.array([-2, -1, -2, -5])
    half = stats.t.ppf(0.975, 3) * differences.std(ddof=1) * np.sqrt(1 / 4 + 1 / 3)
    assert row["difference_low"].item() == pytest.approx(differences.mean() - half)


def test_a_chosen_rule_is_no_better_than_chance_where_no_rule_works():
    """The least of eight rules on the same targets is flattered; the choice on others is not."""
    table = calibration.rule_figures(studies=40, seed=0).set_index("rule")
    assert table.loc["least regret on the same targets", "optimism"] > 0.2
    assert abs(table.loc["chosen on other targets", "optimism"]) < 0.12
    assert table.loc["chosen on other targets", "beats the bar"] <= 0.10
    assert table.loc["one measure", "beats the bar"] <= 0.10


def test_no_prediction_uses_the_target_it_is_for():
    transfers = made.transfer(8, ("text",))
    grid = gain_model.Grid.from_frames(transfers, made.similarity(8))
    before = gain_model.leave_one_out(grid, drop_source=True)
    changed = grid.gain.copy()
    changed[:, 3] = np.where(np.isfinite(changed[:, 3]), 9.0, np.nan)
    changed[3] = np.where(np.isfinite(changed[3]), -9.0, np.nan)
    after = gain_model.leave_one_out(
        gain_model.Grid(grid.sources, grid.targets, grid.measures, changed, grid.features), True
    )
    np.testing.assert_allclose(after[:, 3], before[:, 3])


def test_the_model_finds_the_slope_and_ignores_a_constant_measure():
    rng = np.random.default_rng(0)
    n = 12
    names = tuple(f"t{i}" for i in range(n))
    like = rng.random((n, n))
    gain = 0.1 * like + rng.normal(size=n)
    np.fill_diagonal(gain, np.nan)
    features = np.array([like, np.full((n, n), 0.3)])
    fitted = gain_model.fit(gain_model.Grid(names, names, ("a", "b"), gain, features))
    assert fitted.beta[1] == 0
    assert fitted.beta[0] / fitted.scale[0] == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("n", [2, 3])
def test_two_and_three_tasks(n):
    table = ranking.rank_quality(made.transfer(n, ("visual",)), made.similarity(n))
    assert table["ndcg"].isna().all() == (n == 2)
    summary = ranking.summarise_quality(table)
    assert len(summary) == table["ranker"].nunique() * len(ranking.QUALITY)


def test_without_similarities_only_the_baselines_rank():
    table = ranking.rank_quality(made.transfer(5, ("text",)), None)
    assert set(table["ranker"]) == {vocabulary.BEST_AVERAGE, vocabulary.RANDOM}


def test_a_pair_given_twice_is_an_error():
    with pytest.raises(InputError, match="occurs twice"):
        ranking.rank_quality(made.transfer(3, ("text",), seeds=2), None)


def new_task(n: int = 20):
    """The study without one task, and that task's similarities to the rest."""
    name = made.tasks(n)[-1]
    transfers, alike = made.transfer(n), made.similarity(n)
    known = transfers[(transfers["source"] != name) & (transfers["target"] != name)]
    within = alike[(alike["source"] != name) & (alike["target"] != name)]
    new = alike[(alike["target"] == name) & (alike["source"] != name)]
    truth = transfers[(transfers["target"] == name) & (transfers["source"] != name)]
    return known, within, new[["source", "measure", "value"]], truth


def test_recommendation_ranks_relatives_first_and_names_the_prompt():
    known, within, new, truth = new_task()
    first = made.tasks(20)[16]
    found = recommend(known, within, new, {("text", first): "sources/text/x/seed1.safetensors"})
    text = found.table[found.table["method"] == "text"]
    assert set(text["source"].head(3)) == set(made.tasks(20)[16:19])
    row = text.set_index("source").loc[first]
    assert row["prompt"] == "sources/text/x/seed1.safetensors"
    assert "label_cosine" in row["why"]
    assert "percentile" in row["why"]
    both = found.table.merge(truth, on=["method", "source"])
    inside = (both["low"] <= both["gain"]) & (both["gain"] <= both["high"])
    assert inside.mean() > 0.85
    assert not found.familiarity["below"].all()
    nearer = recommend(known, within, new.assign(value=new["value"] + 0.05))
    assert "within the range" in nearer.statements[-1]


def test_sources_that_the_study_cannot_tell_apart_are_said_to_be_alike():
    known, within, new, _ = new_task()
    assert "The order of the sources says little" not in " ".join(
        recommend(known, within, new).statements
    )
    rng = np.random.default_rng(0)
    noise = known.assign(gain=0.05 + 0.01 * rng.standard_normal(len(known)))
    found = recommend(noise, within, new)
    text = next(s for s in found.statements if s.startswith("text"))
    assert "start from" in text
    assert "The order of the sources says little" in text


def test_a_task_unlike_all_is_said_to_be():
    known, within, new, _ = new_task()
    found = recommend(known, within, new.assign(value=new["value"] - 0.6))
    assert len(found.familiarity)
    assert found.familiarity["below"].all()
    assert "unlike all tasks of the study" in " ".join(found.statements)
    assert "extrapolations" in found.statements[-1]


def test_no_instruction_where_the_interval_includes_no_gain():
    """+1.4 [-11.9, +14.6] is none; nor is a gain without an interval."""
    known, within, new, _ = new_task()
    sure = recommend(known.assign(gain=known["gain"] + 0.2), within, new).statements
    assert "text: start from" in sure[0]
    rng = np.random.default_rng(0)
    noise = known.assign(gain=0.05 + 0.1 * rng.standard_normal(len(known)))
    for gains, why in ((noise, "chance of a gain is about"), (few(noise), "too few study tasks")):
        found = recommend(gains, within, new)
        assert not (found.table["low"] > 0).any()
        for line in found.statements[: found.table["method"].nunique()]:
            assert "start from" not in line
            assert "cannot say whether a source helps" in line
            assert why in line


def few(gains):
    """Gains on two targets alone, all above 0."""
    return gains[gains["target"].isin(made.tasks(20)[:2])].assign(gain=0.05)


def test_one_familiar_measure_of_many_does_not_withhold_the_warning():
    known, within, new, _ = new_task()
    first = new["measure"] == new["measure"].iloc[0]
    odd = new.assign(value=new["value"].where(first, new["value"] - 0.6))
    found = recommend(known, within, odd)
    assert found.familiarity["below"].tolist().count(False) == 1
    assert "extrapolations by" in found.statements[-1]
    odd = new.assign(value=new["value"].where(~first, new["value"] - 0.6))
    found = recommend(known, within, odd)
    assert found.familiarity["below"].any()
    assert "extrapolations" in found.statements[-1]


def test_familiarity_by_hand():
    within = pd.DataFrame(
        [
            ("a", "b", 0.8),
            ("b", "a", 0.8),
            ("c", "a", 0.5),
            ("c", "b", 0.4),
            ("a", "c", 0.5),
            ("b", "c", 0.4),
            ("a", "a", 1.0),
        ],
        columns=["source", "target", "value"],
    ).assign(measure="m")
    new = pd.DataFrame({"source": ["a", "b"], "measure": "m", "value": [0.3, 0.45]})
    row = familiarity(within, new).iloc[0]
    assert (row["nearest"], row["study_lowest"], row["study_median"]) == ("b", 0.5, 0.8)
    assert row["below"]


def test_recommendation_without_a_common_measure_is_an_error():
    known, within, new, _ = new_task(6)
    with pytest.raises(
        InputError,
        match="the new task has the measures other: expected one of the study's, label_c",
    ):
        recommend(known, within, new.assign(measure="other"))


def test_gains_and_scores_that_differ_by_rounding_are_ties():
    """Means over seeds of the same scores, added up in another order, are one gain."""
    pairs = [("a", "d"), ("b", "d"), ("c", "d")]
    cells = pd.DataFrame(pairs, columns=["source", "target"])
    gains = cells.assign(gain=[0.1 + 0.2, 0.3, 0.1])
    assert gains["gain"][0] != gains["gain"][1]
    alike = cells.assign(measure="alike", value=[1.0, 0.3, 0.1 + 0.2])
    assert alike["value"][1] != alike["value"][2]
    found = ranking.rank_quality(gains, alike, model_measures=()).set_index("ranker").loc["alike"]
    assert found["hit1"] == 1
    assert found["regret1"] == 0
    relevance = 2 ** np.array([1.5, 1.5, 0]) - 1  # the ranks of the gains, from 0
    discount = 1 / np.log2([2, 3, 4])
    shared = relevance @ [discount[0], discount[1:].mean(), discount[1:].mean()]
    assert found["ndcg_of_ranks"] == pytest.approx(shared / (relevance @ discount))
