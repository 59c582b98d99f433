"""A designed part of a grid: balanced, nested, decided by the names alone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvlpt_core.contract.design import designed_pairs, replicated_pairs

TASKS = [f"task{i}" for i in range(20)]


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 1])
def test_every_source_and_target_equally_often(fraction: float) -> None:
    found = designed_pairs(TASKS, TASKS, fraction)
    times = max(1, -(-19 * fraction // 1))
    for end in (0, 1):
        assert Counter(pair[end] for pair in found) == dict.fromkeys(TASKS, times)
    assert not [pair for pair in found if pair[0] == pair[1]]


def test_names_decide_and_their_order_does_not() -> None:
    found = designed_pairs(TASKS, TASKS, 0.25)
    assert designed_pairs(TASKS[::-1], TASKS[3:] + TASKS[:3], 0.25) == found
    others = [name.upper() for name in TASKS]
    assert designed_pairs(others, others, 0.25) != {
        (a.upper(), b.upper()): part for (a, b), part in found.items()
    }


@given(
    groups=st.integers(1, 12),
    starts=st.integers(1, 12),
    shared=st.integers(0, 12),
    fractions=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_of_any_lists(
    groups: int, starts: int, shared: int, fractions: tuple[float, float]
) -> None:
    first = [f"a{i}" for i in range(groups)]
    second = [*first[:shared], *(f"b{i}" for i in range(starts))][:starts]
    small, large = (designed_pairs(first, second, f) for f in sorted(fractions))
    assert small.items() <= large.items()
    assert set(designed_pairs(first, second, 1)) == {
        (g, s) for g in first for s in second if g != s
    }
    if not set(first) & set(second):
        end, names = (0, first) if groups < starts else (1, second)
        counts = Counter(pair[end] for pair in large)
        assert len({counts[name] for name in names}) == 1


def test_a_tenth_to_repeat_is_a_tenth_of_the_cost_and_balanced() -> None:
    """13 tasks, twice as target and twice as source: 26 pairs and 13 runs from random, of 400 in all."""
    grid = [(group, start) for group in TASKS for start in TASKS if group != start]
    found = replicated_pairs(grid, 0.1)
    assert len(set(found)) == 26
    assert {*found} <= {*grid}
    for end in (0, 1):
        assert sorted(Counter(pair[end] for pair in found).values()) == [2] * 13
    assert len({name for pair in found for name in pair}) == 13
    assert replicated_pairs(grid[::-1], 0.1) == found
    assert sorted(replicated_pairs(grid, 1)) == sorted(grid)


@given(
    groups=st.integers(1, 9),
    starts=st.integers(1, 9),
    shared=st.integers(0, 9),
    share=st.floats(0.01, 1),
    kept=st.integers(1, 5),
)
def test_what_is_repeated_was_measured(
    groups: int, starts: int, shared: int, share: float, kept: int
) -> None:
    first = [f"a{i}" for i in range(groups)]
    second = [*first[:shared], *(f"b{i}" for i in range(starts))][:starts]
    grid = [(g, s) for g in first for s in second if g != s][::kept]
    if not grid:
        return
    found = replicated_pairs(grid, share)
    assert found
    assert len(set(found)) == len(found)
    assert {*found} <= {*grid}
    names = {name for pair in grid for name in pair}
    again = {name for pair in found for name in pair}
    # Two groups of two pairs are repeated in any case.
    assert len(found) <= 4 or len(found) + len(again) <= share * (len(grid) + len(names))
