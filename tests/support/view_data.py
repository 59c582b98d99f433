"""Made-up study frames with a known block structure, for the tests of ranking, groups, figures and
report: families of tasks help one another, one style column helps a little, one pair of families
hurts, gains are asymmetric, and one cell diverged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from mvlpt_analysis import catalogue, study
from mvlpt_analysis.read import pairs

FAMILIES = ("object_colour", "background", "frame", "count", "position")
STYLES = ("plain", "rotated_hue", "inverted", "striped")
METHODS = ("text", "visual", "unified")


def tasks(n: int) -> list[str]:
    """Names of up to 24 characters, one family after another."""
    return [f"{FAMILIES[i // 4]}-{STYLES[i % 4]}" for i in range(n)]


def factors(n: int) -> dict[str, list[str]]:
    """The planted groupings: factor -> its value for each task."""
    parts = [name.split("-") for name in tasks(n)]
    return {"family": [part[0] for part in parts], "style": [part[1] for part in parts]}


def true_gain(n: int, method: str) -> np.ndarray:
    """[n, n] in score units, rows sources."""
    family, style = np.arange(n) // 4, np.arange(n) % 4
    same_family = family[:, None] == family[None]
    same_style = style[:, None] == style[None]
    weights = {"text": (0.06, 0.0), "visual": (0.01, 0.04), "unified": (0.04, 0.02)}[method]
    gain = -0.02 + weights[0] * same_family + weights[1] * same_style
    gain = gain - 0.06 * ((family[:, None] == 0) & (family[None] == 2))
    gain = gain + np.linspace(0.01, -0.01, n)[:, None]
    np.fill_diagonal(gain, 0.01)
    return gain


def transfer(
    n: int = 20, methods: tuple[str, ...] = METHODS, seeds: int = 1, noise: float = 0.012
) -> pd.DataFrame:
    """A transfer table (rows: method, source, target, seed); cell (0, 1) of `text` diverged."""
    rng = np.random.default_rng(7)
    names = tasks(n)
    rows = []
    for method in methods:
        gain = true_gain(n, method)
        level = 0.55 + 0.3 * rng.random(n)
        for seed in range(1, seeds + 1):
            scratch = level + 0.01 * rng.standard_normal(n)
            drawn = gain + noise * rng.standard_normal((n, n))
            for s in range(n):
                for t in range(n):
                    ok = not (method == methods[0] and (s, t) == (0, 1))
                    score = min(scratch[t] + drawn[s, t], 1.0) if ok else np.nan
                    rows.append(
                        (
                            method,
                            names[s],
                            names[t],
                            seed,
                            "accuracy",
                            score,
                            scratch[t],
                            scratch[t] - 0.2,
                            scratch[t] - 0.15,
                            score - scratch[t],
                            (score - scratch[t]) / (1 - scratch[t]),
                            "ok" if ok else "diverged",
                            200,
                        )
                    )
    columns = (
        "method source target seed metric score scratch zero_shot step0 gain "
        "relative_error_reduction status n"
    )
    return pd.DataFrame(rows, columns=columns.split())


def similarity(n: int = 20) -> pd.DataFrame:
    """Visual similarity follows styles, label similarity families; both noisy and symmetric."""
    rng = np.random.default_rng(3)
    names = tasks(n)
    part = {"visual_cosine": np.arange(n) % 4, "label_cosine": np.arange(n) // 4}
    frames = []
    for measure, group in part.items():
        noise = 0.06 * rng.standard_normal((n, n))
        value = 0.55 + 0.3 * (group[:, None] == group[None]) + (noise + noise.T) / 2
        np.fill_diagonal(value, 1.0)
        source, target = np.meshgrid(names, names, indexing="ij")
        frames.append(
            pd.DataFrame(
                {
                    "source": source.ravel(),
                    "target": target.ravel(),
                    "measure": measure,
                    "value": np.minimum(value, 1.0).ravel(),
                    "method": None,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def curves(transfers: pd.DataFrame, steps: tuple[int, ...] = (0, 5, 10, 20, 40)) -> pd.DataFrame:
    """Scores on a sample of the test images by step, for every cell and for scratch, ending at the
    transfer table's scores."""
    ends = transfers.dropna(subset=["score"])
    scratch = ends.drop_duplicates(["method", "target", "seed"]).assign(source="scratch")
    frames = []
    for frame, end, start in ((ends, "score", "step0"), (scratch, "scratch", "zero_shot")):
        for step in steps:
            share = 1 - np.exp(-4 * step / steps[-1])
            share /= 1 - np.exp(-4)
            kept = frame[["method", "source", "target", "seed"]].assign(step=step, split="curve")
            kept["score"] = frame[start] + share * (frame[end] - frame[start])
            frames.append(kept)
    return pd.concat(frames, ignore_index=True)


def gains(transfers: pd.DataFrame, se: float = 0.012) -> pd.DataFrame:
    """A gains table as `mvlpt_analysis.gains.table.gain_table` writes it, with known standard errors."""
    rows = []
    for (method, source, target), cell in transfers.groupby(
        ["method", "source", "target"], sort=False
    ):
        gain = cell["gain"].mean()
        own = source == target
        z = abs(gain) / se
        rows.append(
            {
                "method": method,
                "source": source,
                "target": target,
                "metric": "accuracy",
                "diagonal": own,
                "n_seeds": len(cell),
                "n_diverged": int((cell["status"] == "diverged").sum()),
                "score": cell["score"].mean(),
                "scratch": cell["scratch"].mean(),
                "gain": gain,
                "gain_shrunk": np.nan if own else 0.8 * gain,
                "low": gain - 1.96 * se,
                "high": gain + 1.96 * se,
                "relative_error_reduction": cell["relative_error_reduction"].mean(),
                "share_improved": float((cell["gain"] > 0).mean()),
                "interval": "images",
                "excludes_zero": bool(z > 1.96),
                "p": 2 * (1 - norm.cdf(z)),
                "q": 2 * (1 - norm.cdf(z)) * 2,
                "significant": bool(z > 2.6 and not own),
                "reason": "" if np.isfinite(gain) else "diverged",
            }
        )
    return pd.DataFrame(rows)


def tables(
    n: int = 6,
    methods: tuple[str, ...] = METHODS,
    seeds: int = 3,
    transfers: pd.DataFrame | None = None,
    alike: pd.DataFrame | None = None,
    planted: bool = True,
) -> dict[str, pd.DataFrame]:
    """What figures and report of a study are made of, as its stages make them with few draws."""
    transfers = transfer(n, methods, seeds) if transfers is None else transfers
    alike = similarity(n) if alike is None else alike
    names = tasks(n)
    made = study.statistics(
        transfers,
        pd.DataFrame(),
        pd.DataFrame(),
        alike,
        names,
        methods,
        factors(n) if planted else {},
        permutations=200,
        bootstrap=100,
    )
    made["groups"] = study.groups(made["gains"], transfers, names, methods)
    return {**made, "similarity": alike, "curves": curves(transfers), "transfer": transfers}


def write(frames: dict[str, pd.DataFrame], folder: Path) -> dict[str, Path]:
    """Write a study's tables; the file of each."""
    files = {name: folder / "tables" / f"{name}.csv" for name in catalogue.STUDY_TABLES}
    for name, path in files.items():
        pairs.write_frame(frames[name], path)
    return files


def diverged(transfers: pd.DataFrame, method: str) -> pd.DataFrame:
    """The transfer table after every run of a method diverged."""
    lost = transfers["method"] == method
    columns = ["score", "gain", "relative_error_reduction"]
    out = transfers.copy()
    out.loc[lost, columns] = np.nan
    out.loc[lost, "status"] = "diverged"
    return out
