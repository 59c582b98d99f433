"""Groups of tasks that help one another, and how firmly the gains support them.

Objective. The pairwise gains are taken as a first-order account of joint tuning: a group is worth
the sum of gain[s, t] over its ordered pairs (`objective="sum"`: helpers add up, a partner joins
when its net effect is positive), or the sum over its tasks of the *mean* gain from the other
members (`"mean"`, the rule of Standley et al. 2020 and Fifty et al. 2021; it favours small groups,
because a mean is never raised by a second-best partner). A task alone is worth 0.
Gains are shrunk towards their grand mean by their noise before they are added up, so that the
optimiser does not chase lucky cells.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Literal

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage, optimal_leaf_ordering
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.spatial.distance import squareform

from mvlpt_core.contract.errors import InputError

from ..stats.multiplicity import significant

Objective = Literal["sum", "mean"]
GROUP_COLUMNS = ("group", "task", "size", "expected_gain", "group_gain", "stability", "together")
GIVER_COLUMNS = (
    *("task", "mean_given", "mean_received"),
    *("helps", "hurts", "helped_by", "hurt_by", "hub"),
)
CLUSTER_COLUMNS = ("method", "cluster", "task")
EDGE_COLUMNS = ("source", "target", "weight")
MAX_CANDIDATES = 200_000  # candidate groups up to which the optimum is computed exactly


def shrink(gain: np.ndarray, se: np.ndarray | None) -> np.ndarray:
    """Empirical-Bayes means of the off-diagonal gains [n, n]: m + (g - m) v / (v + se^2).

    v is the variance of the true gains by moments, max(0, var(g) - mean(se^2)) (Efron & Morris
    1975). Without `se` the gains are returned as they are.
    """
    if se is None or not np.isfinite(se).any():
        return gain
    off = ~np.eye(len(gain), dtype=bool) & np.isfinite(gain) & np.isfinite(se)
    if off.sum() < 3:
        return gain
    mean, noise = gain[off].mean(), (se[off] ** 2).mean()
    true = max(float(gain[off].var(ddof=1) - noise), 0.0)
    error = np.where(np.isfinite(se), se**2, noise)
    weight = true / np.maximum(true + error, 1e-300)
    return mean + (gain - mean) * weight


def symmetrise(gain: np.ndarray, se: np.ndarray | None = None) -> np.ndarray:
    """Noise-weighted mean of both directions of each pair: [n, n], symmetric, diagonal NaN.

    Weights are 1 / (se^2 + tau^2), with tau^2 the variance of true gains between the two
    directions by moments (DerSimonian & Laird 1986), so that a small standard error cannot silence
    the other direction. A pair known in one direction takes it; a pair known in none (both
    diverged, or only one missing without its mirror) takes the mean of its two tasks' other pairs.
    """
    n = len(gain)
    off = ~np.eye(n, dtype=bool)
    noise = np.zeros_like(gain) if se is None else np.where(np.isfinite(se), se**2, np.nan)
    if not np.isfinite(noise).any():
        noise = np.zeros_like(gain)
    noise = np.where(np.isfinite(noise), noise, np.nanmean(noise))
    both = off & np.isfinite(gain) & np.isfinite(gain.T)
    spread = ((gain - gain.T)[both] ** 2 - (noise + noise.T)[both]) / 2
    between = max(float(spread.mean()), 0.0) if both.any() else 0.0
    weight = np.where(np.isfinite(gain) & off, 1 / np.maximum(noise + between, 1e-12), 0.0)
    total = weight + weight.T
    filled = np.where(np.isfinite(gain), gain, 0.0)
    out = np.where(total > 0, weight * filled + (weight * filled).T, np.nan)
    out = out / np.where(total > 0, total, 1.0)
    missing = off & ~np.isfinite(out)
    if missing.any():
        known = np.where(off & ~missing, out, 0.0)
        count = (off & ~missing).sum(1)
        overall = known.sum() / max(count.sum(), 1)
        level = np.where(count > 0, known.sum(1) / np.maximum(count, 1), overall)
        out = np.where(missing, (level[:, None] + level[None, :]) / 2, out)
    return np.where(off, out, np.nan)


def cluster(symmetric: np.ndarray) -> np.ndarray:
    """Average-linkage tree [n - 1, 4] (scipy's format, leaves ordered so that neighbours are
    alike) on the distance max(gain) - gain, in the units of the gains.

    Raises InputError for a single task.
    """
    if len(symmetric) < 2:
        raise InputError("clusters of 1 task: expected at least 2")
    distance = np.nanmax(symmetric) - symmetric
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance, checks=False)
    return optimal_leaf_ordering(linkage(condensed, "average"), condensed)


def profile_clusters(gain: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Clusters [S] of sources that help the same targets (as Zamir et al. 2018 group tasks).

    `gain` [S, T], `own` [S, T] marks a source's own target, which is left out. Distance 1 -
    Spearman correlation of two rows over the targets both have (at least 3, else 1), average
    linkage; the number of clusters, 2 to S / 2, has the largest mean silhouette (Rousseeuw 1987).
    """
    rows = pd.DataFrame(np.where(own, np.nan, gain)).T
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = 1 - rows.corr(method="spearman", min_periods=3).fillna(0.0).to_numpy().copy()
    np.fill_diagonal(distance, 0.0)
    n = len(distance)
    if n < 4:
        return np.zeros(n, dtype=np.intp)
    tree = linkage(squareform(distance, checks=False), "average")
    cuts = [fcluster(tree, k, "maxclust") for k in range(2, n // 2 + 1)]
    cuts = [labels for labels in cuts if len(set(labels)) > 1]
    if not cuts:  # all rows are equally far from one another
        return np.zeros(n, dtype=np.intp)
    return _renumber(max(cuts, key=lambda labels: _separation(distance, labels)))


def _separation(distance: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette; 0 for a single cluster, or for every task alone."""
    from sklearn.metrics import silhouette_score  # slow to import, and only clusters need it

    clusters = len(np.unique(labels))
    if not 2 <= clusters < len(labels):
        return 0.0
    return float(silhouette_score(distance, labels, metric="precomputed"))


def _worth(pairs: np.ndarray, size: np.ndarray, objective: Objective) -> np.ndarray:
    """Worth of groups from the sum of gains over their ordered pairs and their sizes."""
    return pairs if objective == "sum" else pairs / np.maximum(size - 1, 1)


def _exact(both: np.ndarray, limit: int, objective: Objective, known: float) -> np.ndarray | None:
    """Set partitioning by integer programming over all groups of at most `limit` tasks that are
    worth more than nothing (any other may be dissolved without loss).

    `known` is the worth of some partition. A group whose reduced cost in the linear relaxation is
    above the gap between `known` and the relaxation's optimum is in no better partition, so the
    integer program is left with few of the groups (reduced-cost fixing: Wolsey 1998, Integer Programming).
    """
    n = len(both)
    members: list[np.ndarray] = [np.arange(n)[:, None]]
    worth = [np.zeros(n)]
    for size in range(2, limit + 1):
        index = np.array(list(combinations(range(n), size)))
        pairs = sum(both[index[:, a], index[:, b]] for a, b in combinations(range(size), 2))
        value = _worth(np.asarray(pairs), np.array(float(size)), objective)
        members.append(index[value > 0])
        worth.append(value[value > 0])
    value = np.concatenate(worth)
    cover = np.zeros((n, len(value)))
    column = 0
    for index in members:
        cover[index, np.arange(column, column + len(index))[:, None]] = 1
        column += len(index)
    unit = np.abs(value).max() or 1.0
    # A tiny price a group settles ties in favour of fewer, larger groups.
    price = 1e-9
    cost = price - value / unit
    relaxed = linprog(cost, A_eq=cover, b_eq=np.ones(n), bounds=(0, None), method="highs")
    if relaxed.status != 0:
        return None
    gap = (n * price - known / unit) - relaxed.fun
    kept = cost - relaxed.eqlin.marginals @ cover <= gap + 1e-7
    found = milp(
        cost[kept],
        constraints=LinearConstraint(cover[:, kept], 1, 1),
        integrality=np.ones(kept.sum()),
        bounds=Bounds(0, 1),
        options={"time_limit": 20.0, "mip_rel_gap": 0.0},
    )
    if found.status != 0:
        return None
    return np.asarray(cover[:, kept][:, found.x > 0.5].argmax(1), dtype=np.intp)


def _search(
    both: np.ndarray, limit: int, objective: Objective, labels: np.ndarray
) -> tuple[float, np.ndarray]:
    """Steepest ascent over single moves and swaps, from `labels` [n] with values below n."""
    n = len(both)
    labels = labels.copy()
    rows = np.arange(n)
    while True:
        member = np.zeros((n, n))
        member[rows, labels] = 1
        size = member.sum(0)
        link = both @ member  # [n, groups]: gains between a task and each group, both directions
        pairs = (link * member).sum(0) / 2
        worth = _worth(pairs, size, objective)
        own = link[rows, labels]
        leave = _worth(pairs[labels] - own, size[labels] - 1, objective) - worth[labels]
        join = _worth(pairs + link, size + 1, objective) - worth
        move = np.where((size[None] < limit) & (member == 0), leave[:, None] + join, -np.inf)
        across = link[:, labels]  # [i, j]: task i and the group of j
        here = (
            _worth(
                pairs[labels][:, None] - own[:, None] + across.T - both,
                size[labels][:, None],
                objective,
            )
            - worth[labels][:, None]
        )
        swap = np.where(labels[:, None] != labels[None, :], here + here.T, -np.inf)
        best_move, best_swap = move.max(), swap.max()
        if max(best_move, best_swap) <= 1e-12:
            return float(worth.sum()), labels
        if best_move >= best_swap:
            i, group = np.unravel_index(move.argmax(), move.shape)
            labels[i] = group
        else:
            i, j = np.unravel_index(swap.argmax(), swap.shape)
            labels[i], labels[j] = labels[j], labels[i]


def best_groups(
    gain: np.ndarray,
    limit: int = 5,
    objective: Objective = "sum",
    restarts: int = 20,
    seed: int = 0,
    exact: bool = True,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Partition into groups of at most `limit` tasks that maximises the worth of the groups.

    `gain` [n, n], source by target, NaN counts as 0. Returns labels [n], numbered by first
    appearance. Exact (integer program over all groups) up to `MAX_CANDIDATES` candidate groups,
    about 30 tasks in groups of 5; beyond, or with `exact=False`, the best local optimum from all
    tasks alone, from `start`, and from `restarts` random partitions drawn with `seed`.
    Raises InputError for a limit below 2.
    """
    if limit < 2:
        raise InputError(f"the size limit of groups is {limit}: expected 2 or more")
    n = len(gain)
    limit = min(limit, n)
    off = np.where(np.isfinite(gain) & ~np.eye(n, dtype=bool), gain, 0.0)
    both = off + off.T
    rng = np.random.default_rng(seed)
    starts = [np.arange(n)] + ([] if start is None else [_renumber(start)])
    starts += [rng.permutation(n) // limit for _ in range(restarts)]
    found = [_search(both, limit, objective, labels) for labels in starts]
    worth, labels = max(found, key=lambda pair: pair[0])
    if exact and sum(comb(n, size) for size in range(1, limit + 1)) <= MAX_CANDIDATES:
        best = _exact(both, limit, objective, worth)
        labels = labels if best is None else best
    return _renumber(labels)


def _renumber(labels: np.ndarray) -> np.ndarray:
    order = {label: i for i, label in enumerate(dict.fromkeys(labels.tolist()))}
    return np.array([order[label] for label in labels.tolist()], dtype=np.intp)


def _resample(
    gain: np.ndarray, se: np.ndarray | None, seeds: np.ndarray | None, draws: int, seed: int
) -> np.ndarray:
    """Gains under resampling [draws, n, n]: with gains by seed `seeds` [k >= 3, n, n] the seeds
    are drawn with replacement, the same for all cells; otherwise Normal noise of the cells' `se`;
    with neither an empty array. Two seeds have too few resamples, so they fall under the second.
    """
    rng = np.random.default_rng(seed)
    if seeds is not None and len(seeds) >= 3:
        chosen = seeds[rng.integers(len(seeds), size=(draws, len(seeds)))]
        known = np.isfinite(chosen).sum(1)
        total = np.where(np.isfinite(chosen), chosen, 0.0).sum(1)
        return np.where(known > 0, total / np.maximum(known, 1), np.nan)
    if se is None or not np.isfinite(se).any():
        return np.empty((0, *gain.shape))
    noise = np.where(np.isfinite(se), se, 0.0)
    return gain + noise * rng.standard_normal((draws, *gain.shape))


def group_table(
    tasks: list[str],
    gain: np.ndarray,
    se: np.ndarray | None = None,
    seeds: np.ndarray | None = None,
    limit: int = 5,
    objective: Objective = "sum",
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Groups as a table, one row a task: group (from 1), task, size, expected_gain (mean shrunk
    gain from the other members, 0 alone), group_gain (mean of it over the group), stability (mean
    over resamples of the best Jaccard overlap of the group with a resampled one, Hennig 2007;
    1 = always found), together (share of resamples in which the task shares its group with its
    mates, averaged over mates; for a task alone, the share in which it stays alone).

    Stability is NaN without seeds and standard errors. No rows where no pair of tasks has a gain.
    """
    if not np.isfinite(gain[~np.eye(len(tasks), dtype=bool)]).any():
        return pd.DataFrame(columns=list(GROUP_COLUMNS))
    shrunk = shrink(gain, se)
    labels = best_groups(shrunk, limit, objective, seed=seed)
    n = len(tasks)
    same = labels[:, None] == labels[None, :]
    mates = same & ~np.eye(n, dtype=bool)
    known = mates & np.isfinite(shrunk)
    count = known.sum(0)
    expected = np.where(known, shrunk, 0.0).sum(0) / np.maximum(count, 1)
    resampled = _resample(gain, se, seeds, draws, seed)
    overlap, shared = np.zeros((2, n)), np.zeros(n)
    for k, draw in enumerate(resampled):
        other = best_groups(shrink(draw, se), limit, objective, 3, seed + k, False, labels)
        again = other[:, None] == other[None, :]
        union = same.sum(1)[:, None] + again.sum(1)[None, :]
        inter = same.astype(float) @ again.astype(float)
        overlap[0] += (inter / (union - inter)).max(1)
        alone = again.sum(1) == 1
        part = (again & mates).sum(1) / np.maximum(mates.sum(1), 1)
        shared += np.where(mates.any(1), part, alone)
    scale = 1 / len(resampled) if len(resampled) else np.nan
    table = pd.DataFrame(
        {
            "group": labels + 1,
            "task": tasks,
            "size": same.sum(1),
            "expected_gain": expected,
            "group_gain": [expected[row].mean() for row in same],
            "stability": overlap[0] * scale,
            "together": shared * scale,
        }
    )
    # The groups that gain most come first; numbers follow that order.
    order = table.groupby("group")["expected_gain"].sum().sort_values(ascending=False).index
    table["group"] = table["group"].map({g: i + 1 for i, g in enumerate(order)})
    return table.sort_values("group", kind="stable").reset_index(drop=True)[list(GROUP_COLUMNS)]


def transfer_graph(pairs: pd.DataFrame, value: str = "gain") -> pd.DataFrame:
    """The transfers that are established (`EDGE_COLUMNS`, weight is the gain): the off-diagonal pairs
    whose q (p corrected for the number of pairs) is significant. `pairs`: source, target, `value`,
    q."""
    kept = pairs[(pairs["source"] != pairs["target"]) & significant(pairs["q"])]
    edges = kept[["source", "target", value]].rename(columns={value: "weight"})
    return edges.astype({"weight": float}).reset_index(drop=True)


def givers(pairs: pd.DataFrame, value: str = "gain") -> pd.DataFrame:
    """What each task gives and takes, best givers first: task, mean_given, mean_received (means
    over off-diagonal pairs with a gain), helps, hurts (significant edges out), helped_by,
    hurt_by (significant edges in), hub (share of all significant positive gain that it gives)."""
    edges = transfer_graph(pairs, value)
    off = pairs[pairs["source"] != pairs["target"]]
    table = pd.DataFrame({"task": list(dict.fromkeys([*pairs["target"], *pairs["source"]]))})
    table["mean_given"] = table["task"].map(off.groupby("source")[value].mean())
    table["mean_received"] = table["task"].map(off.groupby("target")[value].mean())
    up, down = edges[edges["weight"] > 0], edges[edges["weight"] < 0]
    for name, some, side in (
        ("helps", up, "source"),
        ("hurts", down, "source"),
        ("helped_by", up, "target"),
        ("hurt_by", down, "target"),
    ):
        table[name] = table["task"].map(some[side].value_counts()).fillna(0).astype(int)
    given = table["task"].map(up.groupby("source")["weight"].sum()).fillna(0.0)
    table["hub"] = given / (up["weight"].sum() or 1.0)
    table = table.sort_values("mean_given", ascending=False, kind="stable")
    return table.reset_index(drop=True)[list(GIVER_COLUMNS)]
