"""Levels of tests and coverage of intervals on simulated studies of tasks that are not alike.

`python -m speed.calibration` prints both tables. A study has 20 tasks in 5 families by 4 styles; gain and
similarity are independent of one another, whatever else they are made of (`STRUCTURES`).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from mvlpt_analysis.gains import relations
from mvlpt_analysis.stats import correlation, qap, resample, structure
from mvlpt_analysis.stats.multiplicity import ALPHA

TASKS = 20
FAMILY, STYLE = np.arange(TASKS) // 4, np.arange(TASKS) % 4
SAME_FAMILY = FAMILY[:, None] == FAMILY
SAME_STYLE = STYLE[:, None] == STYLE
NEITHER = ~(SAME_FAMILY | SAME_STYLE)
Pair = tuple[np.ndarray, np.ndarray]


def _cells(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(TASKS, TASKS))


def _effects(rng: np.random.Generator) -> np.ndarray:
    """Senders and receivers, each with variance 1."""
    return rng.normal(size=(TASKS, 1)) + rng.normal(size=TASKS)


def _mutual(rng: np.random.Generator, reciprocity: float) -> np.ndarray:
    """Cells of variance 1, a pair's two directions correlated."""
    common = _cells(rng)
    common = np.triu(common, 1) + np.triu(common, 1).T
    return np.sqrt(reciprocity) * common + np.sqrt(1 - reciprocity) * _cells(rng)


def _blocks(rng: np.random.Generator) -> np.ndarray:
    """A value for each pair of families."""
    return rng.normal(size=(5, 5))[FAMILY[:, None], FAMILY]


def _alike(rng: np.random.Generator) -> np.ndarray:
    """Similarities: symmetric cells."""
    return _mutual(rng, 1.0)


TESTS = ("all", "all by families", "pairs", "pairs by families", "beyond", "family", "style")
# name -> (gain, similarity), each independent of the other
STRUCTURES: dict[str, Callable[[np.random.Generator], Pair]] = {
    "a none": lambda r: (_cells(r), _alike(r)),
    "b source and target effects": lambda r: (_effects(r) + _cells(r), _alike(r)),
    "c reciprocity .6": lambda r: (_mutual(r, 0.6), _alike(r)),
    "d similarity with senders and receivers": lambda r: (
        _effects(r) + _cells(r),
        _effects(r) + _cells(r),
    ),
    "e blocks of the same families in both": lambda r: (
        0.5 * _effects(r) + _mutual(r, 0.6) + _blocks(r),
        _cells(r) + _blocks(r),
    ),
    "f heavy tails": lambda r: (r.standard_t(2, (TASKS, TASKS)), _alike(r)),
    "g good sources are central tasks": lambda r: _central(r),
}


def _central(rng: np.random.Generator) -> Pair:
    """A source's quality is its mean similarity, and pairs have no part in it."""
    hub = rng.normal(size=(TASKS, 1))
    return hub + _cells(rng), hub + hub.T + _alike(rng)


def levels(studies: int = 400, permutations: int = 199, seed: int = 0) -> pd.DataFrame:
    """Share of studies in which each test rejects at `ALPHA`, one row a structure.

    Columns: structure; links of `association.links`: all and pairs with tasks that change places freely
    and by whole families, and beyond; family: t over families; style: tasks permuted within families.
    All should be 0.05, but for free places where blocks of families make tasks unlike, and for `all`
    where good sources are central tasks: there is a link, but none of pairs.
    """
    rows = []
    for number, (name, draw) in enumerate(STRUCTURES.items()):
        rng = np.random.default_rng([seed, number])
        found = []
        for _ in range(studies):
            first = int(rng.integers(0, 2**31))
            free = resample.permutations(TASKS, permutations, first)
            whole = structure.family_permutations(FAMILY, permutations, first, whole=True)
            within = structure.family_permutations(FAMILY, permutations, first, whole=False)
            y, x = draw(rng)
            left = [structure.residual(m) for m in (y, x)]
            beyond = [structure.residual(m, FAMILY) for m in (y, x)]
            found.append(
                (
                    _p(y, x, free),
                    _p(y, x, whole),
                    _p(left[0], left[1], free),
                    _p(left[0], left[1], whole),
                    _p(beyond[0], beyond[1], within),
                    _family(y)[2],
                    _style(y, within),
                )
            )
        share = (np.array(found) <= ALPHA).mean(0)
        rows.append((name, *share))
    return pd.DataFrame(rows, columns=["structure", *TESTS])


def _p(y: np.ndarray, x: np.ndarray, permuted: np.ndarray) -> float:
    a, b = (qap.standardise(m, "pooled", "pearson")[None] for m in (y, x))
    return float(qap.product_test(a, b, permuted)[0][0, 0])


def _family(y: np.ndarray) -> tuple[float, float, float]:
    """Interval and p of what the same family adds, families being the units."""
    means = [
        relations.target_means(y, same)[0]
        for same in (SAME_FAMILY & ~np.eye(TASKS, dtype=bool), NEITHER)
    ]
    difference = means[0] - means[1]
    without = resample.resampled_mean(difference, structure.left_out(FAMILY))
    value = float(difference.mean())
    return *structure.jackknife(value, without), structure.jackknife_p(value, without)


def _style(y: np.ndarray, within: np.ndarray) -> float:
    same = SAME_STYLE & ~np.eye(TASKS, dtype=bool)
    difference = relations.target_means(y, same)[0] - relations.target_means(y, NEITHER)[0]
    drawn = relations.permuted_effects(y, same, NEITHER, within)
    return float(qap.p_value(np.array(difference.mean()), drawn))


def coverage(studies: int = 400, permutations: int = 199, seed: int = 0) -> pd.DataFrame:
    """Share of studies whose 95 % interval holds the truth (0), one row a structure.

    Columns: structure; mean: the mean gain, tasks random in both roles; family: what the same family
    adds, families being the units; correlation: of gain with similarity, whole families changing places.
    Without effects of tasks the jackknife of the mean is too wide.
    """
    rows = []
    for number, (name, draw) in enumerate(STRUCTURES.items()):
        if name.startswith("g"):
            continue  # where the truth is not 0
        rng = np.random.default_rng([seed, number])
        held = []
        for _ in range(studies):
            y, x = draw(rng)
            low, high = structure.jackknife(*structure.mean_without(y))
            below, above, _ = _family(y)
            r = float(correlation.group_values(x, y, "pooled", "pearson")[0])
            moved = structure.family_permutations(
                FAMILY, permutations, int(rng.integers(0, 2**31)), whole=True
            )
            _, far = correlation.permutation_test(x[None], y[None], moved, "pooled", "pearson")
            least, most = correlation.interval(r, float(far[0, 0]))
            held.append((low <= 0 <= high, below <= 0 <= above, least <= 0 <= most))
        rows.append((name, *np.mean(held, axis=0)))
    return pd.DataFrame(rows, columns=["structure", "mean", "family", "correlation"])
