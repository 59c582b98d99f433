"""Uncertainty of a gain over test images, for pairs that were run with one seed only.

Transfer and scratch are scored on the same images, so images are resampled in pairs. The interval
says how the gain would vary with other test images, for these prompts: it holds nothing of the
variation over few-shot samples and initialisations, for which several seeds are needed.

Shapes: B replicates, K runs on one target, M test images, C classes.
"""

import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from mvlpt_core.contract.errors import InputError

SCRATCH = "scratch"
INTERVAL_COLUMNS = [
    "method",
    "source",
    "target",
    "seed",
    "gain",
    "se",
    "low",
    "high",
    "relative_error_reduction_low",
    "relative_error_reduction_high",
    "p",
    "n_images",
]
# Images times replicates held at once, in float32: 128 MB.
BLOCK = 32_000_000


def image_intervals(
    outcomes: pd.DataFrame,
    labels: Mapping[str, np.ndarray],
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Bootstrap over test images of each cell's gain (`INTERVAL_COLUMNS`, gains 0..1).

    `outcomes` is the frame of `read.gather` (cells and their scratch runs); `labels` gives
    each target's test labels, [M] class numbers or [M, C] multi-hot. The interval is the
    percentile interval, widened by the t quantile and sqrt(M / (M - 1)) ("expanded percentile",
    Hesterberg 2015, The American Statistician 69, section 4.4): the plain one is too narrow.
    p tests gain 0 by the bootstrap's standard error with the variance taken at gain 0 (for
    accuracy this is McNemar's test). Cells without a stored scratch run are left out.
    Raises InputError for a target without labels or outcomes of another length.
    """
    frames = [pd.DataFrame(columns=INTERVAL_COLUMNS)]
    for key, group in outcomes.groupby(["target", "metric"], sort=True):
        target, metric = (str(part) for part in key)
        if target not in labels:
            raise InputError(f"no test labels for target '{target}': its features are needed")
        truth = np.asarray(labels[target])
        runs = decode(group, truth, target)
        is_scratch = (group["source"] == SCRATCH).to_numpy()
        keys = list(zip(group["method"], group["seed"], strict=True))
        base = {key: i for i, key in enumerate(keys) if is_scratch[i]}
        cells = [i for i, key in enumerate(keys) if not is_scratch[i] and key in base]
        if not cells:
            continue
        # The task's name seeds its images, so that other tasks do not change its numbers.
        rng = np.random.default_rng([seed, zlib.crc32(target.encode())])
        drawn = np.concatenate(
            [
                weighted_scores(metric, runs, truth, weights)
                for weights in resample(metric, truth, replicates, rng)
            ]
        )  # [B, K]
        exact = weighted_scores(metric, runs, truth, np.ones((1, len(truth)), np.float32))
        own = [base[keys[i]] for i in cells]
        numbers = summary(
            exact[0, cells] - exact[0, own], drawn[:, cells], drawn[:, own], level, len(truth)
        )
        found = group[["method", "source", "target", "seed"]].iloc[cells].reset_index(drop=True)
        frames.append(found.assign(n_images=len(truth), **numbers)[INTERVAL_COLUMNS])
    return pd.concat(frames[1:] or frames, ignore_index=True)


def summary(
    gain: np.ndarray, drawn: np.ndarray, drawn_scratch: np.ndarray, level: float, n: int
) -> dict[str, np.ndarray]:
    """Standard error, intervals and p of gains [K] from replicates [B, K] of both scores."""
    # Sums of products differ in the last digits even for equal predictions: a gain is 0 then.
    gain, gains = np.round(gain, 9), np.round(drawn - drawn_scratch, 9)
    room = 1 - drawn_scratch
    shares = np.divide(gains, room, out=np.full_like(gains, np.nan), where=room > 1e-9)
    se = gains.std(axis=0, ddof=1)
    # Null variance: the second moment about 0, not about the observed gain.
    null_se = np.sqrt(se**2 + gain**2 / n)
    z = np.divide(np.abs(gain), null_se, out=np.zeros(len(gain)), where=null_se > 0)
    # Tails of the normal distribution at which the t interval with exact variance would end.
    end = stats.t.ppf(0.5 + level / 2, n - 1) * np.sqrt(n / (n - 1)) if n > 1 else np.inf
    tails = [stats.norm.sf(end), stats.norm.cdf(end)]
    low, high = np.quantile(gains, tails, axis=0)
    # A replicate in which scratch is perfect has no share; such cells have no interval of it.
    share_low, share_high = np.quantile(shares, tails, axis=0)
    return {
        "gain": gain,
        "se": se,
        "low": low,
        "high": high,
        "p": 2 * stats.norm.sf(z),
        "relative_error_reduction_low": share_low,
        "relative_error_reduction_high": share_high,
    }


def decode(group: pd.DataFrame, truth: np.ndarray, target: str) -> np.ndarray:
    """Stored outcomes as one array: predictions uint16 [K, M] or logits float32 [K, M, C]."""
    kinds = set(group["outcome_kind"])
    types = {"prediction_u16": "<u2", "logits_f16": "<f2"}
    if len(kinds) != 1 or not kinds <= set(types):
        raise InputError(f"outcome_kind of target '{target}' is {sorted(kinds)}, expected one kind")
    kind = kinds.pop()
    runs = [np.frombuffer(raw, dtype=types[kind]) for raw in group["outcomes"]]
    m = len(truth)
    for run in runs:
        if len(run) == 0 or len(run) % m or (kind == "prediction_u16" and len(run) != m):
            raise InputError(
                f"target '{target}' has {len(run)} stored outcomes, which do not fit its {m} labels"
            )
    if kind == "prediction_u16":
        return np.stack(runs)
    return np.stack([run.reshape(m, -1) for run in runs]).astype(np.float32)


def resample(
    metric: str, truth: np.ndarray, replicates: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Blocks of bootstrap counts float32 [b, M]; within classes where a class must not be lost."""
    m = len(truth)
    strata = truth if metric in ("mean_per_class", "roc_auc") else np.zeros(m, dtype=int)
    members = [np.flatnonzero(strata == value) for value in np.unique(strata)]
    block = max(1, BLOCK // m)
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        counts = np.zeros((size, m), np.float32)
        for index in members:
            k = len(index)
            drawn = rng.integers(0, k, (size, k)) + np.arange(size)[:, None] * k
            counts[:, index] = np.bincount(drawn.ravel(), minlength=size * k).reshape(size, k)
        yield counts


def weighted_scores(
    metric: str, runs: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Scores float64 [B, K] of K runs with images counted `weights` [B, M] times.

    With all weights 1 these are the scores of the study. O(B M K) for accuracy and mean_per_class
    (one matrix product), O(B M P K) for map_11point and roc_auc with P positives a class.
    Metrics as in ELEVATER: mean_per_class is the mean over classes of their accuracy, roc_auc the
    Mann-Whitney share of ordered pairs, map_11point Everingham et al. 2010, eq. 1.
    """
    if metric in ("accuracy", "mean_per_class"):
        hit = runs == truth  # [K, M]
        if metric == "accuracy":
            # Counts of images are exact in float32.
            return (weights @ hit.astype(np.float32).T).astype(float) / len(truth)
        _, index, count = np.unique(truth, return_inverse=True, return_counts=True)
        return weights.astype(float) @ (hit / (len(count) * count[index])).T
    if metric == "roc_auc":
        order = runs[:, :, 1].astype(float) - runs[:, :, 0]
        return np.stack([weighted_auc(row, truth == 1, weights) for row in order], axis=1)
    if metric == "map_11point":
        return np.stack([weighted_map(run, truth > 0, weights) for run in runs], axis=1)
    raise InputError(f"metric '{metric}' is not known to the analysis")


def weighted_auc(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ROC AUC [B] of scores [M] under weights [B, M]; equal scores count a half."""
    p, n = score[positive], score[~positive]
    won = (p[:, None] > n).astype(np.float32) + np.float32(0.5) * (p[:, None] == n)  # [P, N]
    wp, wn = weights[:, positive], weights[:, ~positive]
    return ((wp @ won) * wn).sum(1, dtype=float) / (wp.sum(1, dtype=float) * wn.sum(1, dtype=float))


def weighted_map(logits: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """11-point mean average precision [B] of logits [M, C] under weights [B, M].

    Only precisions at positives can be the best at a recall, and both come from one product with
    the indicator "scored at least as high". Classes without a drawn positive are left out.
    """
    total = np.zeros(len(weights))
    used = np.zeros(len(weights))
    for c in np.flatnonzero(positive.any(0)):
        own = positive[:, c]
        levels = np.unique(logits[own, c])[::-1]  # [P]
        above = (logits[:, c, None] >= levels).astype(np.float32)  # [M, P]
        count = weights @ above  # [B, P] images at least so high
        found = weights[:, own] @ above[own]  # [B, P] of these positives
        everything = found[:, -1:]
        precision = np.divide(found, count, out=np.zeros_like(found), where=count > 0)
        best = [
            np.where(found * 10 >= step * everything, precision, 0).max(1) for step in range(11)
        ]
        drawn = everything[:, 0] > 0
        total += np.where(drawn, np.mean(best, axis=0), 0)
        used += drawn
    return total / np.maximum(used, 1)
