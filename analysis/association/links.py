"""Apart: good sources are central tasks, good pairs are alike, and what goes beyond a family.

`correlations` pools three findings, and takes tasks for exchangeable. Here each has a row, a `link`:

all               gain with similarity, as there, of all pairs
sources, targets  mean gain that a task gives (receives) with its mean similarity to the others
pairs             gain with similarity, both without the effects of sources and of targets
beyond            as pairs, also without block means of a factor's groups (families)

Where `factor` is empty tasks change places freely, which is right where they are exchangeable. Else whole
families change places, and tasks within them; for `beyond` tasks within families alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..stats import correlation, qap, structure
from ..stats.multiplicity import benjamini_hochberg
from .tables import Matrices
from .verdicts import MARGIN, VERDICT_COLUMNS, with_verdicts

LINK_COLUMNS = (
    *("method", "gain_kind", "measure", "link", "factor", "statistic", "value", "low", "high"),
    *("p_permutation", "q", "n", "n_units", "permutations"),
    *VERDICT_COLUMNS,
    "reason",
)
STATISTICS = ("pearson", "spearman")
IS_FACTOR = 1e-4  # share of a measure's variance within blocks below which it is the factor itself
ROLES = {"sources": 1, "targets": 0}  # the axis that their means go over

Cells = tuple[np.ndarray, np.ndarray]  # similarities [M, T, T] and gains [K, T, T]


def link_table(
    data: Matrices,
    factors: pd.DataFrame | None = None,
    permutations: int = 10_000,
    seed: int = 0,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """One row a method, kind of gain, measure, link, factor and statistic (`LINK_COLUMNS`).

    factors: task and one column a factor; without any, the links `all` and `beyond` have no rows. value:
    the correlation; spearman: the same on ranks of all cells. low, high: the 95 % interval that agrees
    with p_permutation. n: cells, or tasks for `sources` and `targets`. n_units: what changes places,
    tasks or families. q: Benjamini-Hochberg over methods and measures of one kind of gain, link, factor
    and statistic. verdict, margin, told: `verdicts.with_verdicts`. reason: why there is no value: a measure
    that is constant within families *is* the family.
    """
    if not data.testable or data.places.targets:
        return pd.DataFrame(columns=list(LINK_COLUMNS))
    tests = _Tests(data, permutations, seed)
    rows: list[dict] = []
    named = pd.DataFrame() if factors is None else factors.set_index("task")
    for statistic in STATISTICS:
        every, apart = (tests.left(link, statistic) for link in ("all", "pairs"))
        for factor in ["", *named.columns]:
            family = None
            if factor:
                values = named[factor].reindex(data.places.tasks).fillna("")
                family = structure.blocks(values.tolist())
            moved = tests.moved(family, whole=True)
            for link in ROLES:
                rows += tests.roles(link, statistic, str(factor), moved)
            rows += tests.pairs("pairs", apart, statistic, str(factor), moved)
            if family is not None:
                rows += tests.pairs("all", every, statistic, str(factor), moved)
                inside = tests.moved(family, whole=False)
                within = tests.left("beyond", statistic, family)
                rows += tests.pairs("beyond", within, statistic, str(factor), inside, family)
    table = pd.DataFrame(rows).assign(permutations=permutations)
    keys = ["gain_kind", "link", "factor", "statistic"]
    q = table.groupby(keys, sort=False)["p_permutation"].transform(benjamini_hochberg)
    return with_verdicts(table.assign(q=q), margin)[list(LINK_COLUMNS)]


class _Tests:
    """All matrices of a study, and how tasks change places in their tests."""

    def __init__(self, data: Matrices, permutations: int, seed: int):
        self.data, self.count, self.seed = data, permutations, seed
        self.known = list(data.similarities.values())
        self.gains = list(data.gains.values())

    def moved(self, family: np.ndarray | None, whole: bool) -> tuple[np.ndarray, int]:
        """Permutations [P, T], free without families, and the number of units that they move."""
        if family is None:
            return self.data.places.permutations(self.count, self.seed), self.data.n_tasks
        permuted = structure.family_permutations(family, self.count, self.seed, whole)
        return permuted, len(np.unique(family)) if whole else len(family)

    def _belonging(self) -> Iterator[tuple[int, int, dict]]:
        """Places of the gains and the measures that belong together, and their names."""
        for k, (method, kind) in enumerate(self.data.gains):
            for m, (measure, _) in enumerate(self.data.similarities):
                if self.data.of(measure, method) is self.known[m]:
                    yield k, m, {"method": method, "gain_kind": kind, "measure": measure}

    def roles(
        self, link: str, statistic: str, factor: str, moved: tuple[np.ndarray, int]
    ) -> Iterator[dict]:
        """Rows of means over the other tasks: vectors, whose tasks are permuted."""
        x, y = (
            np.array([_ranked(_means(v, ROLES[link]), statistic) for v in m])
            for m in (self.known, self.gains)
        )
        permuted, units = moved
        a, b = (np.nan_to_num([_centred(v) for v in m]) for m in (x, y))
        shuffled = np.stack([v[permuted] for v in b])  # [K, P, T]
        for k, m, names in self._belonging():
            both = ~(np.isnan(x[m]) | np.isnan(y[k]))
            row = names | {"link": link, "factor": factor, "statistic": statistic}
            row |= {"n": int(both.sum()), "n_units": units}
            value = correlation.coefficient(x[m], y[k], "pearson")
            if np.isnan(value):
                yield row | _nothing("fewer than 3 tasks, or means that do not vary")
                continue
            observed, sums = np.array([a[m] @ b[k]]), (shuffled[k] @ a[m])[:, None]
            p, far = qap.p_value(observed, sums)[0], qap.reach(observed, sums)[0]
            yield row | _found(value, float(p), float(far))

    def left(self, link: str, statistic: str, family: np.ndarray | None = None) -> Cells:
        """What of the similarities' and of the gains' cells a link is about."""
        x, y = (
            np.array([_left(_ranked(v, statistic), link, family) for v in matrices])
            for matrices in (self.known, self.gains)
        )
        return x, y

    def pairs(
        self,
        link: str,
        cells: Cells,
        statistic: str,
        factor: str,
        moved: tuple[np.ndarray, int],
        family: np.ndarray | None = None,
    ) -> Iterator[dict]:
        """Rows of cells: all, or what is left of them without effects of tasks (and of blocks)."""
        x, y = cells
        a, b = (
            np.array([qap.standardise(v, "pooled", "pearson") for v in matrices])
            for matrices in (x, y)
        )
        permuted, units = moved
        stuck = not (permuted != np.arange(permuted.shape[1])).any()
        # The fewer are permuted: to permute one side is to permute the other the inverse way.
        p, far = qap.product_test(b, a, permuted)
        same = np.zeros(len(x), bool)
        if family is not None:
            same = np.array([structure.within_share(v, family) < IS_FACTOR for v in self.known])
        for k, m, names in self._belonging():
            both = ~(np.isnan(x[m]) | np.isnan(y[k]))
            row = names | {"link": link, "factor": factor, "statistic": statistic}
            row |= {"n": int(both.sum()), "n_units": units}
            value = correlation.coefficient(x[m][both], y[k][both], "pearson")
            if stuck:
                yield row | _nothing(f"no two tasks can change places by {factor}")
            elif same[m]:
                yield row | _nothing(f"similarity is constant within {factor}: it is the {factor}")
            elif np.isnan(value):
                yield row | _nothing("nothing is left that varies")
            else:
                yield row | _found(value, float(p[k, m]), float(far[k, m]))


def _found(value: float, p: float, reach: float) -> dict:
    low, high = correlation.interval(value, reach)
    return {"value": value, "low": low, "high": high, "p_permutation": p, "reason": ""}


def _nothing(reason: str) -> dict:
    none = dict.fromkeys(("value", "low", "high", "p_permutation"), np.nan)
    return none | {"reason": reason}


def _means(matrix: np.ndarray, axis: int) -> np.ndarray:
    """Means [T] of the defined cells of rows (axis 1) or columns; NaN where there are none."""
    known = ~np.isnan(matrix)
    total, count = np.where(known, matrix, 0).sum(axis), known.sum(axis)
    return np.divide(total, count, out=np.full(len(matrix), np.nan), where=count > 0)


def _ranked(values: np.ndarray, statistic: str) -> np.ndarray:
    return qap.ranks(values, pooled=True) if statistic == "spearman" else values


def _centred(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return values - values[known].mean() if known.any() else values


def _left(values: np.ndarray, link: str, family: np.ndarray | None) -> np.ndarray:
    """What of cells [T, T] a link is about."""
    return values if link == "all" else structure.residual(values, family)
