"""A part of a grid of starts and groups in which every start and every group is measured equally often."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil

from mvlpt_core.contract.seeds import generator

# Parts of a grid that stand in packs of their own: a larger fraction leaves those that were whole alone.
_PARTS = (1 / 4, 1 / 2)


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
    random = generator("design", *sorted({*groups, *starts}))
    place = {name: i for i, name in enumerate(random.permutation(sorted({*groups, *starts})))}
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
