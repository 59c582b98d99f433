"""Parts of a grid of starts and groups in which every start and every group stands equally often: one to
measure, and one to measure with a second seed."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil

from mvlpt_core.contract.seeds import generator

# Parts of a grid that stand in packs of their own: a larger fraction leaves those that were whole alone.
_PARTS = (1 / 4, 1 / 2)
_PER_GROUP = 2  # pairs of a group that are repeated with a second seed


def designed_pairs(
    groups: Sequence[str], starts: Sequence[str], fraction: float
) -> dict[tuple[str, str], int]:
    """The (group, start) pairs of two different names that a `fraction` (0 to 1) of the grid consists of,
    each with the part that it is of: the first quarter, the second, or the other half.

    Starts and groups are put on a circle in an order drawn from their names; a *turn* of the circle gives
    every name of the longer list at most one partner, and every one of the shorter list exactly one. As
    many turns are taken, in an order drawn likewise, as the fraction needs, at least one: in a square grid
    every source and every target then occurs exactly as often as any other. A larger fraction holds all
    pairs of a smaller one.
    """
    long, short = (groups, starts) if len(groups) >= len(starts) else (starts, groups)
    names = sorted({*groups, *starts})
    random = generator("design", *names)
    place = {str(name): i for i, name in enumerate(random.permutation(names))}
    long, short = (sorted(names, key=place.__getitem__) for names in (long, short))
    n = len(long)
    # Where both lists are the same, turn 0 pairs each with itself.
    turns = [int(turn) for turn in random.permutation(n) if turn or long != short]
    kept = turns[: _turns(fraction, turns)]
    ends = [_turns(part, turns) for part in _PARTS]
    found = {
        (long[(i * n // len(short) + turn) % n], name): bisect_right(ends, number)
        for number, turn in enumerate(kept)
        for i, name in enumerate(short)
    }
    if len(groups) < len(starts):
        found = {(group, start): part for (start, group), part in found.items()}
    return {(group, start): part for (group, start), part in found.items() if group != start}


def _turns(fraction: float, turns: Sequence[int]) -> int:
    """How many of the turns a fraction takes."""
    return max(1, ceil(round(fraction * len(turns), 9)))


def replicated_pairs(pairs: Iterable[tuple[str, str]], share: float) -> list[tuple[str, str]]:
    """The (group, start) pairs to repeat with a second seed at a `share` (0 to 1) of the cost of all `pairs`
    (each of two different names), the runs from random that either need included.

    Seed noise differs most between groups, so as many as the cost allows are taken, each from
    `_PER_GROUP` starts: fewer would not tell what a group's pairs share (its own run from random, its sample)
    from what is each pair's; whole columns would measure few groups, though all starts' own runs. Groups are
    taken in an order drawn from the names. Their starts are the next such groups on that circle, which have
    a run from random already, and none more often than a group while there are others. At least two groups
    are taken; where all are and more is allowed, each from more starts.
    """
    starts: dict[str, list[str]] = {}
    for group, start in pairs:
        starts.setdefault(group, []).append(start)
    names = sorted({*starts, *(start for own in starts.values() for start in own)})
    order = [str(name) for name in generator("replicates", *names).permutation(names)]
    place = {name: i for i, name in enumerate(order)}
    groups = [name for name in order if name in starts]
    most = share * (sum(map(len, starts.values())) + len(names))
    sizes = [(count, _PER_GROUP) for count in range(2, len(groups))]
    sizes += [(len(groups), each) for each in range(_PER_GROUP, max(len(order), _PER_GROUP + 1))]
    found: list[tuple[str, str]] = []
    for count, each in sizes:
        more = _repeated(groups[:count], starts, place, each)
        if found and len(more) + len({name for pair in more for name in pair}) > most:
            break
        found = more
    return found


def _repeated(
    groups: Sequence[str], starts: dict[str, list[str]], place: dict[str, int], each: int
) -> list[tuple[str, str]]:
    """Pairs of each of the groups, with `each` of its starts."""
    tuned, uses = {*groups}, Counter[str]()
    found = []
    for group in groups:

        def worth(start: str, after: str = group) -> tuple[bool, bool, int]:
            around = (place[start] - place[after]) % len(place)
            return uses[start] >= each, start not in tuned, around

        chosen = sorted(starts[group], key=worth)[:each]
        uses.update(chosen)
        tuned.update(chosen)
        found += [(group, start) for start in chosen]
    return found
