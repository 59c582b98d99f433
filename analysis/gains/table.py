"""Gains of transfer over scratch, with intervals, false discovery control and controls.

A gain is a difference of scores (0..1) of the same method, target and seed. `GAIN_KINDS` are the
columns of the gain table that say how much a source helps:

gain                      score - scratch
relative_error_reduction  (score - scratch) / (1 - scratch): share of the distance to 1
ceiling_gain              (score - scratch) / (ceiling - scratch), where the ceiling is the best
                          score of the study on the target: any method, source and seed
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from mvlpt_core.contract.errors import InputError

from ..read.pairs import check_transfer, mask_diverged
from ..stats.multiplicity import benjamini_hochberg, significant
from ..stats.variance import moderated_by_group
from .shrunk import shrunk_gains
from .verdicts import MARGIN, verdicts

GAIN_KINDS = ("gain", "relative_error_reduction", "ceiling_gain")
PAIR = ["method", "source", "target"]
GAIN_COLUMNS = (
    *PAIR,
    "metric",
    "diagonal",
    "n_seeds",
    "n_diverged",
    "score",
    "scratch",
    "gain",
    "low",
    "high",
    "se",
    "df",
    "gain_shrunk",
    "relative_error_reduction",
    "relative_error_reduction_low",
    "relative_error_reduction_high",
    "ceiling",
    "ceiling_gain",
    "ceiling_gain_low",
    "ceiling_gain_high",
    "share_improved",
    "interval",
    "excludes_zero",
    "p",
    "q",
    "significant",
    "verdict",
    "margin",
    "reason",
)


def gain_table(
    transfer: pd.DataFrame,
    images: pd.DataFrame | None = None,
    level: float = 0.95,
    margin: float = MARGIN,
    tasks: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row a (method, source, target) with `GAIN_COLUMNS`, in the order of `transfer`.

    With two seeds or more: mean over seeds and t interval of the paired differences, whose
    variance is moderated by those of the method's other pairs, targets' levels first
    (`stats.variance`). With one: interval and p of `images` (`image_bootstrap.image_intervals`), if
    given. `se` and `df` (t's degrees of freedom; NaN with `images`) belong to the gain. `gain_shrunk` is
    the gain as `gains.shrunk` predicts it, for sources that are `tasks` (None: all). p tests gain 0; q is
    Benjamini-Hochberg over the off-diagonal pairs of a method, `significant` by `stats.multiplicity`,
    `verdict` beside the `margin` (score units) by `verdicts.verdicts`.
    Intervals of the ceiling gain take the ceiling as known.
    Diverged cells count in `n_diverged` only. Raises InputError for an unusable transfer table.
    """
    seeds = seed_gains(transfer)
    groups = seeds.groupby(PAIR, sort=False)
    table = groups[["score", "scratch", "ceiling", *GAIN_KINDS]].mean()
    table["metric"] = groups["metric"].first()
    table["n_seeds"] = groups["gain"].count()
    table["n_diverged"] = groups.size() - table["n_seeds"]
    table["share_improved"] = (seeds["gain"] > 0).groupby([seeds[c] for c in PAIR]).sum()
    table["share_improved"] = (table["share_improved"] / table["n_seeds"]).astype(float)

    several = (table["n_seeds"] >= 2).to_numpy()
    # A mean of n images is known no finer than one image: equal gains over seeds are no proof of
    # a spread of 0. The floor is the standard deviation of rounding two scores to 1 / n.
    images_n = groups["n"].max() if "n" in seeds else pd.Series(np.nan, index=table.index)
    floor = (1 / (images_n * np.sqrt(6))).fillna(0.0)
    methods, targets = (table.index.get_level_values(c).to_numpy() for c in ("method", "target"))
    for kind in GAIN_KINDS:
        low, high = bound_names(kind)
        scale = (table[kind] / table["gain"].where(table["gain"] != 0)).abs().fillna(1.0)
        spread = np.maximum(groups[kind].std(ddof=1), floor * scale)
        se, df = standard_errors(spread.to_numpy(), table["n_seeds"].to_numpy(), methods, targets)
        half, p = t_interval(table[kind].to_numpy(dtype=float), se, df, level)
        table[low] = table[kind] - half
        table[high] = table[kind] + half
        if kind == "gain":
            table["se"], table["df"], table["p"] = se, df, p
    table["interval"] = np.where(several, "seeds", "none")
    table = table.reset_index()
    if images is not None:
        _add_image_intervals(table, seeds, images)

    table["gain_shrunk"] = shrunk_gains(seeds, table, tasks)
    table["diagonal"] = table["source"] == table["target"]
    table["excludes_zero"] = (table["low"] > 0) | (table["high"] < 0)
    tested = table["p"].where(~table["diagonal"])
    table["q"] = tested.groupby(table["method"]).transform(benjamini_hochberg)
    table["significant"] = significant(table["q"])
    table["verdict"], table["margin"] = verdicts(table, margin), margin
    table["reason"] = np.select(
        [table["n_seeds"] == 0, table["interval"] == "none"],
        ["diverged", "one seed and no stored outcomes: no interval"],
        default="",
    )
    return table[list(GAIN_COLUMNS)]


def seed_gains(transfer: pd.DataFrame) -> pd.DataFrame:
    """The transfer table (checked, diverged masked) with `ceiling` and the three `GAIN_KINDS`."""
    frame = check_transfer(transfer)
    scores = [c for c in ("score", "scratch", "zero_shot", "step0") if c in frame.columns]
    best = frame[scores].astype(float).max(axis=1)
    frame["ceiling"] = best.groupby(frame["target"]).transform("max")
    frame["gain"] = frame["score"] - frame["scratch"]
    for kind, top in (("relative_error_reduction", 1.0), ("ceiling_gain", frame["ceiling"])):
        room = top - frame["scratch"]
        frame[kind] = frame["gain"] / room.where(room > 0)
    return frame


def single_seed_cells(transfer: pd.DataFrame) -> pd.DataFrame:
    """The keys (method, source, target, seed) of pairs with a gain for exactly one seed."""
    frame = mask_diverged(transfer)
    frame = frame[frame["gain"].notna()]
    alone = frame.groupby(PAIR)["seed"].transform("size") == 1
    return frame.loc[alone, [*PAIR, "seed"]]


def _add_image_intervals(table: pd.DataFrame, seeds: pd.DataFrame, images: pd.DataFrame) -> None:
    """Fill in place the intervals and p of pairs that have one seed, from bootstraps of images."""
    defined = seeds.loc[seeds["gain"].notna(), [*PAIR, "seed"]]
    found = defined.merge(images.rename(columns={"gain": "stored"}), on=[*PAIR, "seed"])
    one = table["n_seeds"] == 1
    matched = table[PAIR].merge(found.drop_duplicates(PAIR), on=PAIR, how="left")
    use = (one & matched["se"].notna()).to_numpy()
    # Half precision and ties may move a stored score a little, other images move it a lot.
    wrong = use & ((table["gain"] - matched["stored"]).abs() > 0.02).to_numpy()
    if wrong.any():
        row = table[wrong].iloc[0]
        raise InputError(
            f"method '{row['method']}', source '{row['source']}', target '{row['target']}': stored "
            f"outcomes and test labels give a gain of {matched['stored'][wrong].iloc[0]:.3f}: "
            f"expected that of the scores, {row['gain']:.3f}"
        )
    for column in (
        "low",
        "high",
        "se",
        "p",
        "relative_error_reduction_low",
        "relative_error_reduction_high",
    ):
        table.loc[use, column] = matched.loc[use, column].to_numpy()
    room = (table["ceiling"] - table["scratch"]).where(table["ceiling"] > table["scratch"])
    for side in ("low", "high"):
        table.loc[use, f"ceiling_gain_{side}"] = (table[side] / room)[use]
    table.loc[use, "interval"] = "images"


def bound_names(kind: str) -> tuple[str, str]:
    """The columns that hold the interval of a gain kind."""
    if kind not in GAIN_KINDS:
        raise InputError(f"gain kind '{kind}' is unknown: expected one of {', '.join(GAIN_KINDS)}")
    return ("low", "high") if kind == "gain" else (f"{kind}_low", f"{kind}_high")


def standard_errors(
    spread: np.ndarray, n: np.ndarray, methods: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors and degrees of freedom of means of `n` seeds with standard deviation
    `spread`, all [pairs], moderated within each method, its targets' levels first; NaN below 2 seeds."""
    variance, df = np.full((2, len(spread)), np.nan)
    for method in np.unique(methods):
        mine = methods == method
        variance[mine], df[mine] = moderated_by_group(
            spread[mine] ** 2, n[mine] - 1.0, targets[mine]
        )
    return np.sqrt(variance / np.where(n > 0, n, np.nan)), df


def t_interval(
    mean: np.ndarray, se: np.ndarray, df: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Half widths of Student's interval of means [n], and p-values of mean 0; NaN as `se`."""
    value = np.abs(mean)
    # Mean 0 with spread 0 is no evidence (t = 0); another mean with spread 0 is t = inf.
    t = np.divide(value, se, out=np.where(value > 0, np.inf, 0.0), where=se != 0)
    return stats.t.ppf(0.5 + level / 2, df) * se, 2 * stats.t.sf(t, df)
