"""Which runs a study consists of, and how they are packed into jobs.

A run is (method, group, start, shots, seed): one tuning. Methods and seeds are axes that every
(group, start) pair crosses; the pairs of each value of shots come from the configuration's patterns.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeVar

from mvlpt_core.contract.design import designed_pairs, replicated_pairs
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.settings import Mean, Pattern, Study
from mvlpt_core.contract.suite import check_name

Pair = tuple[str, str]  # group, start
_Item = TypeVar("_Item")
_LISTS = ("tasks", "sources", "groups")
_RELATIVE = ("members", "others")
_PAIRS = "pairs"
_OWN, _ALL = "own", "all"


@dataclass(frozen=True)
class Origin:
    """The runs from random whose prompts a run starts from: one, or several of which the mean is taken.

    `groups` names what they were tuned on; `seeds` is empty for the run's own seed.
    """

    groups: tuple[str, ...]
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Runs:
    """The runs of a study: (group, start) pairs by shots, those from random first; the members of every
    group of several tasks, named or made here; the origin of every pair that does not begin at random.

    `asked` says which list of runs asked for which multitask start or mean, of what, and under which
    name it stands: (list, start as asked for, group, start). `joint_pairs` are the groups that the word
    `pairs` made. `parts` numbers the parts of designed fractions, whose packs are apart. `replicates`:
    of `pairs`, those that are repeated with the study's second seed.
    """

    pairs: dict[int, list[Pair]]
    groups: dict[str, tuple[str, ...]]
    origins: dict[Pair, Origin] = field(default_factory=dict)
    asked: tuple[tuple[str, str, str, str], ...] = ()
    joint_pairs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parts: dict[Pair, int] = field(default_factory=dict)
    replicates: dict[int, list[Pair]] = field(default_factory=dict)

    @property
    def all_pairs(self) -> list[Pair]:
        """Every pair once, whatever its shots."""
        return list(dict.fromkeys(pair for pairs in self.pairs.values() for pair in pairs))

    def members(self, group: str) -> tuple[str, ...]:
        """The tasks of a group; a task is a group of one."""
        return self.groups.get(group, (group,))

    def behind(self, group: str, start: str) -> tuple[str, ...]:
        """The tasks that the prompts behind a start were tuned on."""
        sources = self.origins[group, start].groups
        return tuple(dict.fromkeys(task for source in sources for task in self.members(source)))

    def ways(self) -> dict[str, dict[str, str]]:
        """Ways to start single tasks from several: {way: {task: its start}}.

        A list of runs that gives each task one such start is a way, under its name (less `from_`);
        of another list every start that it asks for is one.
        """
        lists: dict[str, dict[str, dict[str, str]]] = {}
        for name, asked, group, start in self.asked:
            if group not in self.groups:
                lists.setdefault(name, {}).setdefault(asked, {})[group] = start
        found: dict[str, dict[str, str]] = {}
        for name, starts in lists.items():
            tasks = [task for own in starts.values() for task in own]
            if len(set(tasks)) == len(tasks):
                found[name.removeprefix("from_")] = {
                    task: start for own in starts.values() for task, start in own.items()
                }
            else:
                for asked, own in starts.items():
                    found[asked if asked not in found else f"{name}_{asked}"] = own
        return found


def expand(
    study: Study,
    tasks: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    sources: Sequence[str] = (),
    chosen: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> Runs:
    """The runs of a study on `tasks` with the named `groups`, and `sources`, the tasks of the second suite.

    `chosen` holds, by mean, what was read of the tables that means name: the sources of each task.

    A run that starts from a group's prompt needs that group's own run from random, and its gain
    needs its own group's: both are added. Raises `InputError`, naming the list of runs, for a name
    that is no task, group or mean, for a task that is started from a group that holds it without
    saying so, and for a mean or a group that has nothing left.
    """
    return _Expansion(study, tasks, groups, sources, chosen or {}).runs()


class _Expansion:
    """The names of a study while its patterns are expanded."""

    def __init__(
        self,
        study: Study,
        tasks: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        sources: Sequence[str],
        chosen: Mapping[str, Mapping[str, Sequence[str]]],
    ) -> None:
        self.study, self.tasks, self.sources, self.chosen = study, tasks, sources, chosen
        self.named = {name: tuple(members) for name, members in groups.items()}
        self.groups = dict(self.named)
        self.origins: dict[Pair, Origin] = {}
        self.asked: dict[tuple[str, str, str, str], None] = {}
        self.joint_pairs: dict[str, tuple[str, ...]] = {}
        self.parts: dict[Pair, int] = {}
        for name in study.means:
            check_name(name, "mean")
            if name in self.named or name in tasks or name in sources:
                raise InputError(
                    f"means.{name} has a task's or group's name: expected one of its own"
                )

    def runs(self) -> Runs:
        pairs: dict[int, list[Pair]] = {}
        replicates: dict[int, list[Pair]] = {}
        for shots in self.study.shots:
            wanted: dict[Pair, None] = {}
            again: dict[Pair, None] = {}
            for name, patterns in self.study.runs.items():
                for pattern in patterns:
                    if pattern.shots is None or shots in pattern.shots:
                        own = list(self._of(name, pattern))
                        wanted |= dict.fromkeys(own)
                        again |= dict.fromkeys(self._replicated(own, pattern, f"runs.{name}"))
            pairs[shots] = self._complete(wanted)
            if again:
                replicates[shots] = self._complete(again)
        if not any(pairs.values()):
            raise InputError("runs tune nothing: expected a task that is tuned")
        groups = self._in_use(pairs)
        made = (self.origins, tuple(self.asked), self.joint_pairs, self.parts, replicates)
        return Runs(pairs, groups, *made)

    def _replicated(self, pairs: Iterable[Pair], pattern: Pattern, where: str) -> list[Pair]:
        """Those of a pattern's pairs that are repeated with the second seed."""
        if not pattern.replicates or len(self.study.seeds) > 1:
            return []
        known = {*self.tasks, *self.sources}
        cells = [pair for pair in pairs if known.issuperset(pair) and pair[0] != pair[1]]
        if not cells:
            raise InputError(
                f"{where} has the replicates {pattern.replicates:g} of no cell: expected them where tasks "
                "start from other tasks' prompts"
            )
        return replicated_pairs(cells, pattern.replicates)

    def _of(self, name: str, pattern: Pattern) -> Iterable[Pair]:
        where = f"runs.{name}"
        found = list(self._pairs(name, pattern, where))
        if pattern.fraction == 1:
            return found
        # Scratch runs and the control by a task's own prompt are measured in any case.
        cells = [pair for pair in found if pair[1] != RANDOM and pair[0] != pair[1]]
        if not cells:
            raise InputError(
                f"{where} has the fraction {pattern.fraction:g} of no cell: expected it where tasks start "
                "from others' prompts"
            )
        groups, starts = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
        kept = designed_pairs(groups, starts, pattern.fraction)
        self.parts |= kept
        left_out = {*cells} - {*kept}
        return [pair for pair in found if pair not in left_out]

    def _pairs(self, name: str, pattern: Pattern, where: str) -> Iterable[Pair]:
        for start in self._names(pattern.start, where, (RANDOM, *self.study.means)):
            for word in pattern.group:
                said = pattern.leave_out or ("nothing" if word == "members" else None)
                for group in self._tuned(word, start, where):
                    final = self._start(group, start, said, where)
                    if start in self.study.means or len(self.members(start)) > 1:
                        self.asked[name, start, group, final] = None
                    yield group, final

    def _tuned(self, word: str, start: str, where: str) -> list[str]:
        """The groups that a word stands for, beside the start."""
        if word in _RELATIVE:
            if start in self.study.means:
                raise InputError(
                    f"{where} wants {word} of the mean {start!r}: expected a start that is a group"
                )
            inside = set(self.members(start))
            return [task for task in self.tasks if (task in inside) == (word == "members")]
        if word == _PAIRS:
            made = {
                self._made(f"{a}_and_{b}", (a, b), where): (a, b)
                for a, b in combinations(self.tasks, 2)
            }
            self.joint_pairs |= made
            return list(made)
        return self._names([word], where, (), (_PAIRS, *_RELATIVE))

    def _names(
        self,
        words: Iterable[str],
        where: str,
        further: tuple[str, ...] = (),
        beside: tuple[str, ...] = (),
    ) -> list[str]:
        """The tasks and groups that words stand for; `beside` are what the caller takes besides."""
        lists = {"tasks": self.tasks, "sources": self.sources, "groups": list(self.named)}
        found: list[str] = []
        for word in words:
            if word in lists:
                if not lists[word]:
                    key = {"sources": "source_suite"}.get(word, word)
                    raise InputError(f"{where} names {word!r}: expected the key '{key}' with some")
                found += lists[word]
            elif word in (*self.tasks, *self.sources, *self.named, *further):
                found.append(word)
            else:
                known = (*_LISTS, *further, *beside)
                raise InputError(
                    f"{where} names {word!r}: expected a task of the suite, a group of the groups "
                    f"file, or one of {', '.join(known)}"
                )
        return found

    def members(self, group: str) -> tuple[str, ...]:
        return self.groups.get(group, (group,))

    def _made(self, name: str, members: tuple[str, ...], where: str) -> str:
        """A group made here, under its name."""
        if name in (*self.tasks, *self.sources) or self.groups.get(name, members) != members:
            raise InputError(
                f"{where} needs a group named {name!r}, which something else is: expected it free"
            )
        self.groups[name] = members
        return name

    def _less(self, start: str, group: str, where: str) -> str:
        """The group `start` less the members of `group`; one task that is left bears its own name."""
        own = set(self.members(group))
        left = tuple(task for task in self.members(start) if task not in own)
        if not left:
            raise InputError(
                f"{where}: nothing is left of {start!r} without {group!r}: expected tasks"
            )
        if len(left) == 1:
            return left[0]
        return self._made(f"{start}_less_{group}", left, where)

    def _start(self, group: str, start: str, said: str | None, where: str) -> str:
        """The start of a pair under its final name, with its origin noted."""
        if start == RANDOM:
            return RANDOM
        if start in self.study.means:
            self.origins[group, start] = self._mean(group, start, self.study.means[start])
            return start
        tasks = self.members(start)
        # A task from its own prompt is the control of a transfer study.
        own = group == start and len(tasks) == 1
        if not own and set(tasks) & set(self.members(group)) and said != "nothing":
            if said is None:
                how = (
                    "holds it"
                    if set(self.members(group)) <= set(tasks)
                    else "shares a task with it"
                )
                raise InputError(
                    f"{where} starts {group!r} from {start!r}, which {how}: expected leave_out "
                    "'target' (the group without it) or 'nothing'"
                )
            start = self._less(start, group, where)
        self.origins[group, start] = Origin((start,))
        return start

    def _mean(self, group: str, name: str, mean: Mean) -> Origin:
        """What the mean stands for where `group` starts from it."""
        where = f"means.{name}"
        of: Sequence[str] = mean.of
        if name in self.chosen:
            if group not in self.chosen[name]:
                raise InputError(f"{where}: {of[0]} has no row for {group!r}: expected its sources")
            of = self.chosen[name][group]
        found: dict[str, None] = {}
        own = set(self.members(group))
        for source in self._names(of, where):
            if not own & set(self.members(source)) or mean.leave_out == "nothing":
                found.setdefault(source)
            elif len(self.members(source)) > len(own):
                found.setdefault(self._less(source, group, where))
        if not found:
            raise InputError(f"{where} has no source left for {group!r}: expected at least one")
        return Origin(tuple(found), tuple(self.study.seeds) if mean.seeds == _ALL else ())

    def _complete(self, wanted: Iterable[Pair]) -> list[Pair]:
        """The pairs with the runs from random that they need; those first, in the suite's order."""
        pairs = list(wanted)
        fresh: dict[str, None] = {}
        for group, start in pairs:
            fresh.setdefault(group)
            if start != RANDOM:
                fresh |= dict.fromkeys(self.origins[group, start].groups)
        order = {name: i for i, name in enumerate([*self.tasks, *self.sources, *self.groups])}
        return [
            *((group, RANDOM) for group in sorted(fresh, key=order.__getitem__)),
            *(pair for pair in pairs if pair[1] != RANDOM),
        ]

    def _in_use(self, pairs: Mapping[int, Sequence[Pair]]) -> dict[str, tuple[str, ...]]:
        """The named groups, and of those made here the ones that runs are of."""
        tuned = {group for some in pairs.values() for group, _ in some}
        return {
            name: members
            for name, members in self.groups.items()
            if name in self.named or name in tuned
        }


@dataclass(frozen=True)
class Pack:
    """The (group, start) pairs that one job tunes, group by group; all from random, or none."""

    pairs: tuple[Pair, ...]

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(group for group, _ in self.pairs))

    @property
    def starts(self) -> list[str]:
        return list(dict.fromkeys(start for _, start in self.pairs))

    @property
    def loads(self) -> bool:
        """Whether the starts are other runs' prompts."""
        return RANDOM not in self.starts


@dataclass(frozen=True)
class Packed:
    """A pack, with the values of shots and the seeds that it is tuned at."""

    pack: Pack
    shots: tuple[int, ...]
    seeds: tuple[int, ...]


def packs(
    pairs: Sequence[Pair],
    named: Container[str],
    pack: int,
    groups_per_job: int,
    parts: Mapping[Pair, int] | None = None,
) -> list[Pack]:
    """The pairs as jobs: at most `pack` starts side by side, for `groups_per_job` groups in turn.

    Tasks and `named` groups (of several tasks) stand in jobs of their own, as do the `parts` of a
    design. Every pair is in exactly one pack; jobs whose starts are random come first.
    """
    starts: dict[str, list[str]] = {}
    for group, start in pairs:
        starts.setdefault(group, []).append(start)
    # By what can share jobs: kind of start, kind of group, how many of a group's starts came before.
    portions: dict[tuple[bool, bool, int], list[list[Pair]]] = {}
    for group, own in starts.items():
        by_part: dict[int, list[str]] = {}
        for start in own:
            if start != RANDOM:
                by_part.setdefault((parts or {}).get((group, start), 0), []).append(start)
        loaded = [some for part in sorted(by_part) for some in blocks(by_part[part], pack)]
        for place, some in enumerate(([[RANDOM]] if RANDOM in own else []) + loaded):
            key = (some != [RANDOM], group in named, place)
            portions.setdefault(key, []).append([(group, start) for start in some])
    found = [
        Pack(tuple(pair for portion in some for pair in portion))
        for sharing in portions.values()
        for some in blocks(sharing, groups_per_job)
    ]
    return sorted(found, key=lambda pack: pack.loads)


def blocks(items: Sequence[_Item], size: int) -> list[list[_Item]]:
    """`items` in order, cut into lists of `size`; the last one may be shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
