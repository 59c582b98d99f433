"""A part of a grid of starts and groups in which every start and every group is measured equally often."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from mvlpt_core.contract.seeds import generator


def designed_pairs(
    groups: Sequence[str], starts: Sequence[str], fraction: float
) -> set[tuple[str, str]]:
    """The (group, start) pairs of two different names that a `fraction` (0 to 1) of the grid consists of.

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
    kept = turns[: max(1, ceil(round(fraction * len(turns), 9)))]
    found = {
        (long[(i * n // len(short) + turn) % n], name)
        for i, name in enumerate(short)
        for turn in kept
    }
    if len(groups) < len(starts):
        found = {(group, start) for start, group in found}
    return {(group, start) for group, start in found if group != start}
