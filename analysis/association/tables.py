"""What explains gain: correlations, partial correlations and regressions, as tidy tables.

All of them work on `matrices(gains, similarity)`: `gains` with source, target and the gain columns
(`method` optional: a table of others is one method "table"), and `similarity` with source, target,
measure, value (`method` optional: null, or the method whose prompts were compared). The diagonal is
never used. Sources and targets of different kinds (models and data sets) are tested by permuting the
sources alone. With fewer than `MIN_TASKS` tasks there is nothing to permute: the tables have no rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..read.pairs import check_pairs, common_tasks, off_diagonal, owner, pivot, square
from ..stats import correlation, mrqap, qap, resample
from ..stats.multiplicity import benjamini_hochberg
from .verdicts import MARGIN, VERDICT_COLUMNS, with_verdicts

CORRELATION_COLUMNS = (
    "method",
    "gain_kind",
    "measure",
    "scope",
    "statistic",
    "value",
    "low",
    "high",
    "p_permutation",
    "p_naive",
    "q",
    "n",
    "n_groups",
    "n_tasks",
    "permutations",
    *VERDICT_COLUMNS,
    "reason",
)
PARTIAL_COLUMNS = (
    "method",
    "gain_kind",
    "measure",
    "given",
    "statistic",
    "value",
    "p_permutation",
    "p_naive",
    "q",
    "n",
    "n_tasks",
    "permutations",
    "reason",
)
REGRESSION_COLUMNS = (
    "method",
    "gain_kind",
    "term",
    "coefficient",
    "t",
    "p_permutation",
    "p_naive",
    "q",
    "r_squared",
    "n",
    "n_tasks",
    "permutations",
    "reason",
)
TABLE = "table"
MIN_TASKS = 4
_ASSIGNED = ("q", "n_tasks", "permutations", *VERDICT_COLUMNS)  # to all rows at once


@dataclass(frozen=True)
class Places:
    """What the rows and columns of matrices [T, T] stand for: `tasks`, and where targets are of another
    kind than the sources, `targets` behind them. Then only the block of these columns has values."""

    tasks: list[str]
    targets: tuple[str, ...] = ()

    def matrix(self, frame: pd.DataFrame, value: str) -> np.ndarray:
        """The pair table as a matrix [T, T], NaN where source and target are one."""
        if not self.targets:
            return off_diagonal(square(frame, value, self.tasks))
        n = len(self.tasks)
        own = np.array(self.tasks)[:, None] == np.array(self.targets)
        block = pivot(frame, value).reindex(index=self.tasks, columns=list(self.targets))
        matrix = np.full((n + len(self.targets),) * 2, np.nan)
        matrix[:n, n:] = np.where(own, np.nan, block.to_numpy(dtype=float))
        return matrix

    def permutations(self, count: int, seed: int) -> np.ndarray:
        """Random permutations [count, T] of the tasks; targets of another kind stay in place."""
        n = len(self.tasks)
        moved = resample.permutations(n, count, seed)
        stay = np.tile(np.arange(n, n + len(self.targets)), (count, 1))
        return np.hstack([moved, stay])


def find_places(frame: pd.DataFrame) -> Places:
    """Tasks that are both a source and a target; where these are too few for a test, but sources are
    not, sources and targets as things of different kinds."""
    common = common_tasks(frame)
    sources = list(map(str, frame["source"].unique()))
    if len(common) >= MIN_TASKS or len(sources) < MIN_TASKS:
        return Places(common)
    return Places(sources, tuple(map(str, frame["target"].unique())))


@dataclass(frozen=True)
class Matrices:
    """The tables as matrices [T, T] over `places`; similarities by (measure, method or "")."""

    places: Places
    gains: dict[tuple[str, str], np.ndarray]
    similarities: dict[tuple[str, str], np.ndarray]

    @property
    def n_tasks(self) -> int:
        """What a permutation moves: tasks, or sources where targets are of another kind."""
        return len(self.places.tasks)

    def of(self, measure: str, method: str) -> np.ndarray | None:
        """The measure's matrix for a method: its own, or the one that all methods share."""
        own = self.similarities.get((measure, method))
        return self.similarities.get((measure, "")) if own is None else own

    @property
    def testable(self) -> bool:
        """Whether there are gains, similarities and tasks enough for a test."""
        return self.n_tasks >= MIN_TASKS and bool(self.gains) and bool(self.similarities)


def matrices(
    gains: pd.DataFrame,
    similarity: pd.DataFrame,
    gain_kinds: Sequence[str] = ("gain",),
    tasks: Sequence[str] | None = None,
) -> Matrices:
    """Pivot the tables over `tasks`, or over those that `find_places` finds in the gains.

    Raises InputError for a missing column and for duplicates.
    """
    gains = gains if "method" in gains.columns else gains.assign(method=TABLE)
    for kind in gain_kinds:
        gains = check_pairs(gains, kind, "gains", keys=("method",))
    places = Places(list(tasks)) if tasks is not None else find_places(gains)
    by_method = {str(method): frame for method, frame in gains.groupby("method", sort=False)}
    return Matrices(
        places,
        {
            (method, kind): places.matrix(frame, kind)
            for kind in gain_kinds
            for method, frame in by_method.items()
        },
        similarity_matrices(similarity, places),
    )


def similarity_matrices(
    similarity: pd.DataFrame, places: Places
) -> dict[tuple[str, str], np.ndarray]:
    """Matrices [T, T] over `places` of a similarity table by (measure, method or ""), NaN on the diagonal."""
    if "measure" not in similarity.columns:
        raise InputError("similarity: column 'measure' is missing: expected one row a measure")
    similarity = check_pairs(
        similarity.assign(method=owner(similarity)),
        "value",
        "similarity",
        keys=("measure", "method"),
    )
    return {
        (str(key[0]), str(key[1])): places.matrix(frame, "value")
        for key, frame in similarity.groupby(["measure", "method"], sort=False)
    }


def correlation_table(
    data: Matrices,
    scopes: Sequence[str] = qap.SCOPES,
    statistics: Sequence[str] = correlation.STATISTICS,
    permutations: int = 10_000,
    seed: int = 0,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Correlation of every gain with every similarity (`CORRELATION_COLUMNS`).

    value: the coefficient, for `per_target` and `per_source` the mean over groups.
    p_permutation: Mantel test, two-sided; low, high: the 95 % interval that agrees with it; p_naive: as
    if cells (or groups) were independent.
    q: Benjamini-Hochberg over the methods and measures of one gain kind, scope
    and statistic. n: cells, n_groups: targets or sources with a defined coefficient.
    verdict, margin, told: `verdicts.with_verdicts`. Where `value` is NaN `reason` says why.
    """
    if not data.testable:
        return pd.DataFrame(columns=list(CORRELATION_COLUMNS))
    permuted = data.places.permutations(permutations, seed)
    rows = []
    for scope in scopes:
        for statistic in statistics:
            for (method, kind), measure, p, reach in _tested(data, scope, statistic, permuted):
                x = data.of(measure, method)
                assert x is not None
                row = _describe(x, data.gains[method, kind], scope, statistic, reach)
                row["p_permutation"] = p if row["reason"] == "" else np.nan
                names = {"method": method, "gain_kind": kind, "measure": measure}
                rows.append(names | {"scope": scope, "statistic": statistic} | row)
    table = pd.DataFrame(rows, columns=[c for c in CORRELATION_COLUMNS if c not in _ASSIGNED])
    table = table.assign(n_tasks=data.n_tasks, permutations=permutations)
    table = _correct(table, ["gain_kind", "scope", "statistic"])
    return with_verdicts(table, margin)[list(CORRELATION_COLUMNS)]


def _tested(
    data: Matrices, scope: str, statistic: str, permuted: np.ndarray
) -> Iterator[tuple[tuple[str, str], str, float, float]]:
    """Permutation p-values and reach of all (method, kind) and measures that belong together."""
    gains = list(data.gains)
    keys = list(data.similarities)
    wanted = np.array(
        [
            [data.of(measure, method) is data.similarities[measure, mine] for method, _ in gains]
            for measure, mine in keys
        ]
    )
    x, y = np.stack(list(data.similarities.values())), np.stack(list(data.gains.values()))
    p, reach = correlation.permutation_test(x, y, permuted, scope, statistic, wanted)
    for k, gain in enumerate(gains):
        for m, (measure, _) in enumerate(keys):
            if wanted[m, k]:
                yield gain, measure, float(p[m, k]), float(reach[m, k])


def _describe(x: np.ndarray, y: np.ndarray, scope: str, statistic: str, reach: float) -> dict:
    """Value, interval, naive p, sizes and reason of one pair of matrices [T, T]."""
    groups = correlation.group_values(x, y, scope, statistic)
    defined = groups[~np.isnan(groups)]
    both = ~(np.isnan(x) | np.isnan(y))
    row = {
        "value": np.nan,
        "low": np.nan,
        "high": np.nan,
        "p_naive": np.nan,
        "n": int(both.sum()),
        "n_groups": len(defined),
        "reason": "",
    }
    if not len(defined):
        return row | {"reason": _why_undefined(x[both], y[both], scope)}
    value = row["value"] = float(defined.mean())
    row["low"], row["high"] = correlation.interval(value, reach)
    row["p_naive"] = correlation.naive_p(x[both], y[both], defined, scope, statistic)
    return row


def _why_undefined(x: np.ndarray, y: np.ndarray, scope: str) -> str:
    """Why no coefficient exists for defined values [n] of the two matrices."""
    if len(x) < qap.MIN_CELLS:
        return "fewer than 3 defined pairs"
    if qap.is_constant(x):
        return "similarity is constant"
    if qap.is_constant(y):
        return "gain is constant"
    return f"similarity or gain is constant {scope.replace('_', ' ')}"


def partial_table(
    data: Matrices,
    pairs: Sequence[tuple[str, str]] = (
        ("visual_cosine", "label_cosine"),
        ("label_cosine", "visual_cosine"),
    ),
    statistics: Sequence[str] = ("pearson", "spearman"),
    permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Partial Mantel tests: gain with a measure given another (`PARTIAL_COLUMNS`).

    Smouse, Long and Sokal 1986, Systematic Zoology 35, with the residual of the measure permuted
    (`stats.mrqap`). Spearman: the same on ranks. q: over one gain kind, statistic. Pairs of
    measures that a study lacks are left out.
    """
    if not data.testable:
        return pd.DataFrame(columns=list(PARTIAL_COLUMNS))
    index = qap.cell_index(data.places.permutations(permutations, seed))
    rows = []
    for (method, kind), y in data.gains.items():
        for measure, given in pairs:
            x, z = data.of(measure, method), data.of(given, method)
            if x is None or z is None:
                continue
            for statistic in statistics:
                used = np.stack([y, x, z])
                used = mrqap.ranked(used) if statistic == "spearman" else used
                result = mrqap.double_semipartial(used[0], used[1], used[2:], index)
                rows.append(
                    {"method": method, "gain_kind": kind, "measure": measure, "given": given}
                    | {"statistic": statistic, "value": result.partial}
                    | {"p_permutation": result.p, "p_naive": result.p_naive, "n": result.n}
                    | {"reason": result.reason}
                )
    table = pd.DataFrame(rows, columns=[c for c in PARTIAL_COLUMNS if c not in _ASSIGNED])
    table = table.assign(n_tasks=data.n_tasks, permutations=permutations)
    return _correct(table, ["gain_kind", "statistic"])[list(PARTIAL_COLUMNS)]


def regression_table(
    data: Matrices,
    terms: Sequence[str] = ("visual_cosine", "label_cosine"),
    permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Gain regressed on several measures at once, one row a term (`REGRESSION_COLUMNS`).

    Coefficients are standardised; tests are MRQAP with double semi-partialling
    (`stats.mrqap`). q: over the methods and terms of one gain kind. Terms that a study lacks are
    left out.
    """
    if not data.testable:
        return pd.DataFrame(columns=list(REGRESSION_COLUMNS))
    index = qap.cell_index(data.places.permutations(permutations, seed))
    rows = []
    for (method, kind), y in data.gains.items():
        known = {t: m for t in terms if (m := data.of(t, method)) is not None}
        if not known:
            continue
        x = np.stack(list(known.values()))
        share, _ = mrqap.r_squared(y, x)
        for i, term in enumerate(known):
            result = mrqap.double_semipartial(y, x[i], np.delete(x, i, axis=0), index)
            rows.append(
                {"method": method, "gain_kind": kind, "term": term}
                | {"coefficient": result.beta, "t": result.t, "p_permutation": result.p}
                | {"p_naive": result.p_naive, "r_squared": share, "n": result.n}
                | {"reason": result.reason}
            )
    table = pd.DataFrame(rows, columns=[c for c in REGRESSION_COLUMNS if c not in _ASSIGNED])
    table = table.assign(n_tasks=data.n_tasks, permutations=permutations)
    return _correct(table, ["gain_kind"])[list(REGRESSION_COLUMNS)]


def _correct(table: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """The table with q (Benjamini-Hochberg) of p_permutation within each family."""
    p = table.astype({"p_permutation": float}).groupby(family, sort=False)["p_permutation"]
    return table.assign(q=p.transform(benjamini_hochberg))
