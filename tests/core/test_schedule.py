"""Learning rates, budgets, the order of batches, evaluations."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from mvlpt_core.contract.seeds import number
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.tuning.schedule import batch_order, joint_order, schedule


def test_learning_rate_follows_warm_up_and_cosine_by_epoch() -> None:
    plan = schedule(Tuning(epochs=4, batch_size=5), 0.002, 11)
    assert (plan.per_epoch, plan.steps, plan.batch) == (2, 8, 5)
    cosine = [0.002 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    assert list(plan.rates) == [1e-5, 1e-5, *(r for e in (1, 2, 3) for r in [cosine[e]] * 2)]
    assert schedule(Tuning(steps=4, warmup=0), 1.0, 11).rates[2] == pytest.approx(0.5)


def test_several_tasks_get_the_budget_of_each_alone() -> None:
    alone = schedule(Tuning(steps=10, warmup=2, batch_size=4), 1.0, 20)
    three = schedule(Tuning(steps=10, warmup=2, batch_size=4), 1.0, 60, n_tasks=3)
    assert three.steps == 3 * alone.steps
    assert sum(rate == 1e-5 for rate in three.rates) == 6
    # Epochs pass over the union: as many images of each task as alone.
    assert schedule(Tuning(epochs=2, batch_size=4), 1.0, 60, n_tasks=3).steps == 30


def test_batches_are_shuffles_one_after_the_other() -> None:
    plan = schedule(Tuning(epochs=3, batch_size=5), 1.0, 11)
    order = batch_order(11, plan, seed=7)
    assert order.shape == (6, 5)
    for epoch in order.view(3, 10):
        assert len(set(epoch.tolist())) == 10
    assert torch.equal(order, batch_order(11, plan, seed=7))
    assert not torch.equal(order, batch_order(11, plan, seed=8))
    small = schedule(Tuning(epochs=3, batch_size=5), 1.0, 3)
    assert batch_order(3, small, seed=7).shape == (3, 3)  # a small pool is one batch


@pytest.mark.parametrize("sizes", [[12, 12], [5, 30], [3, 9, 20]])
def test_a_joint_order_draws_from_the_union_or_from_each_task_alike(sizes: list[int]) -> None:
    plan = schedule(Tuning(steps=12, batch_size=5), 1.0, sum(sizes), len(sizes))
    first = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    orders = {
        way: joint_order(sizes, plan, Joint(sampling=way), "both", 1)  # type: ignore[arg-type]
        for way in ("proportional", "balanced")
    }
    counts = {
        way: [int(((o >= a) & (o < b)).sum()) for a, b in pairwise(first)]
        for way, o in orders.items()
    }
    total = plan.steps * plan.batch
    for way, order in orders.items():
        assert order.shape == (plan.steps, plan.batch)
        assert sum(counts[way]) == total
    assert max(counts["balanced"]) - min(counts["balanced"]) <= 1
    for size, count in zip(sizes, counts["proportional"], strict=True):
        assert abs(count - total * size / sum(sizes)) <= max(sizes)
    # Each task's images come as shuffles: none again before those that fill its share were used.
    share = -(-plan.batch // len(sizes))
    for (a, b), size in zip(pairwise(first), sizes, strict=True):
        flat = orders["balanced"].flatten()
        used = size // share * share
        own = flat[(flat >= a) & (flat < b)][:used].tolist()
        assert len(set(own)) == len(own) == min(used, counts["balanced"][first.index(a)])
    alone = joint_order([11], plan, Joint(), "a", 3)
    assert torch.equal(alone, batch_order(11, plan, number("order", "a", 3)))


def test_evaluations_are_spread_and_end_at_the_end() -> None:
    assert schedule(Tuning(steps=40, evaluations=4), 1.0, 9).evaluations == (0, 10, 20, 30, 40)
    assert schedule(Tuning(epochs=2, evaluations=5), 1.0, 9).evaluations == (0, 1, 2)


def test_seeds_are_the_same_everywhere() -> None:
    assert number("init", "text", "mnist", 1) == 4165713860432254941
    assert number("a", "bc") != number("ab", "c")
