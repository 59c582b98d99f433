"""Correlations, partial correlations and regressions against plain loops and references."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mvlpt_analysis.association.tables import (
    CORRELATION_COLUMNS,
    correlation_table,
    matrices,
    partial_table,
    regression_table,
)
from mvlpt_analysis.read.pairs import check_pairs, read_frame, relative_to_own
from mvlpt_analysis.stats import correlation, mrqap, qap, resample
from mvlpt_core.contract.errors import InputError
from speed import calibration

REFERENCE = {
    "pearson": stats.pearsonr,
    "spearman": stats.spearmanr,
    "kendall": stats.kendalltau,
}


def matrix(seed, n=7, gaps=(), step=None):
    """A random [n, n] matrix, rounded to `step` so that values tie, undefined at `gaps`."""
    values = np.random.default_rng(seed).normal(size=(n, n))
    if step:
        values = np.round(values / step) * step
    for cell in gaps:
        values[cell] = np.nan
    return values


def plain_groups(x, y, scope, statistic):
    """Coefficients by scipy on lists of cells, group by group."""
    n = len(x)
    off = [(s, t) for s in range(n) for t in range(n) if s != t]
    off = [c for c in off if not np.isnan(x[c]) and not np.isnan(y[c])]
    if scope == "pooled":
        groups = [off]
    else:
        axis = 1 if scope == "per_target" else 0
        groups = [[c for c in off if c[axis] == k] for k in range(n)]
    return [
        REFERENCE[statistic]([x[c] for c in group], [y[c] for c in group]).statistic
        for group in groups
    ]


def cells_of(frame_matrix, names, **columns):
    source, target = np.indices(frame_matrix.shape)
    names = np.array(names)
    return pd.DataFrame(
        {"source": names[source.ravel()], "target": names[target.ravel()]} | columns
    )


def tables_of(y, **measures):
    """A gains frame and a similarity frame of matrices."""
    names = [f"t{i}" for i in range(len(y))]
    gains = cells_of(y, names, gain=y.ravel())
    similarity = pd.concat(
        [cells_of(x, names, measure=name, value=x.ravel()) for name, x in measures.items()]
    )
    return gains, similarity


@pytest.mark.parametrize("scope", qap.SCOPES)
@pytest.mark.parametrize("statistic", correlation.STATISTICS)
@pytest.mark.parametrize("gaps", [(), ((0, 1), (3, 2))])
def test_coefficients_equal_scipy_on_lists_of_cells(scope, statistic, gaps):
    x, y = matrix(0, gaps=gaps[:1]), matrix(1, step=0.5, gaps=gaps)
    found = correlation.group_values(x, y, scope, statistic)
    np.testing.assert_allclose(found, plain_groups(x, y, scope, statistic), atol=1e-12)


@pytest.mark.parametrize("scope", qap.SCOPES)
@pytest.mark.parametrize("statistic", correlation.STATISTICS)
def test_permutation_p_equals_a_loop_over_permuted_matrices(scope, statistic):
    x, y = matrix(2, n=6), matrix(3, n=6, step=0.5)
    permuted = resample.permutations(6, 60, seed=5)
    observed = np.nanmean(plain_groups(x, y, scope, statistic))
    extreme = 0
    for p in permuted:
        moved = x[np.ix_(p, p)]
        extreme += abs(np.nanmean(plain_groups(moved, y, scope, statistic))) >= abs(observed) - 1e-9
    expected = (1 + extreme) / 61
    found = correlation.p_values(x[None], y[None], permuted, scope, statistic)
    assert found[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("step_x", [None, 1.0])
@pytest.mark.parametrize("gaps", [(), ((0, 1), (4, 2))])
def test_pooled_kendall_counts_pairs_of_cells(step_x, gaps):
    """Concordant minus discordant pairs, tied and undefined ones 0, compared one by one."""
    x, y = matrix(4, n=11, step=step_x, gaps=gaps[:1]), matrix(5, n=11, step=0.7, gaps=gaps)
    permuted = resample.permutations(11, 99, seed=0)
    off = ~np.eye(11, dtype=bool)
    scores = []
    for p in [np.arange(11), *permuted]:
        a, b = x[np.ix_(p, p)][off], y[off]
        scores.append(np.nansum(np.sign(a[:, None] - a) * np.sign(b[:, None] - b)) / 2)
    expected = (1 + (np.abs(scores[1:]) >= abs(scores[0])).sum()) / 100
    found = correlation.p_values(x[None], y[None], permuted, "pooled", "kendall")
    assert found[0, 0] == expected


@pytest.mark.parametrize("scope", qap.SCOPES)
@pytest.mark.parametrize("statistic", correlation.STATISTICS)
def test_an_interval_holds_zero_where_its_test_does_not_reject(scope, statistic):
    x = np.stack([matrix(i) for i in range(12)])
    y = np.stack([matrix(20), matrix(21), matrix(3) + 2 * x[0], 3 * x[1] - matrix(7)])
    permuted = resample.permutations(7, 199, 0)
    p, far = correlation.permutation_test(x, y, permuted, scope, statistic)
    found = 0
    for m, k in np.ndindex(p.shape):
        r = correlation.group_values(x[m], y[k], scope, statistic).mean()
        low, high = correlation.interval(float(r), float(far[m, k]))
        assert -1 <= low < r < high <= 1
        assert (low <= 0 <= high) == (p[m, k] > 0.05)
        found += p[m, k] <= 0.05
    assert found >= 2
    few = correlation.permutation_test(x[:1], y[2:3], permuted[:9], scope, statistic)[1]
    assert correlation.interval(0.9, float(few[0, 0])) == (-1, 1)


def test_only_wanted_pairs_are_tested():
    x, y = np.stack([matrix(1), matrix(2)]), np.stack([matrix(3), matrix(4)])
    permuted = resample.permutations(7, 30, 0)
    wanted = np.array([[True, False], [True, True]])
    for statistic in correlation.STATISTICS:
        every = correlation.p_values(x, y, permuted, "pooled", statistic)
        some = correlation.permutation_test(x, y, permuted, "pooled", statistic, wanted)[0]
        np.testing.assert_array_equal(some, np.where(wanted, every, np.nan))


@pytest.mark.parametrize("scope", ["pooled", "per_source"])
@pytest.mark.parametrize("statistic", correlation.STATISTICS)
def test_a_pair_has_the_same_p_among_more_on_either_side(scope, statistic):
    x = np.stack([matrix(1, gaps=((0, 2),)), matrix(2), matrix(3)])
    y = np.stack([matrix(4, step=0.5), matrix(5)])
    permuted = resample.permutations(7, 60, 0)
    found = correlation.p_values(x, y, permuted, scope, statistic)
    for m, k in np.ndindex(3, 2):
        alone = correlation.p_values(x[m : m + 1], y[k : k + 1], permuted, scope, statistic)
        assert found[m, k] == alone[0, 0]


def test_partial_and_beta_equal_least_squares():
    y, x, z = matrix(10, gaps=((0, 2),)), matrix(11), matrix(12)
    x = x + z
    index = qap.cell_index(resample.permutations(7, 50, 0))
    found = mrqap.double_semipartial(y, x, z[None], index)
    used = ~np.eye(7, dtype=bool) & ~np.isnan(y)
    a, b, c = y[used], x[used], z[used]
    rest = [
        v - np.polynomial.Polynomial.fit(c, v, 1)(c) for v in (a, b)
    ]  # residuals of y and x given z
    assert found.partial == pytest.approx(stats.pearsonr(*rest).statistic)
    assert found.n == 41
    design = np.column_stack([np.ones(41), b, c])
    coefficients, residual, *_ = np.linalg.lstsq(design, a, rcond=None)
    assert found.beta == pytest.approx(coefficients[1] * b.std() / a.std())
    sigma = residual[0] / (41 - 3) * np.linalg.inv(design.T @ design)[1, 1]
    assert found.t == pytest.approx(coefficients[1] / np.sqrt(sigma))
    share, n = mrqap.r_squared(y, np.stack([x, z]))
    assert (share, n) == (pytest.approx(1 - residual[0] / (a.var() * 41)), 41)


def test_semipartial_p_equals_a_loop_over_regressions():
    y, x, z = matrix(13, n=6), matrix(14, n=6), matrix(15, n=6)
    permuted = resample.permutations(6, 40, 1)
    off = ~np.eye(6, dtype=bool)

    def t_of(values):
        design = np.column_stack([np.ones(30), values, z[off]])
        beta, residual, *_ = np.linalg.lstsq(design, y[off], rcond=None)
        return beta[1] / np.sqrt(residual[0] / 27 * np.linalg.inv(design.T @ design)[1, 1])

    residual = np.zeros((6, 6))
    residual[off] = x[off] - np.polynomial.Polynomial.fit(z[off], x[off], 1)(z[off])
    extreme = sum(
        abs(t_of(residual[np.ix_(p, p)][off])) >= abs(t_of(x[off])) - 1e-9 for p in permuted
    )
    found = mrqap.double_semipartial(y, x, z[None], qap.cell_index(permuted))
    assert found.p == pytest.approx((1 + extreme) / 41)


def test_table_of_a_perfect_and_a_constant_similarity():
    y = matrix(16)
    gains, similarity = tables_of(y, same=2 * y + 1, constant=np.ones((7, 7)))
    table = correlation_table(matrices(gains, similarity), permutations=199)
    assert tuple(table.columns) == CORRELATION_COLUMNS
    assert len(table) == 2 * 3 * 3
    same = table[table["measure"] == "same"]
    np.testing.assert_allclose(same["value"], 1)
    np.testing.assert_allclose(same["p_permutation"], 1 / 200)
    assert (same["method"] == "table").all()
    constant = table[table["measure"] == "constant"]
    assert constant[["value", "low", "high", "p_permutation", "p_naive", "q"]].isna().all(axis=None)
    assert set(constant["reason"]) == {"similarity is constant"}


def test_one_gain_matrix_that_is_constant_or_empty_gives_reasons():
    names = [f"t{i}" for i in range(5)]
    x = matrix(17, n=5)
    for y, reason in [
        (np.zeros((5, 5)), "gain is constant"),
        (np.full((5, 5), np.nan), "fewer than 3"),
    ]:
        gains, similarity = tables_of(y, some=x)
        table = correlation_table(matrices(gains, similarity), permutations=19)
        assert table["value"].isna().all()
        assert table["reason"].str.contains(reason).all()
        partial = partial_table(matrices(gains, similarity), [("some", "some")], permutations=19)
        assert partial["value"].isna().all()
    assert len(names) == 5


def test_prompt_measures_belong_to_their_method():
    y = matrix(18)
    gains, shared = tables_of(y, visual=matrix(19))
    gains = pd.concat([gains.assign(method="text"), gains.assign(method="visual")])
    _, own = tables_of(y, prompt=y)
    similarity = pd.concat(
        [shared.assign(method=None), own.assign(method="text")], ignore_index=True
    )
    table = correlation_table(
        matrices(gains, similarity),
        scopes=["pooled"],
        statistics=["pearson"],
        permutations=19,
    )
    assert sorted(zip(table["method"], table["measure"], strict=True)) == [
        ("text", "prompt"),
        ("text", "visual"),
        ("visual", "visual"),
    ]


def test_invariance_to_task_order_and_to_monotone_change():
    y, x = matrix(20), matrix(21)
    order = np.random.default_rng(0).permutation(7)
    for scope in qap.SCOPES:
        for statistic in ("spearman", "kendall"):
            plain = correlation.group_values(x, y, scope, statistic).mean()
            moved = correlation.group_values(
                np.exp(x)[np.ix_(order, order)], y[np.ix_(order, order)], scope, statistic
            ).mean()
            assert moved == pytest.approx(plain)
        transposed = {"pooled": "pooled", "per_target": "per_source", "per_source": "per_target"}
        np.testing.assert_allclose(
            correlation.group_values(x.T, y.T, transposed[scope], "kendall"),
            correlation.group_values(x, y, scope, "kendall"),
        )


def test_corrections_run_over_methods_and_measures():
    gains, similarity = tables_of(matrix(22), a=matrix(23), b=matrix(24), c=matrix(25))
    table = correlation_table(matrices(gains, similarity), permutations=99)
    for _, family in table.groupby(["scope", "statistic"]):
        expected = stats.false_discovery_control(family["p_permutation"])
        np.testing.assert_allclose(family["q"], expected)


def test_regression_finds_the_term_that_matters():
    x, z = matrix(26, n=12), matrix(27, n=12)
    y = x + 0.3 * matrix(28, n=12)
    gains, similarity = tables_of(y, visual_cosine=x, label_cosine=z)
    table = regression_table(matrices(gains, similarity), permutations=499).set_index("term")
    assert table.loc["visual_cosine", "p_permutation"] == 1 / 500
    assert table.loc["label_cosine", "p_permutation"] > 0.01
    assert table.loc["visual_cosine", "coefficient"] == pytest.approx(0.95, abs=0.05)
    assert np.ptp(table["r_squared"]) == 0
    collinear = regression_table(
        matrices(*tables_of(y, visual_cosine=x, label_cosine=2 * x)), permutations=9
    )
    assert set(collinear["reason"]) == {"similarity is a linear function of the others"}


def test_bad_input_is_named():
    gains, similarity = tables_of(matrix(0), a=matrix(1))
    with pytest.raises(InputError, match="similarity: column 'measure' is missing"):
        correlation_table(matrices(gains, similarity.drop(columns="measure")))
    with pytest.raises(InputError, match="gains: column 'ceiling_gain' is missing"):
        correlation_table(matrices(gains, similarity, ["ceiling_gain"]))
    with pytest.raises(InputError, match="scope 'overall' is unknown: expected one of pooled"):
        correlation_table(matrices(gains, similarity), scopes=["overall"])
    with pytest.raises(InputError, match="statistic 'phi' is unknown: expected one of pearson"):
        correlation_table(matrices(gains, similarity), statistics=["phi"])


def test_false_positives_are_five_percent_and_naive_ones_are_not():
    """Small fixed-seed version of `python -m speed.calibration`; 2.2 standard errors at 200."""
    table = calibration.false_positives(shuffles=200, permutations=99, seed=2).set_index("test")
    assert table["permutation"].between(0.016, 0.084).all()
    linked = table.index.str.contains("pooled|per_|Mantel")
    assert (table.loc[linked, "naive"] > 0.10).all()


published = os.environ.get("MVLPT_MATRICES_ROOT")


@pytest.mark.skipif(published is None, reason="MVLPT_MATRICES_ROOT is not set: no published data")
def test_published_correlations_of_prompt_transferability():
    frame = check_pairs(
        read_frame(Path(str(published)) / "prompt_transferability_roberta_base.csv")
    )
    frame["gain"] = relative_to_own(frame)
    similarity = frame.melt(
        ["source", "target"],
        ["cosine_concat", "cosine_per_token_mean", "euclid_sim_concat"],
        var_name="measure",
    )
    table = correlation_table(
        matrices(frame, similarity), statistics=["spearman"], permutations=999
    ).set_index(["scope", "measure"])
    assert set(table.loc["pooled", "n"]) == {182}
    for scope, measure, value in [
        ("pooled", "cosine_concat", 0.105),
        ("pooled", "cosine_per_token_mean", 0.011),
        ("per_target", "cosine_per_token_mean", 0.396),
        ("pooled", "euclid_sim_concat", 0.280),
    ]:
        assert round(table.loc[(scope, measure), "value"], 3) == value
