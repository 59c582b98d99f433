"""How much of a gain is the seed's, where some pairs of a study of one seed were repeated with another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from ..stats.replicates import FEWEST, SeedNoise, scale_and_df, seed_noise

PAIR = ["method", "source", "target"]
SEED_NOISE_COLUMNS = (
    *("method", "sd", "low", "high", "shared", "df"),
    *("n_pairs", "n_targets", "n_missing", "reason"),
)


def replicated(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The pairs of two tasks that both tables of gains (`table.seed_gains`, a seed each) have: `PAIR` and
    `difference`, second less first, NaN where a run diverged."""
    pairs = [
        frame.loc[frame["source"] != frame["target"], [*PAIR, "gain"]] for frame in (first, second)
    ]
    both = pairs[0].merge(pairs[1], on=PAIR, suffixes=("_first", "_second"))
    return both[PAIR].assign(difference=both["gain_second"] - both["gain_first"])


def seed_noises(pairs: pd.DataFrame) -> dict[str, SeedNoise]:
    """The noise of each method whose `replicated` pairs are enough to tell."""
    known = pairs.dropna(subset=["difference"])
    return {
        str(method): seed_noise(*(own[c].to_numpy() for c in ("difference", "source", "target")))
        for method, own in known.groupby("method", sort=False)
        if len(own) >= FEWEST
    }


def seed_noise_table(pairs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Of each method with `replicated` pairs (`SEED_NOISE_COLUMNS`): the standard deviation of one seed's
    gain about its mean over seeds, with an interval by chi-squared, and the share of its variance that a
    target's pairs have in common. n_missing: pairs of which a run diverged, left out."""
    noises = seed_noises(pairs)
    rows = []
    for method, own in pairs.groupby("method", sort=False):
        known = own.dropna(subset=["difference"])
        row = {"method": method, "n_pairs": len(known), "n_targets": known["target"].nunique()}
        row |= {"n_missing": len(own) - len(known), "reason": ""}
        noise = noises.get(str(method))
        if noise is None:
            row["reason"] = f"fewer than {FEWEST} pairs have two seeds"
        else:
            tails = stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], noise.df)
            low, high = np.sqrt(noise.variance * noise.df / tails)
            row |= {"sd": np.sqrt(noise.variance), "low": low, "high": high, "df": noise.df}
            row["shared"] = noise.shared / noise.variance if noise.variance else 0.0
        rows.append(row)
    return pd.DataFrame(rows, columns=list(SEED_NOISE_COLUMNS))


def with_seeds(
    table: pd.DataFrame, pairs: pd.DataFrame, noises: Mapping[str, SeedNoise]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows [n] of a table of gains can have the noise of seeds, and t's squared scale and degrees of
    freedom of these gains [n]: pairs of two names with one seed, of a method whose noise is known.

    A difference of seeds holds the noise of test images, too (a seed's errors are its own). So a pair's
    variance is its own image noise (`se` where there is any) and what the mean square of differences has
    beyond the image noise of those pairs; on the average over pairs it is the mean square.
    """
    one = table["n_seeds"].eq(1) & (table["source"] != table["target"])
    images = (table["se"].where(table["interval"] == "images") ** 2).fillna(0.0)
    own = pairs[PAIR].assign(replicated=pairs["difference"].notna())
    repeated = table[PAIR].merge(own, on=PAIR, how="left")["replicated"].eq(True).to_numpy()
    use = np.zeros(len(table), dtype=bool)
    variance, df = np.full((2, len(table)), np.nan)
    for method, noise in noises.items():
        mine = (table["method"] == method).to_numpy()
        beyond = max(0.0, noise.variance - float(images[mine & repeated].mean()))
        rows = mine & one.to_numpy()
        use |= rows
        scale, freedom = scale_and_df(noise.df)
        variance[rows] = scale * (beyond + images[rows])
        df[rows] = freedom
    return use, variance, df
