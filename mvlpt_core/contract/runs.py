"""Which runs a study consists of, and how they are packed into jobs.

A run is (method, group, start, shots, seed): one tuning. Methods, shots and seeds are axes that
every (group, start) pair crosses; the pairs come from the configuration's patterns.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.settings import Pattern

Pair = tuple[str, str]  # group, start
_WORDS = ("tasks", "groups")
_RELATIVE = ("members", "others")


@dataclass(frozen=True)
class Pack:
    """The (group, start) pairs that one job tunes: every group from every start.

    `loads` says whether the starts are other runs' prompts.
    """

    groups: tuple[str, ...]
    starts: tuple[str, ...]

    @property
    def loads(self) -> bool:
        return self.starts != (RANDOM,)

    @property
    def pairs(self) -> list[Pair]:
        return [(group, start) for group in self.groups for start in self.starts]


def expand(
    runs: Mapping[str, Sequence[Pattern]],
    tasks: Sequence[str],
    groups: Mapping[str, Sequence[str]],
) -> list[Pair]:
    """The (group, start) pairs of a study, each once: those from random first.

    A run that starts from a group's prompt needs that group's own run from random, and its gain
    needs its own group's: both are added. Raises `InputError`, naming the list of runs, for a name
    that is no task and no group.
    """
    wanted: dict[Pair, None] = {}
    for name, patterns in runs.items():
        for pattern in patterns:
            for start in _names(pattern.start, tasks, groups, name, (RANDOM,)):
                for group in _groups(pattern.group, start, tasks, groups, name):
                    wanted[group, start] = None
    fresh: dict[str, None] = {}
    for group, start in wanted:
        fresh.setdefault(group)
        if start != RANDOM:
            fresh.setdefault(start)
    order = {name: i for i, name in enumerate([*tasks, *groups])}
    return [
        *((group, RANDOM) for group in sorted(fresh, key=order.__getitem__)),
        *(pair for pair in wanted if pair[1] != RANDOM),
    ]


def _groups(
    words: Iterable[str],
    start: str,
    tasks: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    name: str,
) -> list[str]:
    found: list[str] = []
    for word in words:
        if word in _RELATIVE:
            inside = set(groups.get(start, (start,)))
            found += [task for task in tasks if (task in inside) == (word == "members")]
        else:
            found += _names([word], tasks, groups, name, ())
    return found


def _names(
    words: Iterable[str],
    tasks: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    name: str,
    further: tuple[str, ...],
) -> list[str]:
    found: list[str] = []
    for word in words:
        if word in _WORDS:
            found += tasks if word == "tasks" else groups
        elif word in tasks or word in groups or word in further:
            found.append(word)
        else:
            raise InputError(
                f"runs.{name} names {word!r}: expected a task of the suite, a group of the groups "
                f"file, or one of {', '.join((*_WORDS, *further, *(() if further else _RELATIVE)))}"
            )
    return found


def packs(
    pairs: Sequence[Pair], named: Container[str], pack: int, groups_per_job: int
) -> list[Pack]:
    """The pairs as jobs: at most `pack` starts side by side, for `groups_per_job` groups in turn.

    Groups that have the same starts share jobs, tasks and `named` groups (of several tasks) apart.
    Every pair is in exactly one pack; jobs whose starts are random come first.
    """
    starts: dict[str, list[str]] = {}
    for group, start in pairs:
        starts.setdefault(group, []).append(start)
    alike: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for group, own in starts.items():
        fresh = [start for start in own if start == RANDOM]
        for some in [fresh, *blocks([start for start in own if start != RANDOM], pack)]:
            if some:
                alike.setdefault((group in named, tuple(some)), []).append(group)
    found = [
        Pack(tuple(some), chunk)
        for (_, chunk), sharing in alike.items()
        for some in blocks(sharing, groups_per_job)
    ]
    return sorted(found, key=lambda pack: pack.loads)


def blocks(items: Sequence[str], size: int) -> list[list[str]]:
    """`items` in order, cut into lists of `size`; the last one may be shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
