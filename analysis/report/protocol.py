"""What the numbers of a report rest on, as rows of name and value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from mvlpt_core.contract.provenance import config_digest

SETTINGS = {
    "suite": "suite",
    "groups": "groups of tasks",
    "shots": "images a class",
    "seeds": "seeds",
    "val_share": "share held out to choose checkpoints",
    "max_test": "most test images a task",
}
DIGESTS = {"config_digest": "configurations", "code_digest": "states of the code"}


def study_protocol(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a study's resolved configuration the report shows: name -> setting."""
    rows: dict[str, Any] = {}
    backbone = config.get("backbone") or {}
    if backbone:
        name = " ".join(str(backbone[k]) for k in ("name", "pretrained") if backbone.get(k))
        precision = f", {backbone['precision']}" if backbone.get("precision") else ""
        rows["backbone"] = f"{name} (frozen{precision})"
    rows |= {title: config[key] for key, title in SETTINGS.items() if config.get(key) is not None}
    for method, settings in (config.get("methods") or {}).items():
        if settings is not None:
            rows[f"{method} prompts"] = settings
    if config.get("tuning"):
        rows["budget"] = config["tuning"]
    rows["digest of the configuration"] = config_digest(dict(config))
    return rows


def plain(value: Any) -> str:
    """A setting as words: `a 1, b 2` for mappings, `1, 2` for lists."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return str(value)


def origins(transfers: Iterable[pd.DataFrame]) -> list[str]:
    """Which configuration and code made each method's rows, in words; tables without digests
    (`config_digest`, `code_digest`) are passed over."""
    found: dict[str, dict[str, None]] = {}
    for frame in transfers:
        if set(DIGESTS) <= set(frame.columns):
            for method, part in frame.groupby("method", sort=False):
                pairs = part[list(DIGESTS)].drop_duplicates()
                words = [f"configuration {a}, code {b}" for a, b in pairs.to_numpy()]
                found.setdefault(str(method), {}).update(dict.fromkeys(words))
    return [f"{method}: {'; '.join(words)}" for method, words in found.items()]


def mixtures(transfer: pd.DataFrame) -> list[str]:
    """A sentence for each method whose rows come from more than one configuration or state of the
    code, so that they cannot be compared."""
    if not set(DIGESTS) <= set(transfer.columns):
        return []
    out = []
    for method, part in transfer.groupby("method", sort=False):
        mixed = [
            f"{part[column].nunique()} {name} ({', '.join(part[column].unique())})"
            for column, name in DIGESTS.items()
            if part[column].nunique() > 1
        ]
        if mixed:
            out.append(
                f"{method}: rows of {' and of '.join(mixed)} are mixed, and their scores may not "
                "be comparable."
            )
    return out
