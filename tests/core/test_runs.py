"""Which runs a study's patterns stand for: sets, leave-one-out sets, pairs, means, shots."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.runs import Origin, Runs, expand, packs
from mvlpt_core.contract.settings import read_study

TASKS = ["a", "b", "c"]
GROUPS = {"both": ("a", "b"), "all": ("a", "b", "c"), "alone": ("a",)}
NEEDED = {"study": "s", "suite": "x", "backbone": {"name": "x"}, "methods": {"text": {}}}


def runs(
    patterns: list[dict[str, Any]],
    sources: Sequence[str] = (),
    chosen: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    **keys: Any,
) -> Runs:
    config = {**NEEDED, "tuning": {"steps": 1}, "runs": {"x": patterns}, **keys}
    return expand(read_study(config, "here"), TASKS, GROUPS, sources, chosen)


def pairs(*given: Any, **keys: Any) -> list[tuple[str, str]]:
    return runs(*given, **keys).all_pairs


def test_transfer_is_every_task_from_every_task_and_the_scratch_runs_it_needs() -> None:
    found = pairs([{"group": "tasks", "start": "tasks"}])
    assert found[:3] == [(task, "random") for task in TASKS]
    assert set(found[3:]) == {(target, source) for target in TASKS for source in TASKS}


def test_a_groups_prompt_starts_its_members_and_another_task() -> None:
    found = pairs([{"group": "members", "start": "both"}, {"group": "c", "start": "both"}])
    fresh = [("a", "random"), ("b", "random"), ("c", "random"), ("both", "random")]
    assert found == [*fresh, ("a", "both"), ("b", "both"), ("c", "both")]
    others = pairs([{"group": "others", "start": "both"}])
    assert ("c", "both") in others
    assert ("a", "both") not in others


def test_a_target_in_its_own_source_set_must_be_asked_for() -> None:
    with pytest.raises(InputError, match=r"runs\.x starts 'a' from 'both', which holds it"):
        runs([{"group": "tasks", "start": "both"}])
    # A set of one task is a set, and so is a pair that starts from one of its two.
    with pytest.raises(InputError, match=r"runs\.x starts 'a' from 'alone', which holds it"):
        runs([{"group": "tasks", "start": "alone"}])
    with pytest.raises(InputError, match=r"'a_and_b' from 'a', which shares a task with it"):
        runs([{"group": "pairs", "start": "tasks"}])
    asked = pairs([{"group": "tasks", "start": "both", "leave_out": "nothing"}])
    assert {("a", "both"), ("b", "both"), ("c", "both")} < set(asked)


def test_leaving_the_target_out_makes_a_set_for_each() -> None:
    found = runs([{"group": "tasks", "start": "all", "leave_out": "target"}])
    assert found.groups["all_less_a"] == ("b", "c")
    started = {group: start for group, start in found.all_pairs if start != "random"}
    assert started == {"a": "all_less_a", "b": "all_less_b", "c": "all_less_c"}
    assert {("all_less_a", "random"), ("b", "random")} < set(found.all_pairs)
    assert ("all", "random") not in found.all_pairs
    # Of two tasks one is left, which bears its own name; a stranger starts from the set as it is.
    found = runs([{"group": "tasks", "start": "both", "leave_out": "target"}])
    assert [pair for pair in found.all_pairs if pair[1] != "random"] == [
        ("a", "b"),
        ("b", "a"),
        ("c", "both"),
    ]
    # A group of targets leaves all of its members out.
    found = runs([{"group": "both", "start": "all", "leave_out": "target"}])
    assert ("both", "c") in found.all_pairs


def test_nothing_left_is_told() -> None:
    with pytest.raises(InputError, match="nothing is left of 'both' without 'all'"):
        runs([{"group": "all", "start": "both", "leave_out": "target"}])


def test_pairs_are_every_two_tasks_once() -> None:
    found = runs([{"group": "pairs", "start": "random"}])
    joint = [f"{a}_and_{b}" for a, b in combinations(TASKS, 2)]
    assert found.all_pairs == [(name, "random") for name in joint]
    assert found.groups["a_and_c"] == ("a", "c")
    assert list(found.joint_pairs) == joint


def test_a_mean_is_of_other_tasks_prompts() -> None:
    means = {
        "mean_all": {"of": "tasks"},
        "mean_any": {"of": ["a", "b"], "seeds": "all", "leave_out": "nothing"},
        "mean_set": {"of": ["all"]},
    }
    found = runs([{"group": "tasks", "start": list(means)}], means=means, seeds=[4, 7])
    assert found.origins["a", "mean_all"] == Origin(("b", "c"))
    assert found.origins["a", "mean_any"] == Origin(("a", "b"), (4, 7))
    assert found.origins["b", "mean_set"] == Origin(("all_less_b",))
    assert ("all_less_b", "random") in found.all_pairs
    with pytest.raises(InputError, match=r"means\.m has no source left for 'a'"):
        runs([{"group": "tasks", "start": "m"}], means={"m": {"of": "a"}})
    with pytest.raises(InputError, match=r"wants others of the mean 'm'"):
        runs([{"group": "others", "start": "m"}], means={"m": {"of": "tasks"}})


def test_a_mean_of_chosen_sources_needs_them_for_every_target() -> None:
    means = {"best": {"of": "best.tsv"}}
    wanted = [{"group": ["a", "b"], "start": "best"}]
    found = runs(wanted, means=means, chosen={"best": {"a": ("b", "c"), "b": ("c",)}})
    assert found.origins["a", "best"] == Origin(("b", "c"))
    assert found.origins["b", "best"] == Origin(("c",))
    with pytest.raises(InputError, match=r"best\.tsv has no row for 'b'"):
        runs(wanted, means=means, chosen={"best": {"a": ("b",)}})


def test_sources_of_a_second_suite_are_started_from_and_not_studied() -> None:
    found = runs([{"group": "tasks", "start": "sources"}], sources=["s", "t"])
    assert found.all_pairs[:5] == [(task, "random") for task in ("a", "b", "c", "s", "t")]
    assert set(found.all_pairs[5:]) == {(task, s) for task in TASKS for s in ("s", "t")}
    with pytest.raises(InputError, match="expected the key 'source_suite' with some"):
        runs([{"group": "tasks", "start": "sources"}])


def test_a_list_may_be_of_some_shots() -> None:
    wanted = [
        {"group": "a", "start": "random"},
        {"group": "a", "start": "b", "shots": 5},
    ]
    found = runs(wanted, shots=[1, 5])
    assert found.pairs == {
        1: [("a", "random")],
        5: [("a", "random"), ("b", "random"), ("a", "b")],
    }
    with pytest.raises(InputError, match=r"runs\.x wants 5 shots, expected some of the study's"):
        runs(wanted, shots=[1])


@pytest.mark.parametrize(
    ("group", "start", "said"),
    [
        ("a", "z", r"runs\.x names 'z': expected a task of the suite"),
        ("a", "members", r"runs\.x names 'members'"),
        ("z", "random", r"runs\.x names 'z'"),
        ("a", "pairs", r"runs\.x names 'pairs'"),
    ],
)
def test_a_name_that_is_none_is_told(group: str, start: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        runs([{"group": group, "start": start}])


def test_names_are_free_and_legal() -> None:
    wanted = [{"group": "a", "start": "random"}]
    with pytest.raises(InputError, match=r"means\.both has a task's or group's name"):
        runs(wanted, means={"both": {"of": "tasks"}})
    with pytest.raises(InputError, match="mean name 'pairs' means something else"):
        runs(wanted, means={"pairs": {"of": "tasks"}})


def test_ways_are_named_by_their_list_or_by_their_starts() -> None:
    found = runs(
        [
            {"group": "members", "start": "both"},
            {"group": "c", "start": "both"},
            {"group": "both", "start": "all", "leave_out": "nothing"},
        ]
    )
    assert found.ways() == {"x": {"a": "both", "b": "both", "c": "both"}}
    means = {"mean": {"of": "tasks"}}
    several = runs(
        [{"group": "tasks", "start": ["all", "mean"], "leave_out": "target"}], means=means
    )
    assert several.ways() == {
        "all": {task: f"all_less_{task}" for task in TASKS},
        "mean": dict.fromkeys(TASKS, "mean"),
    }
    assert several.behind("a", "mean") == several.behind("a", "all_less_a") == ("b", "c")
    assert runs([{"group": "tasks", "start": "tasks"}]).ways() == {}


def test_a_fraction_leaves_out_cells_alone() -> None:
    every = [{"group": "tasks", "start": "tasks"}]
    whole, half = pairs(every), pairs([every[0] | {"fraction": 0.5}])
    assert [pair for pair in whole if pair in half] == half
    left_out = set(whole) - set(half)
    assert {group for group, _ in left_out} == {start for _, start in left_out} == set(TASKS)
    assert len(left_out) == 3
    assert all(start not in (group, "random") for group, start in left_out)
    # In one list, not in another.
    more = [every[0] | {"fraction": 0.5}, {"group": "a", "start": ["b", "c"]}]
    assert {("a", "b"), ("a", "c")} < set(pairs(more))
    with pytest.raises(
        InputError, match=r"runs\.x has the fraction 0\.5 of no cell: expected it where"
    ):
        runs([{"group": "tasks", "start": "random", "fraction": 0.5}])
    for bad in (0, 1.5, "half", float("nan")):
        with pytest.raises(InputError, match=r"fraction.*expected a number above 0, up to 1"):
            runs([every[0] | {"fraction": bad}])


def test_a_larger_fraction_leaves_whole_packs_alone() -> None:
    tasks = [f"t{i}" for i in range(20)]
    config = {**NEEDED, "tuning": {"steps": 1}}
    jobs = {}
    for fraction in (0.25, 0.4, 0.5, 0.9):
        every = {"group": "tasks", "start": "tasks", "fraction": fraction}
        found = expand(read_study({**config, "runs": {"x": [every]}}, "here"), tasks, {})
        pairs = found.pairs[found_shots(found)]
        jobs[fraction] = {pack.pairs for pack in packs(pairs, found.groups, 20, 5, found.parts)}
        assert sorted(pair for pack in jobs[fraction] for pair in pack) == sorted(pairs)
    assert jobs[0.25] <= jobs[0.4]
    assert jobs[0.25] <= jobs[0.5] <= jobs[0.9]
    assert not jobs[0.4] <= jobs[0.5]  # its second quarter was not whole
    assert max(map(len, jobs[0.5])) < max(map(len, jobs[0.9]))


def found_shots(found: Runs) -> int:
    (shots,) = found.pairs
    return shots


def test_replicates_are_cells_with_what_they_need() -> None:
    every = {"group": "tasks", "start": "tasks", "replicates": 0.5}
    found = runs([every])
    (again,) = found.replicates.values()
    (first,) = found.pairs.values()
    assert {*again} <= {*first}
    cells = [pair for pair in again if pair[1] != RANDOM]
    assert cells
    assert all(group != start for group, start in cells)
    scratch = [group for group, start in again if start == RANDOM]
    assert {*scratch} == {name for pair in cells for name in pair}
    assert again[: len(scratch)] == [(group, RANDOM) for group in scratch]
    assert not runs([{**every, "replicates": 0}]).replicates
    assert not runs([every], seeds=[1, 2]).replicates


def test_replicates_of_no_cell_are_an_error() -> None:
    with pytest.raises(
        InputError, match=r"runs\.x has the replicates 0\.1 of no cell: expected them"
    ):
        runs([{"group": "tasks", "start": "random", "replicates": 0.1}])
    with pytest.raises(InputError, match=r"replicates.*expected a number from 0 to 1"):
        runs([{"group": "tasks", "start": "tasks", "replicates": 1.5}])
