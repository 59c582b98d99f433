"""Gains, their intervals and corrections."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mvlpt_analysis.gains import controls
from mvlpt_analysis.gains.image_bootstrap import image_intervals
from mvlpt_analysis.gains.table import GAIN_COLUMNS, gain_table, single_seed_cells
from mvlpt_analysis.stats.multiplicity import benjamini_hochberg
from mvlpt_analysis.stats.variance import mean_interval
from mvlpt_core.contract.errors import InputError
from speed import calibration

rng = np.random.default_rng(3)


def transfer(scores, scratch, status="ok", **columns):
    """One pair a -> b over seeds, as a transfer table."""
    n = len(scores)
    base = {
        "method": "text",
        "source": "a",
        "target": "b",
        "seed": range(n),
        "metric": "accuracy",
        "score": scores,
        "scratch": scratch,
        "status": status,
    }
    return pd.DataFrame(base | columns)


def test_paired_seeds_by_hand():
    table = gain_table(transfer([0.60, 0.70, 0.65], [0.50, 0.65, 0.50]))
    row = table.iloc[0]
    gains = np.array([0.10, 0.05, 0.15])
    assert list(table.columns) == GAIN_COLUMNS
    assert row.gain == pytest.approx(0.10)
    half = stats.t.ppf(0.975, 2) * gains.std(ddof=1) / np.sqrt(3)
    assert (row.low, row.high) == pytest.approx((0.10 - half, 0.10 + half))
    assert row.p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert row.relative_error_reduction == pytest.approx(np.mean(gains / [0.5, 0.35, 0.5]))
    assert row.ceiling == pytest.approx(0.70)
    assert row.ceiling_gain == pytest.approx(np.mean(gains / [0.2, 0.05, 0.2]))
    assert (row.n_seeds, row.share_improved, row.interval) == (3, 1.0, "seeds")
    assert not row.diagonal


def test_diverged_seeds_are_counted_and_left_out():
    row = gain_table(transfer([0.6, 0.7, 0.9], 0.5, status=["ok", "ok", "diverged"])).iloc[0]
    assert (row.n_seeds, row.n_diverged) == (2, 1)
    assert row.gain == pytest.approx(0.15)
    row = gain_table(transfer([0.6], 0.5, status="diverged")).iloc[0]
    assert row.reason == "diverged"
    assert np.isnan([row.gain, row.p, row.q]).all()
    assert not row.significant


def test_scratch_at_the_ceiling_leaves_shares_undefined():
    row = gain_table(transfer([1.0, 1.0], 1.0)).iloc[0]
    assert (row.gain, row.low, row.high, row.p) == (0, 0, 0, 1)
    assert np.isnan([row.relative_error_reduction, row.ceiling_gain]).all()


def test_equal_gains_are_not_taken_as_certain():
    row = gain_table(transfer([0.6, 0.6], 0.5, n=100)).iloc[0]
    assert row.low < 0.1 < row.high


def test_one_seed_without_outcomes_says_so():
    row = gain_table(transfer([0.6], 0.5)).iloc[0]
    assert row.interval == "none"
    assert "no interval" in row.reason
    assert single_seed_cells(transfer([0.6], 0.5).assign(gain=0.1)).to_numpy().tolist() == [
        ["text", "a", "b", 0]
    ]


def test_q_is_over_off_diagonal_pairs_of_a_method():
    frame = calibration.seed_study(np.zeros((4, 4)), 3, np.random.default_rng(0))
    table = gain_table(frame)
    off = ~table["diagonal"]
    assert table.loc[~off, "q"].isna().all()
    expected = stats.false_discovery_control(table.loc[off, "p"])
    np.testing.assert_allclose(table.loc[off, "q"], expected)


def test_corrections_by_hand_and_with_gaps():
    p = np.array([0.01, np.nan, 0.04, 0.03])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.03, np.nan, 0.04, 0.04])
    np.testing.assert_allclose(benjamini_hochberg([np.nan]), [np.nan])
    many = rng.random(57)
    np.testing.assert_allclose(benjamini_hochberg(many), stats.false_discovery_control(many))


def outcomes(runs, kind="prediction_u16", metric="accuracy"):
    code = "<u2" if kind == "prediction_u16" else "<f4"
    return pd.DataFrame(
        [
            {"method": "text", "source": name, "target": "b", "seed": 1, "metric": metric}
            | {"outcomes": np.asarray(run).astype(code).tobytes(), "outcome_kind": kind}
            for name, run in runs.items()
        ]
    )


def test_images_are_resampled_in_pairs():
    labels = np.zeros(50, int)
    scratch = np.arange(50) % 2  # half right
    better = np.where(np.arange(50) < 20, 0, scratch)  # 10 more right, none lost
    frame = image_intervals(
        outcomes({"scratch": scratch, "a": better, "c": scratch}), {"b": labels}
    )
    a, c = frame.set_index("source").loc["a"], frame.set_index("source").loc["c"]
    assert a.gain == pytest.approx(0.2)
    assert a.se == pytest.approx(np.sqrt(0.2 * 0.8 / 50), rel=0.06)
    assert a.low < 0.2 < a.high
    assert a.p == pytest.approx(2 * stats.norm.sf(np.sqrt(10)), rel=0.3)  # McNemar: 10 of 10
    # The same predictions gain exactly 0, however images are drawn.
    assert (c.gain, c.low, c.high, c.p) == (0, 0, 0, 1)


def test_image_intervals_fill_single_seed_gains():
    labels = np.zeros(50, int)
    runs = outcomes({"scratch": np.arange(50) % 2, "a": np.zeros(50)})
    table = gain_table(transfer([1.0], 0.5, seed=1), image_intervals(runs, {"b": labels}))
    row = table.iloc[0]
    assert row.interval == "images"
    assert row.reason == ""
    assert row.excludes_zero
    assert 0 < row.ceiling_gain_low < 1 < row.ceiling_gain_high
    assert row.relative_error_reduction_low == pytest.approx(1)


def test_outcomes_of_other_images_are_not_used():
    runs = outcomes({"scratch": np.arange(50) % 2, "a": np.zeros(50)})
    images = image_intervals(runs, {"b": np.zeros(50, int)})
    with pytest.raises(InputError, match=r"give a gain of 0\.500, the scores 0\.100"):
        gain_table(transfer([0.6], 0.5, seed=1), images)


def test_a_task_draws_the_same_images_whatever_else_is_there():
    labels = {"b": np.zeros(30, int), "z": np.zeros(30, int)}
    one = outcomes({"scratch": np.arange(30) % 2, "a": np.arange(30) % 3})
    both = pd.concat([one.assign(target="z"), one])
    alone = image_intervals(one, labels, seed=4)
    beside = image_intervals(both, labels, seed=4)
    pd.testing.assert_frame_equal(
        alone, beside[beside["target"] == "b"].reset_index(drop=True), check_dtype=False
    )


def test_unfit_outcomes_are_named():
    frame = outcomes({"scratch": np.zeros(5), "a": np.zeros(5)})
    with pytest.raises(InputError, match="no test labels for target 'b'"):
        image_intervals(frame, {})
    with pytest.raises(InputError, match="5 stored outcomes do not fit 4 test images"):
        image_intervals(frame, {"b": np.zeros(4, int)})


@pytest.mark.parametrize("metric", ["accuracy", "mean_per_class", "roc_auc", "map_11point"])
def test_weighted_scores_equal_scores_of_repeated_images(metric):
    """Counting an image twice is the same as having it twice, and ones give the study's score."""
    from mvlpt_core.contract import metrics

    n, classes = 40, 2 if metric == "roc_auc" else 3
    logits = np.round(rng.normal(size=(2, n, classes)), 1).astype(np.float32)
    labels = rng.integers(0, classes, n)
    if metric == "map_11point":
        labels = rng.random((n, classes)) < 0.3
    runs = logits if metric in ("roc_auc", "map_11point") else logits.argmax(-1)
    counts = rng.multinomial(n, np.full(n, 1 / n))
    if metric == "mean_per_class":
        # Classes keep their size when images are drawn within classes.
        for c in range(classes):
            counts[labels == c] = rng.permutation(np.resize([0, 2], (labels == c).sum()))
            if counts[labels == c].sum() != (labels == c).sum():
                counts[np.flatnonzero(labels == c)[0]] += 1
    for weights in (np.ones(n, int), counts):
        repeated = np.repeat(np.arange(n), weights)
        expected = metrics.score(metric, logits[:, repeated], labels[repeated])
        found = metrics.weighted_scores(metric, runs, labels, weights[None].astype(np.float32))[0]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mean_interval_edges():
    assert np.isnan(mean_interval(np.array([np.nan]))[0])
    assert mean_interval(np.array([2.0, np.nan]))[0] == 2
    np.testing.assert_allclose(
        mean_interval(np.array([1.0, 2.0, 4.0]))[3], stats.ttest_1samp([1.0, 2.0, 4.0], 0).pvalue
    )


def gain_frame(matrix):
    names = [f"t{i}" for i in range(len(matrix))]
    source, target = np.indices(matrix.shape)
    return pd.DataFrame(
        {
            "method": "text",
            "source": np.array(names)[source.ravel()],
            "target": np.array(names)[target.ravel()],
            "gain": matrix.ravel(),
        }
    )


def test_asymmetry_of_symmetric_and_skew_matrices():
    a = rng.normal(size=(6, 6))
    symmetric = controls.asymmetry_table(gain_frame(a + a.T), permutations=99).iloc[0]
    skew = controls.asymmetry_table(gain_frame(a - a.T), permutations=99).iloc[0]
    assert (symmetric.reciprocity, symmetric.skew_share) == pytest.approx((1, 0))
    assert (skew.reciprocity, skew.skew_share) == pytest.approx((-1, 1))
    assert symmetric.p_permutation == 0.01
    mixed = controls.asymmetry_table(gain_frame(a), permutations=99).iloc[0]
    assert mixed.skew_share == pytest.approx((1 - mixed.reciprocity) / 2)
    constant = controls.asymmetry_table(gain_frame(np.zeros((5, 5)))).iloc[0]
    assert constant.reason == "gain is constant"


def test_diagonal_control_and_task_effects_by_hand():
    matrix = np.array([[0.3, 0.1, 0.1], [0.2, 0.3, np.nan], [0.0, 0.3, 0.0]])
    row = controls.diagonal_control(gain_frame(matrix)).iloc[0]
    assert row.diagonal_gain == pytest.approx(0.2)
    assert row.transfer_gain == pytest.approx((0.1 + 0.2 + 0.1) / 3)
    assert row.difference == pytest.approx(row.transfer_gain - row.diagonal_gain)
    assert (row.share_improved_diagonal, row.share_improved_transfer) == pytest.approx((2 / 3, 0.8))
    effects = controls.task_effects(gain_frame(matrix)).set_index(["role", "task"])
    assert effects.loc[("source", "t1"), "mean_gain"] == pytest.approx(0.2)
    assert effects.loc[("source", "t1"), "n"] == 1
    assert effects.loc[("target", "t1"), "mean_gain"] == pytest.approx(0.2)


def test_intervals_cover_and_discoveries_are_few():
    """Small fixed-seed version of `python -m speed.calibration`."""
    table = calibration.gain_figures(studies=5, seed=1, n_seeds=(3,), n_images=(200,))
    assert table["coverage"].between(0.93, 0.97).all()
    assert (table["false_discovery_rate"] <= 0.05).all()
    assert (table["power"] > 0.1).all()
