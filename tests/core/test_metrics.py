"""Metrics against scikit-learn, against cases done by hand, and their properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, precision_recall_curve, roc_auc_score

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.metrics import check_metric, predictions, score, weighted_scores


def draw(
    seed: int, runs: tuple[int, ...], n: int, c: int
) -> tuple[np.ndarray, np.random.Generator]:
    """Logits with many ties (one decimal), and the generator for the labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*runs, n, c)).round(1), rng


def naive_ap(truth: np.ndarray, s: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(truth, s)
    # The curve's last point (recall 0, precision 1) is a convention and no operating point.
    precision, recall = precision[:-1], recall[:-1]
    levels = [k / 10 for k in range(11)]
    return float(np.mean([precision[recall >= level - 1e-9].max() for level in levels]))


@pytest.mark.parametrize("runs", [(), (3,), (2, 5)])
def test_accuracy_and_mean_per_class(runs: tuple[int, ...]) -> None:
    logits, rng = draw(0, runs, 11, 7)
    labels = rng.integers(0, 5, 11)  # two classes never occur
    for index in np.ndindex(runs):
        predicted = logits[index].argmax(-1)
        assert score("accuracy", logits, labels)[index] == pytest.approx(
            (predicted == labels).mean()
        )
        recalls = [(predicted[labels == c] == c).mean() for c in np.unique(labels)]
        got = score("mean_per_class", logits, labels)[index]
        assert got == pytest.approx(np.mean(recalls))
        seen = np.where(np.isin(predicted, labels), predicted, labels.min())
        if (seen == predicted).all():  # sklearn warns about classes that are only predicted
            assert got == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_mean_per_class_by_hand_and_sklearn() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 2, 2]), np.array([[0, 0, 1, 1, 2, 0]])
    found = weighted_scores("mean_per_class", predicted, labels, np.ones((1, 6)))
    assert found[0] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert balanced_accuracy_score(labels, predicted[0]) == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)


def test_predictions_give_the_same_scores() -> None:
    logits, rng = draw(1, (3,), 11, 7)
    labels = rng.integers(0, 7, 11)
    predicted = predictions(logits)
    assert predicted.dtype == np.uint16
    for metric in ("accuracy", "mean_per_class"):
        np.testing.assert_array_equal(
            weighted_scores(metric, predicted, labels, np.ones((1, 11)))[0],
            score(metric, logits, labels),
        )
    assert predictions(np.zeros((2, 300)))[0] == 0  # the first of equal logits
    with pytest.raises(InputError, match="65537 classes"):
        predictions(np.zeros((1, 65537)))


def test_map_by_hand() -> None:
    # One class, ranking + - + -: precision 1 up to recall 0.5, then 2/3.
    logits = np.array([[0.9], [0.8], [0.7], [0.1]])
    labels = np.array([[1], [0], [1], [0]])
    assert score("map_11point", logits, labels) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    # All equal: only recall 1 at precision 1/2 exists.
    assert score("map_11point", np.zeros((4, 1)), labels) == pytest.approx(0.5)
    # A class without positives does not count.
    wide = np.hstack([logits, logits]), np.hstack([labels, 0 * labels])
    assert score("map_11point", *wide) == pytest.approx((6 + 10 / 3) / 11)


@pytest.mark.parametrize("runs", [(), (3,), (2, 2)])
@pytest.mark.parametrize("n", [2, 11, 90])
def test_map_against_curve(runs: tuple[int, ...], n: int) -> None:
    logits, rng = draw(n, runs, n, 7)
    labels = (rng.random((n, 7)) < 0.4).astype(np.uint8)
    labels[0, 0] = 1
    labels[:, 6] = 0
    used = np.flatnonzero(labels.any(0))
    got = score("map_11point", logits, labels)
    assert got.shape == runs
    for index in np.ndindex(runs):
        want = np.mean([naive_ap(labels[:, c], logits[index][:, c]) for c in used])
        assert got[index] == pytest.approx(want)


@pytest.mark.parametrize("runs", [(), (3,), (2, 2)])
def test_roc_auc_against_sklearn(runs: tuple[int, ...]) -> None:
    logits, rng = draw(2, runs, 31, 2)
    labels = rng.integers(0, 2, 31)
    got = score("roc_auc", logits, labels)
    assert got.shape == runs
    for index in np.ndindex(runs):
        z = logits[index]
        assert got[index] == pytest.approx(roc_auc_score(labels, z[:, 1] - z[:, 0]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 40))
def test_properties(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-4, 5, (2, n, 3)).astype(float)  # whole numbers: ties survive transforms
    multi = rng.integers(0, 2, (n, 3))
    multi[0] = 1
    order = rng.permutation(n)
    ap = score("map_11point", logits, multi)
    np.testing.assert_allclose(score("map_11point", np.exp(logits), multi), ap)
    np.testing.assert_allclose(score("map_11point", logits[:, order], multi[order]), ap)
    assert ((ap > 0) & (ap <= 1)).all()
    assert score("map_11point", multi, multi) == 1
    pair, truth = logits[..., :2], np.r_[0, 1, multi[2:, 0]]
    auc = score("roc_auc", pair, truth)
    np.testing.assert_allclose(score("roc_auc", 3 * pair + 7, truth), auc)
    np.testing.assert_allclose(score("roc_auc", pair[..., ::-1], truth), 1 - auc)
    np.testing.assert_allclose(score("roc_auc", pair[:, order], truth[order]), auc)


def test_nan_marks_its_run_alone_and_minus_infinity_is_legal() -> None:
    logits, rng = draw(3, (3,), 11, 4)
    labels = rng.integers(0, 3, 11)
    logits[..., 3] = -np.inf
    plain = score("accuracy", logits[..., :3], labels)
    logits[1, 5, 2] = np.nan
    got = score("accuracy", logits, labels)
    assert np.isnan(got[1])
    np.testing.assert_array_equal(got[[0, 2]], plain[[0, 2]])
    assert score("roc_auc", [[-np.inf, 0.0], [0.0, 1.0]], [1, 0]) == 1


@pytest.mark.parametrize(
    ("metric", "n_classes", "multilabel", "message"),
    [
        ("f1", 3, False, r"metric 'f1' of task x is unknown: expected one of accuracy"),
        ("accuracy", 3, True, r"'accuracy' of task x does not fit multi-label data"),
        ("map_11point", 3, False, r"'map_11point' of task x needs multi-label data"),
        ("roc_auc", 3, False, r"'roc_auc' of task x needs exactly 2 classes, but there are 3"),
    ],
)
def test_metric_must_fit_labels(
    metric: str, n_classes: int, multilabel: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_metric(metric, n_classes, multilabel, "task x")


def test_undefined_scores() -> None:
    with pytest.raises(InputError, match="no image has a positive"):
        score("map_11point", np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(InputError, match="all images are of one class"):
        score("roc_auc", np.zeros((2, 2)), np.zeros(2, int))
    with pytest.raises(InputError, match="hold no images"):
        score("accuracy", np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(InputError, match="do not fit logits"):
        score("accuracy", np.zeros((3, 2)), np.zeros(2, int))
    with pytest.raises(InputError, match="metric 'recall' is unknown"):
        weighted_scores("recall", np.zeros((1, 2)), np.zeros(2, int), np.ones((1, 2)))
