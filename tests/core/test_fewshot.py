"""Few-shot samples: counts, nesting, determinism, multi-label, and classes that are too small."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.fewshot import held_out, sample_few_shot, sample_test

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(7), 11))


def test_counts_and_no_overlap() -> None:
    for shots, val in [(1, 0), (2, 1), (5, 1), (8, 2), (11, 2)]:
        sample = sample_few_shot(LABELS, 7, shots, 0.2, 1)
        assert (np.bincount(LABELS[sample.train], minlength=7) == shots - val).all()
        assert (np.bincount(LABELS[sample.val], minlength=7) == val).all()
        assert not set(sample.train) & set(sample.val)
        assert sample.train.dtype == sample.val.dtype == np.int64
    assert len(sample_few_shot(LABELS, 7, 8, 0, 1).val) == 0


def test_a_number_of_shots_that_no_class_has_ends() -> None:
    all_of = sample_few_shot(LABELS, 7, 2**31 - 1, 0.2, 1, short_classes="use_all")
    assert sorted([*all_of.train, *all_of.val]) == list(range(77))


@given(share=st.floats(0, 0.99))
def test_held_out_grows_by_at_most_one(share: float) -> None:
    counts = [held_out(n, share) for n in range(40)]
    assert all(0 <= b - a <= 1 for a, b in pairwise(counts))
    assert counts[1] == 0
    assert all(0 < c < n for n, c in enumerate(counts) if n > 1) or share == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    few=st.integers(1, 6),
    more=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.2, 0.5]),
    multi=st.booleans(),
)
def test_fewer_shots_are_a_prefix_of_more(
    seed: int, few: int, more: int, share: float, multi: bool
) -> None:
    labels = LABELS
    if multi:
        labels = (np.random.default_rng(seed).random((77, 7)) < 0.4).astype(np.uint8)
    a = sample_few_shot(labels, 7, few, share, seed)
    b = sample_few_shot(labels, 7, few + more, share, seed, short_classes="use_all")
    np.testing.assert_array_equal(a.train, b.train[: len(a.train)])
    np.testing.assert_array_equal(a.val, b.val[: len(a.val)])


def test_depends_on_seed_and_task_alone() -> None:
    one = sample_few_shot(LABELS, 7, 4, 0.2, 1, task="a")
    assert (one.train == sample_few_shot(LABELS, 7, 4, 0.2, 1, task="a").train).all()
    assert (one.train != sample_few_shot(LABELS, 7, 4, 0.2, 2, task="a").train).any()
    assert (one.train != sample_few_shot(LABELS, 7, 4, 0.2, 1, task="b").train).any()
    # Other classes' images do not matter: dropping class 6 leaves the others' draws.
    kept = np.flatnonzero(LABELS < 6)
    rest = sample_few_shot(LABELS[kept], 6, 4, 0.2, 1, task="a")
    assert set(kept[rest.train]) == {i for i in one.train if LABELS[i] < 6}


def test_same_sample_in_another_process() -> None:
    program = (
        "import numpy as np; from mvlpt_core.tasks.fewshot import sample_few_shot as f;"
        "s = f(np.arange(77) % 7, 7, 3, 0.2, 5, task='x'); print(*s.train, *s.val)"
    )
    sample = sample_few_shot(np.arange(77) % 7, 7, 3, 0.2, 5, task="x")
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(i) for i in run.stdout.split()] == [*sample.train, *sample.val]
    # Pinned: a change of these numbers makes published samples irreproducible.
    assert sample.val.tolist() == [35, 36, 37, 59, 60, 19, 41]


def test_multilabel_reaches_shots_in_every_class() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random((200, 5)) < 0.3).astype(np.uint8)
    for shots in (1, 2, 5, 8):
        sample = sample_few_shot(labels, 5, shots, 0.2, 1)
        both = np.r_[sample.train, sample.val]
        assert len(set(both)) == len(both) <= 5 * shots
        assert (labels[both].sum(0) >= shots).all()
        assert (labels[sample.val].sum(0) >= held_out(shots, 0.2)).all()
        assert labels[both].any(1).all()  # no image without a positive


def test_multilabel_image_serves_all_its_classes() -> None:
    labels = np.ones((4, 3), np.uint8)
    assert len(sample_few_shot(labels, 3, 1, 0.2, 1).train) == 1
    # Class 1 is positive only where class 0 is; both reach two positives with two images.
    assert len(sample_few_shot(labels[:, :2], 2, 2, 0.0, 1).train) == 2


def test_multilabel_class_whose_positives_are_taken() -> None:
    labels = np.array([[1, 1], [0, 1], [1, 0], [1, 0]], np.uint8)
    sample = sample_few_shot(labels, 2, 2, 0.5, 0)
    assert (labels[np.r_[sample.train, sample.val]].sum(0) >= 2).all()


def test_short_class_is_an_error_that_offers_both_ways_out() -> None:
    labels = np.array([0] * 9 + [1] * 2 + [2] * 5)
    with pytest.raises(InputError) as caught:
        sample_few_shot(labels, 3, 6, 0.2, 1, task="cells", classnames=["a", "basophil", "c"])
    assert str(caught.value) == (
        "class 'basophil' of task cells has only 2 training images but shots is 6: "
        "expected shots of at most 2, or short_classes: use_all, which takes all that such a "
        "class has"
    )
    sample = sample_few_shot(labels, 3, 6, 0.2, 1, short_classes="use_all")
    assert np.bincount(labels[sample.train]).tolist() == [5, 1, 4]
    assert np.bincount(labels[sample.val]).tolist() == [1, 1, 1]
    assert len(sample_few_shot(labels, 3, 2, 0.2, 1).train) == 3


def test_class_without_images_is_always_an_error() -> None:
    for short_classes in ("error", "use_all"):
        with pytest.raises(InputError, match="class number 1 of the sample has no training"):
            sample_few_shot(np.array([0, 2]), 3, 1, 0.2, 1, short_classes=short_classes)


@pytest.mark.parametrize(
    ("shots", "val_share", "short", "message"),
    [
        (0, 0.2, "error", "shots is 0"),
        (1, 1.0, "error", "val_share is 1.0"),
        (1, -0.1, "error", "val_share is -0.1"),
        (1, 0.2, "skip", "short_classes is 'skip': expected one of error, use_all"),
    ],
)
def test_bad_settings(shots: int, val_share: float, short: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample_few_shot(LABELS, 7, shots, val_share, 1, short_classes=short)


def test_capped_test_split_keeps_proportions_and_nests() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    small, large = sample_test(labels, 50, "x"), sample_test(labels, 200, "x")
    assert np.bincount(labels[large]).tolist() == pytest.approx([120, 60, 20], abs=1)
    assert set(small) < set(large)
    assert (np.diff(large) > 0).all()
    assert len(set(large)) == 200
    assert sample_test(labels, 1000, "x").tolist() == list(range(1000))
    multi = np.ones((30, 2), np.uint8)
    assert len(sample_test(multi, 7, "x")) == 7
