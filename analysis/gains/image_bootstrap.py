"""Uncertainty of a gain over test images, for pairs that were run with one seed only.

Transfer and scratch are scored on the same images, so images are resampled in pairs. The interval
says how the gain would vary with other test images, for these prompts: it holds nothing of the
variation over few-shot samples and initialisations, for which several seeds are needed.

Shapes: B replicates, K runs on one target, M test images, C classes.
"""

import zlib

import numpy as np
import pandas as pd
from scipy import stats

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.intervals import expanded_tails, image_counts
from mvlpt_core.contract.metrics import weighted_scores
from mvlpt_core.contract.outcomes import decode, decode_truth

from ..catalogue import SCRATCH

INTERVAL_COLUMNS = (
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
)


def image_intervals(
    outcomes: pd.DataFrame,
    truth: pd.DataFrame,
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Bootstrap over test images of each cell's gain (`INTERVAL_COLUMNS`, gains 0..1).

    `outcomes` and `truth` are the frames of `read.gather`: cells and their scratch runs, and the
    test labels of each target. The interval is the expanded percentile interval
    (`contract.intervals.expanded_tails`).
    p tests gain 0 by the bootstrap's standard error with the variance taken at gain 0 (for
    accuracy this is McNemar's test). Cells without a stored scratch run are left out.
    Raises InputError for a target without test labels or outcomes of another length.
    """
    known = {
        str(target): decode_truth(raw, n, metric)
        for target, metric, n, raw in truth[["target", "metric", "n", "truth"]].to_numpy()
    }
    frames = [pd.DataFrame(columns=list(INTERVAL_COLUMNS))]
    for key, group in outcomes.groupby(["target", "metric"], sort=True):
        target, metric = (str(part) for part in key)
        if target not in known:
            raise InputError(f"truth: target '{target}' is missing: expected its test labels")
        labels = known[target]
        runs = _decoded(group, labels, target)
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
                weighted_scores(metric, runs, labels, weights)
                for weights in image_counts(metric, labels, replicates, rng)
            ]
        )  # [B, K]
        exact = weighted_scores(metric, runs, labels, np.ones((1, len(labels)), np.float32))
        own = [base[keys[i]] for i in cells]
        numbers = _summary(
            exact[0, cells] - exact[0, own], drawn[:, cells], drawn[:, own], level, len(labels)
        )
        found = group[["method", "source", "target", "seed"]].iloc[cells].reset_index(drop=True)
        frames.append(found.assign(n_images=len(labels), **numbers)[list(INTERVAL_COLUMNS)])
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _summary(
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
    tails = expanded_tails(n, level)
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


def _decoded(group: pd.DataFrame, labels: np.ndarray, target: str) -> np.ndarray:
    """Stored outcomes as one array: predictions uint16 [K, M] or logits float32 [K, M, C]."""
    where = f"target '{target}'"
    kinds = set(group["outcome_kind"])
    if len(kinds) != 1:
        raise InputError(f"{where}: outcome_kind is {sorted(kinds)}: expected one kind")
    kind = kinds.pop()
    return np.stack([decode(raw, kind, len(labels), where) for raw in group["outcomes"]])
