"""Similarities: hand-computable cases, properties, references, and the table."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import softmax

from mvlpt_analysis.association.measures import measure_correlations, measure_overview
from mvlpt_analysis.read.features import read_tasks
from mvlpt_analysis.similarity import measures, transferability, transport
from mvlpt_analysis.similarity.pairs import (
    SIMILARITY_COLUMNS,
    similarity_table,
    task_similarities,
)
from mvlpt_analysis.vocabulary import MEASURES
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.tensors import write_tensors

seeds = st.integers(0, 2**32 - 1)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_cosines_by_hand():
    assert measures.cosine(np.array([3.0, 0]), np.array([1.0, 1])) == pytest.approx(np.sqrt(0.5))
    assert np.isnan(measures.cosine(np.zeros(2), np.ones(2)))
    assert np.isnan(measures.cosine(np.array([np.nan, 1]), np.ones(2)))
    x, y = np.array([[2.0, 0], [0, 2]]), np.array([[0.0, 5]])
    assert measures.mean_cosine(x, y) == pytest.approx(np.sqrt(0.5))


def test_best_match_pairs_classes_and_forgives_extra_ones():
    x = np.eye(3)
    assert measures.best_match(x, x[[2, 0, 1]]) == pytest.approx(1)
    assert measures.best_match(x[:2], x) == pytest.approx(1)
    # Both rows are closest to the first column; only one of them may have it.
    crowded = np.array([[1.0, 0, 0], [1, 0, 0]])
    assert measures.best_match(crowded, x[:2]) == pytest.approx(0.5)


def test_centroids_of_single_and_multi_label_images():
    features = np.array([[1.0, 0], [3, 0], [0, 4]])
    expected = [[2, 0], [0, 4]]
    np.testing.assert_allclose(measures.class_centroids(features, np.array([5, 5, 9])), expected)
    hot = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1]])  # class 1 never occurs
    np.testing.assert_allclose(measures.class_centroids(features, hot), [[2, 0], [1.5, 2]])


def test_shared_names():
    assert measures.shared_names(["Cat", "dog "], ["cat", "DOG"]) == 1
    assert measures.shared_names(["cat", "dog"], ["dog", "cow", "hen"]) == 0.25
    assert measures.shared_names(["cat"], ["dog"]) == 0


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_symmetry_self_similarity_and_invariance(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(7, 5)) + 0.5, rng.normal(size=(4, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    for f in (
        measures.mean_cosine,
        measures.best_match,
        lambda a, b: measures.prompt_tokens([a], [b]),
        lambda a, b: -transport.squared_mmd(a, b, 1.3),
    ):
        assert f(x, y) == pytest.approx(f(y, x))
        assert f(x @ turn, y @ turn) == pytest.approx(f(x, y))
        assert f(x[::-1], y) == pytest.approx(f(x, y))
    assert measures.mean_cosine(x, x) == pytest.approx(1)
    assert measures.best_match(x, x[::-1]) == pytest.approx(1)


def test_prompt_cosines_by_hand():
    a = np.array([[1.0, 0], [0, 1]])
    b = np.array([[0.0, 2], [3, 0]])
    assert measures.prompt_concat([a], [a]) == pytest.approx(1)
    assert measures.prompt_concat([a], [b]) == 0
    # Vectors in another order, and of other lengths: the same pairs of directions.
    assert measures.prompt_tokens([a], [b]) == pytest.approx(0.5)
    assert measures.prompt_tokens([a], [a]) == pytest.approx(0.5)
    deep = np.stack([a, -a])  # two layers
    assert measures.prompt_tokens([deep], [np.stack([a, a])]) == pytest.approx(0)


def test_mmd_equals_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))

    def k(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * 0.7**2))

    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert transport.squared_mmd(x, y, 0.7) == pytest.approx(xx + yy - 2 * xy)
    assert np.isnan(transport.squared_mmd(x[:1], y, 0.7))
    assert transport.median_bandwidth(np.array([[0.0], [1], [3]])) == 2
    assert transport.median_bandwidth(np.zeros((3, 2))) == 1


def test_otdd_is_the_linear_program_of_transport():
    rng = np.random.default_rng(1)
    x = transport.label_moments(rng.normal(size=(6, 3)), np.array([0, 0, 0, 1, 1, 1]))
    y = transport.label_moments(rng.normal(size=(6, 3)) + 1, np.array([4, 4, 7, 7, 9, 9]))
    cost = np.array(
        [
            [
                ((x.features[i] - y.features[j]) ** 2).sum()
                + ((x.means[x.labels[i]] - y.means[y.labels[j]]) ** 2).sum()
                + ((x.deviations[x.labels[i]] - y.deviations[y.labels[j]]) ** 2).sum()
                for j in range(6)
            ]
            for i in range(6)
        ]
    )
    rows = np.kron(np.eye(6), np.ones(6))
    columns = np.kron(np.ones(6), np.eye(6))
    plan = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.full(12, 1 / 6))
    assert transport.otdd(x, y) == pytest.approx(np.sqrt(plan.fun))
    assert transport.otdd(x, y) == pytest.approx(transport.otdd(y, x))
    assert transport.otdd(x, x) == pytest.approx(0, abs=1e-7)
    with pytest.raises(ValueError, match="equal sizes"):
        transport.otdd(x, transport.fixed_size(y, 5, 0))


def test_fixed_size_repeats_each_image_as_often_or_once_more():
    x = transport.label_moments(np.arange(5.0)[:, None], np.zeros(5, int))
    counts = np.unique(transport.fixed_size(x, 12, 0).features, return_counts=True)[1]
    assert sorted(counts) == [2, 2, 2, 3, 3]
    assert len(transport.fixed_size(x, 3, 0).features) == 3


def test_leep_by_hand():
    # Source class 0 always means target class 0, source class 1 always target class 1.
    certain = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert transferability.leep(certain, np.array([0, 0, 1])) == pytest.approx(0)
    # A source that says nothing: the target's class shares remain.
    blind = np.full((4, 2), 0.5)
    expected = np.mean(np.log([0.75, 0.75, 0.75, 0.25]))
    assert transferability.leep(blind, np.array([3, 3, 3, 8])) == pytest.approx(expected)


def test_h_score_by_definition():
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    means = np.array([features[labels == y].mean(0) for y in labels])
    inverse = np.linalg.inv(np.cov(features.T, bias=True))
    expected = np.trace(inverse @ np.cov(means.T, bias=True))
    assert transferability.h_score(features, labels) == pytest.approx(expected)
    # Invariant to invertible maps, and 0 where all features are equal.
    mixed = features @ rng.normal(size=(3, 3))
    assert transferability.h_score(mixed, labels) == pytest.approx(expected)
    assert transferability.h_score(np.ones((40, 3)), labels) == 0


@pytest.mark.parametrize("size", [3, 12])
def test_log_me_is_the_evidence_at_its_maximum(size):
    rng = np.random.default_rng(3)
    f = rng.normal(size=(8, size))
    y = (rng.random(8) < 0.5).astype(float)

    def evidence(alpha, beta):
        cov = np.eye(8) / beta + f @ f.T / alpha
        return -0.5 * (y @ np.linalg.solve(cov, y) + np.linalg.slogdet(2 * np.pi * cov)[1]) / 8

    found = transferability.log_me(f, np.stack([y], 1), iterations=2000)
    grid = np.exp(np.linspace(-6, 12, 91))
    best = max(evidence(a, b) for a in grid for b in grid)
    assert found == pytest.approx(best, abs=0.02)
    assert np.isnan(transferability.log_me(f, np.zeros(8)))


def test_features_that_fit_labels_score_higher():
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(4), 20)
    good = np.eye(4)[labels] + 0.1 * rng.normal(size=(80, 4))
    noise = rng.normal(size=(80, 4))
    for f in (transferability.log_me, transferability.h_score):
        assert f(good, labels) > f(noise, labels)
    assert transferability.leep(softmax(9 * good, axis=1), labels) > transferability.leep(
        softmax(noise, axis=1), labels
    )


def write_task(folder, name, seed, classnames, multi=False, **changes):
    """The test features and the sample features of a task."""
    rng = np.random.default_rng(seed)
    c, d = len(classnames), 6
    labels = np.repeat(np.arange(c), 5)
    images = unit(rng.normal(size=(c, d))[labels] + 0.2 * rng.normal(size=(5 * c, d)))
    stored = np.eye(c, dtype=np.uint8)[labels] if multi else labels
    texts = {
        "class_features": unit(rng.normal(size=(c, d))).astype(np.float32),
        "text_features": unit(rng.normal(size=(c, d))).astype(np.float32),
    }
    sample = {"train_features": images.astype(np.float32), "train_labels": stored}
    meta = {"name": name, "classnames": classnames, "logit_scale": 20.0}
    paths = folder / f"{name}_test.safetensors", folder / f"{name}_sample.safetensors"
    write_tensors(paths[0], "task", meta, texts | changes)
    write_tensors(paths[1], "task", {"name": name}, sample)
    return paths


def table_of(files, prompts=(), seed=0):
    """The similarity table of tasks, each given as its two files."""
    return similarity_table([f[0] for f in files], [f[1] for f in files], prompts, seed)


def write_prompt(folder, method, task, seed, tensors, **header):
    path = folder / f"{method}_{task}_{seed}.safetensors"
    meta = {"method": method, "group": task, "seed": seed, "status": "ok"} | header
    write_tensors(path, "prompt", meta, tensors)
    return path


@pytest.fixture
def files(tmp_path):
    return [
        write_task(tmp_path, "a", 0, ["cat", "dog", "cow"]),
        write_task(tmp_path, "b", 1, ["cat", "hen"], multi=True),
        write_task(tmp_path, "c", 2, ["red", "blue", "green", "pink"]),
        write_task(tmp_path, "d", 3, ["one", "two"]),
    ]


def test_table_holds_every_measure_of_every_pair(files, tmp_path):
    rng = np.random.default_rng(5)
    prompts = [
        write_prompt(
            tmp_path,
            "unified",
            task,
            seed,
            {
                "text": rng.normal(size=(2, 4)),
                "visual": rng.normal(size=(3, 2, 4)),
                "coupler.weight": np.ones(3),
                "start:text": rng.normal(size=(2, 4)),
                "start:visual": rng.normal(size=(3, 2, 4)),
            },
        )
        for task in "abcd"
        for seed in (1, 2)
    ]
    table = table_of(files, prompts)
    assert tuple(table.columns) == SIMILARITY_COLUMNS
    assert set(table["measure"]) == set(MEASURES)
    assert len(table) == len(MEASURES) * 16
    assert table["value"].notna().all()
    own = table["measure"].str.startswith("prompt")
    assert (table.loc[own, "method"] == "unified").all()
    assert table.loc[~own, "method"].isna().all()
    for name, frame in table.groupby("measure"):
        matrix = frame.pivot_table(index="source", columns="target", values="value").to_numpy()
        measure = MEASURES[name]
        assert (matrix >= measure.low - 1e-9).all()
        assert (matrix <= measure.high + 1e-9).all()
        assert np.allclose(matrix, matrix.T) == measure.symmetric
        if name in ("visual_cosine", "label_match", "label_shared", "prompt_cosine_concat"):
            np.testing.assert_allclose(np.diag(matrix), 1)
        if name in ("visual_mmd", "joint_otdd"):
            np.testing.assert_allclose(np.diag(matrix), 0, atol=1e-6)
    shared = table[table["measure"] == "label_shared"].set_index(["source", "target"])["value"]
    assert shared["a", "b"] == 0.25


def test_table_does_not_depend_on_the_order_of_files(files):
    keys = ["source", "target", "measure"]
    forward = table_of(files).sort_values(keys, ignore_index=True)
    backward = table_of(files[::-1]).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(forward, backward)


def test_a_new_task_compares_with_the_study(files):
    whole = table_of(files).set_index(["source", "target", "measure"])["value"]
    *known, last = read_tasks([f[0] for f in files], [f[1] for f in files])
    new = task_similarities(known, new=last)
    assert set(new["target"]) == {"d"}
    for row in new.itertuples():
        if row.measure != "visual_mmd":  # its bandwidth is the study's
            assert row.value == pytest.approx(whole[row.source, "d", row.measure])


def test_prompts_are_compared_by_what_tuning_changed_and_by_their_best_matches(tmp_path):
    files = [write_task(tmp_path, task, 2, ["one", "two"]) for task in "ab"]
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
    turned = vectors[::-1].copy()
    prompts = [
        write_prompt(tmp_path, "text", "a", 1, {"text": vectors, "start:text": 0 * vectors}),
        write_prompt(tmp_path, "text", "b", 1, {"text": turned, "start:text": turned - vectors}),
    ]
    table = table_of(files, prompts).set_index(["source", "target", "measure"])["value"]
    assert table["a", "b", "prompt_cosine_concat"] == 0
    assert table["a", "b", "prompt_cosine_change"] == pytest.approx(1)  # both changed by `vectors`
    assert table["a", "b", "prompt_match_tokens"] == pytest.approx(1)  # the same vectors
    one = measures.prompt_match([vectors], [np.array([[1.0, 0.0], [1.0, 0.0]])])
    assert one == pytest.approx((1 + 0.5) / 2)  # all of one side have a match, half of the other
    unknown = [write_prompt(tmp_path / "old", "text", task, 1, {"text": vectors}) for task in "ab"]
    old = table_of(files, unknown).set_index(["source", "target", "measure"])["value"]
    assert np.isnan(old["a", "b", "prompt_cosine_change"])


def test_diverged_prompts_are_undefined_and_others_average_over_common_seeds(tmp_path):
    ones, other = {"text": np.ones((1, 2))}, {"text": np.array([[1.0, 0]])}
    lost = {"text": np.full((1, 2), np.nan)}
    prompts = [
        write_prompt(tmp_path, "text", "a", 1, ones),
        write_prompt(tmp_path, "text", "a", 2, ones),
        write_prompt(tmp_path, "text", "b", 1, other),
        write_prompt(tmp_path, "text", "b", 2, ones, status="diverged"),
        write_prompt(tmp_path, "text", "c", 1, lost),
    ]
    files = [write_task(tmp_path, name, i, ["x", "y"]) for i, name in enumerate("abc")]
    table = table_of(files, prompts)
    values = table[table["measure"] == "prompt_cosine_concat"].set_index(["source", "target"])[
        "value"
    ]
    assert values["a", "b"] == pytest.approx(np.sqrt(0.5))
    assert np.isnan(values["a", "c"])
    with pytest.raises(InputError, match="task 'a', seed 1 occurs more than once"):
        table_of(files, [prompts[0], prompts[0]])


def test_overview_and_correlations_of_measures(files):
    table = table_of(files)
    overview = measure_overview(table).set_index("measure")
    assert not overview.loc["leep", "symmetric"]
    assert overview.loc["leep", "asymmetry"] > 0
    assert overview.loc["visual_cosine", "asymmetry"] == 0
    assert (overview["n_pairs"] == 12).all()
    foreign = table[table["measure"] == "leep"].assign(measure="theirs").drop(columns="method")
    assert measure_overview(foreign).iloc[0][["kind", "symmetric"]].tolist() == ["other", False]
    pairs = measure_correlations(table, permutations=50)
    assert len(pairs) == 10 * 9 / 2
    assert pairs["spearman"].abs().max() <= 1
    same = measure_correlations(
        pd.concat([foreign, foreign.assign(measure="twice", value=2 * foreign["value"])])
    ).iloc[0]
    assert (same["a"], same["b"], same["spearman"]) == ("theirs", "twice", 1)


def test_a_table_read_from_csv_is_as_good(files, tmp_path):
    table = table_of(files)
    table.to_csv(tmp_path / "similarity.csv", index=False)  # all methods missing: floats
    again = pd.read_csv(tmp_path / "similarity.csv")
    pd.testing.assert_frame_equal(measure_overview(again), measure_overview(table))
    pd.testing.assert_frame_equal(
        measure_correlations(again, permutations=9), measure_correlations(table, permutations=9)
    )


def test_unusable_files_are_named(files, tmp_path):
    with pytest.raises(InputError, match="task 'a' are given twice"):
        table_of([files[0], files[0]])
    with pytest.raises(InputError, match=r"gone\.safetensors: no such file"):
        table_of([(tmp_path / "gone.safetensors", files[0][1])])
    with pytest.raises(InputError, match="task 'a' has no features of a sample"):
        similarity_table([files[0][0]], [files[1][1]])
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"xx")
    with pytest.raises(InputError, match=r"broken\.safetensors: not a task file"):
        table_of([(broken, files[0][1])])
    flipped = bytearray(files[0][1].read_bytes())
    flipped[-1] ^= 1
    broken.write_bytes(flipped)
    with pytest.raises(InputError, match=r"broken\.safetensors: not what was written"):
        table_of([(files[0][0], broken)])
    prompt = write_prompt(tmp_path, "text", "a", 1, {"text": np.ones((1, 2))})
    with pytest.raises(InputError, match="has no header 'task'"):
        table_of([(files[0][0], prompt)])
    with pytest.raises(InputError, match="has no header 'prompt'"):
        table_of(files, [files[0][0]])
    odd = write_task(tmp_path, "odd", 0, ["x"], class_features=np.ones((2, 6), np.float32))
    with pytest.raises(InputError, match=r"'class_features' is \(2, 6\): expected \(1, 6\)"):
        table_of([odd])
    with pytest.raises(InputError, match="no feature files"):
        table_of([])
