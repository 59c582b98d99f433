"""The linear probe: one minimum, started from zero-shot."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.metrics import score
from mvlpt_core.contract.outcomes import decode
from mvlpt_core.contract.rows import read_rows
from mvlpt_core.contract.tensors import write_tensors
from mvlpt_core.features import targets
from mvlpt_core.probe import SPREAD, SPREADS, fit, probe_tasks, read_task
from mvlpt_core.tasks.prepare import KIND

SCALE = 12.5


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def drawn(n=77, classes=4, size=5, seed=0, noise=1.0):
    """Unit features [n, size], labels [n] and text features [classes, size]; classes overlap."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((classes, size)))
    y = np.arange(n) % classes
    x = unit(centres[y] + noise * rng.standard_normal((n, size)))
    return x, y, unit(centres + rng.standard_normal((classes, size)))


def objective(weights, x, weights_of_classes, text, scale, spread):
    """By the formula of the module, image by image."""
    total = 0.0
    for feature, goal in zip(x, weights_of_classes, strict=True):
        z = scale * weights @ feature
        total -= float(goal @ (z - np.log(np.exp(z).sum())))
    pull = scale**2 / (2 * len(x) * spread**2) * ((weights - text) ** 2).sum()
    return total / len(x) + pull


def test_without_a_pull_it_is_logistic_regression():
    x, y, text = drawn()
    probe = fit(x, torch.from_numpy(y), text, SCALE, default=np.inf)
    known = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    known.fit(x, y)
    # A vector added to all classes alike changes no probability: compare what is left.
    found = SCALE * (probe.weights - probe.weights.mean(0))
    assert_allclose(found, known.coef_ - known.coef_.mean(0), atol=2e-3)


def test_around_zero_it_is_logistic_regression_with_a_penalty():
    x, y, text = drawn(seed=1)
    probe = fit(x, torch.from_numpy(y), np.zeros_like(text), SCALE, default=1.7)
    # sklearn: C sum of cross entropies + |U|^2 / 2, U the weights of the logits.
    known = LogisticRegression(C=1.7**2, fit_intercept=False, tol=1e-10, max_iter=10_000)
    known.fit(x, y)
    assert_allclose(SCALE * probe.weights, known.coef_, atol=1e-4)


@pytest.mark.parametrize("multilabel", [False, True])
def test_no_other_weights_have_a_lower_objective(multilabel):
    x, y, text = drawn(n=31, seed=2)
    hot = np.eye(4, dtype=int)[y]
    if multilabel:
        hot[::3, 1] = 1  # two classes where the label is another
        hot[5] = 0  # and an image without any
    goal = targets(hot if multilabel else y)
    share = hot / np.maximum(hot.sum(1, keepdims=True), 1)
    probe = fit(x, goal, text, SCALE, default=3.0)
    least = objective(probe.weights, x, share, text, SCALE, 3.0)
    assert_allclose(probe.objective[-1], least, rtol=1e-6)
    assert_allclose(probe.objective[0], objective(text, x, share, text, SCALE, 3.0), rtol=1e-6)
    rng = np.random.default_rng(3)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(20):
            other = probe.weights + size * rng.standard_normal(text.shape)
            assert objective(other, x, share, text, SCALE, 3.0) > least


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    classes=st.integers(2, 7),
    size=st.integers(2, 9),
    seed=st.integers(0, 999),
    spread=st.sampled_from(SPREADS),
    single=st.booleans(),
)
def test_the_objective_never_rises(n, classes, size, seed, spread, single):
    x, y, text = drawn(n, classes, size, seed)
    kind = np.float32 if single else np.float64
    args = (x.astype(kind), torch.from_numpy(y), text.astype(kind), SCALE)
    probe = fit(*args, default=spread)
    assert (np.diff(probe.objective) <= 0).all()
    assert probe.steps == len(probe.objective) - 1
    again = fit(*args, default=spread)
    assert (probe.weights == again.weights).all()


def test_a_tight_pull_leaves_zero_shot():
    x, y, text = drawn()
    assert_allclose(fit(x, torch.from_numpy(y), text, SCALE, default=1e-4).weights, text, atol=1e-6)


def test_the_validation_part_chooses_the_spread():
    x, y, text = drawn(n=120, size=9, noise=1.5, seed=5)
    goal = torch.from_numpy(y)
    parts = {"val": x[60:], "val_goal": goal[60:]}
    chosen = fit(x[:60], goal[:60], text, SCALE, **parts)

    def loss(probe):
        z = SCALE * x[60:] @ probe.weights.T
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(60), y[60:]]))

    alone = {spread: fit(x[:60], goal[:60], text, SCALE, default=spread) for spread in SPREADS}
    best = min(SPREADS, key=lambda spread: loss(alone[spread]))
    assert best not in (SPREADS[0], SPREADS[-1])
    assert chosen.spread == best
    assert_allclose(chosen.weights, alone[best].weights, atol=1e-4)
    empty = {"val": x[:0], "val_goal": goal[:0]}
    assert fit(x, goal, text, SCALE, **empty).spread == SPREAD


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": np.zeros((0, 5)), "goal": torch.zeros(0, dtype=torch.int64)}, "no training"),
        ({"goal": torch.zeros(3, dtype=torch.int64)}, "do not fit 3 targets"),
        ({"text": np.zeros((4, 6))}, "do not fit"),
        ({"default": 0.0}, "must be above 0"),
        ({"scale": -1.0}, "must be above 0"),
        ({"train": np.full((77, 5), np.nan)}, "no numbers"),
    ],
)
def test_what_has_no_probe_is_named(change, words):
    x, y, text = drawn()
    good = {"train": x, "goal": torch.from_numpy(y), "text": text, "scale": SCALE}
    with pytest.raises(InputError, match=words):
        fit(**good | change)


def task_files(folder: Path, name="t", metric="accuracy", val=8, **headers):
    """Files of a task in the layout that preparation and encoding leave."""
    x, y, text = (a.astype(np.float32) if a.dtype == float else a for a in drawn(n=97, noise=0.6))
    if metric == "map_11point":
        y = np.eye(4, dtype=np.uint8)[y] | np.eye(4, dtype=np.uint8)[y[::-1]]
    files = {
        key: folder / f"{name}_{key}.safetensors"
        for key in ("test", "sample", "test_features", "sample_features")
    }
    about = {"name": name, "backbone_digest": "b"}
    rest = {
        "test": ({"metric": metric}, {"labels": y[40:]}),
        "sample": ({}, {"labels": y[:40], "train": np.arange(val, 40), "val": np.arange(val)}),
        "test_features": ({"logit_scale": SCALE}, {"test_features": x[40:], "text_features": text}),
        "sample_features": ({}, {"train_features": x[:40]}),
    }
    for key, (header, tensors) in rest.items():
        write_tensors(files[key], KIND, {**about, **header, **headers.get(key, {})}, tensors)
    return files, x[40:], y[40:], text


@pytest.mark.parametrize("metric", ["accuracy", "map_11point"])
def test_score_rows_begin_with_zero_shot_and_select_the_fit(tmp_path, metric):
    files, x, y, text = task_files(tmp_path, metric=metric)
    out = tmp_path / "rows.parquet"
    probe_tasks({"t": files}, {"t": out}, shots=10, seed=3, provenance={"study": "s"})
    rows = read_rows([out]).to_pandas()
    assert len(rows) == 2
    for key, value in {
        **{"study": "s", "method": "linear_probe", "group": "t", "start": "zero_shot"},
        **{"target": "t", "shots": 10, "seed": 3, "split": "test", "n": 57, "metric": metric},
    }.items():
        assert (rows[key] == value).all(), key
    assert rows["selected"].tolist() == [False, True]
    assert rows["step"].iloc[0] == 0
    assert rows["step"].iloc[1] > 0
    zero = (torch.tensor(SCALE) * torch.from_numpy(x) @ torch.from_numpy(text).T).numpy()
    assert rows["score"].iloc[0] == score(metric, zero, y)
    assert rows["loss"].iloc[1] < rows["loss"].iloc[0]
    kept = decode(rows["outcomes"].iloc[0], rows["outcome_kind"].iloc[0], 57, "row")
    assert (kept == (zero.argmax(1) if metric == "accuracy" else zero)).all()
    kept = decode(rows["outcomes"].iloc[1], rows["outcome_kind"].iloc[1], 57, "row")
    if metric == "accuracy":
        assert rows["score"].iloc[1] == np.mean(kept == y)
        assert rows["score"].iloc[1] > rows["score"].iloc[0]
    else:
        assert rows["score"].iloc[1] == score(metric, kept, y)


def test_one_shot_has_no_validation_part(tmp_path):
    files, *_ = task_files(tmp_path, val=0)
    assert len(read_task("t", **files).val) == 0
    probe_tasks({"t": files}, {"t": tmp_path / "o.parquet"}, shots=1, seed=1, provenance={})


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"sample": {"name": "u"}}, r"t_sample\.safetensors: is of task 'u': expected 't'"),
        ({"sample_features": {"backbone_digest": "c"}}, "another backbone"),
    ],
)
def test_files_that_do_not_fit_one_another_are_named(tmp_path, headers, words):
    files, *_ = task_files(tmp_path, **headers)
    with pytest.raises(InputError, match=words):
        read_task("t", **files)
