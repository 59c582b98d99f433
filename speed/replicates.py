"""Do intervals of one seed hold what other seeds find, where a tenth of the runs is repeated?

Studies of 20 tasks from the social relations model with known shares, whose second seed is known where
`contract.design.replicated_pairs` repeats runs alone. `python -m speed.calibration` prints the table.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mvlpt_analysis.gains.table import gain_table
from mvlpt_core.contract.design import replicated_pairs

from . import calibration

# Of the variance of one seed's gains on the testbed (three seeds, split by `stats.social`), by method:
# source, target, pair, and each of these by seed.
TESTBED = {
    "text": (0.03, 0.04, 0.54, 0.04, 0.14, 0.21),
    "visual": (0.00, 0.05, 0.48, 0.00, 0.22, 0.24),
    "unified": (0.02, 0.05, 0.43, 0.06, 0.10, 0.34),
}
SHARE = 0.1
_SIZE = 0.01  # standard deviation of gains: scores stay within 0 and 1, and no figure depends on it


def replicate_figures(
    studies: int = 200, seed: int = 0, uneven: tuple[float, ...] = (0.0, 0.5)
) -> pd.DataFrame:
    """Coverage at 95 % and claims at q <= 0.05, one row a method, spread of seed noise and kind of study.

    `uneven`: standard deviation of the logarithm of a target's seed noise. Columns: mean, the interval
    holds the mean over seeds; fresh, `new_seed_low` to `_high` holds another seed's gain; narrow, `low` to
    `high` does; poor, share of targets of which less than 80 % of means are held; false, mean share of
    claims that have the wrong sign (all, where there are no gains); any, studies with such a claim.
    """
    rows = []
    for method, shares in TESTBED.items():
        for spread in uneven:
            for null in (False, True):
                rng = np.random.default_rng([seed, len(method), int(10 * spread), null])
                variances = np.array(shares) * _SIZE**2
                stable, of_seed = variances[:3] * (not null), variances[3:]
                found = [_study(stable, of_seed, spread, rng) for _ in range(studies)]
                rows.append((method, spread, "none" if null else "some", *np.mean(found, axis=0)))
    columns = ["method", "uneven", "gains", "mean", "fresh", "narrow", "poor", "false", "any"]
    return pd.DataFrame(rows, columns=columns)


def _study(
    stable: np.ndarray, of_seed: np.ndarray, spread: float, rng: np.random.Generator
) -> tuple[float, ...]:
    """The figures of one study."""
    n = calibration.TASKS
    true = calibration.related_gains(n, 1, (*stable, 0, 0, 0), rng, 0.8)[0]
    noise = calibration.related_gains(n, 3, (0, 0, 0, *of_seed), rng, 0.0)
    noise *= np.exp(rng.normal(0, spread, n) - spread**2)
    one, two, fresh = true + noise
    names = calibration.tasks(n)
    pairs = [(group, start) for group in names for start in names if group != start]
    again = frame(two).set_index(["target", "source"])
    again = again.loc[replicated_pairs(pairs, SHARE)].reset_index().assign(seed=2)
    table = gain_table(frame(one), replicates=again)
    off = ~table["diagonal"].to_numpy()
    wide = [table[c].to_numpy()[off] for c in ("new_seed_low", "new_seed_high")]
    low, high = (table[c].to_numpy()[off] for c in ("low", "high"))
    mean, new = true.ravel()[off], fresh.ravel()[off]
    held = (low <= mean) & (mean <= high)
    claimed = table["significant"].to_numpy()[off]
    wrong = claimed & (table["gain"].to_numpy()[off] * mean <= 0)
    by_target = pd.Series(held).groupby(table["target"].to_numpy()[off]).mean()
    return (
        held.mean(),
        ((wide[0] <= new) & (new <= wide[1])).mean(),
        ((low <= new) & (new <= high)).mean(),
        (by_target < 0.8).mean(),
        wrong.sum() / max(1, claimed.sum()),
        float(wrong.any()),
    )


def frame(gains: np.ndarray) -> pd.DataFrame:
    """Gains [T, T] of one seed as a transfer table."""
    names = np.array(calibration.tasks(len(gains)))
    source, target = np.indices(gains.shape)
    return pd.DataFrame(
        {
            "method": "text",
            "source": names[source.ravel()],
            "target": names[target.ravel()],
            "seed": 1,
            "metric": "accuracy",
            "score": 0.5 + gains.ravel(),
            "scratch": 0.5,
            "status": "ok",
        }
    )
