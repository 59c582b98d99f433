"""What the numbers of a report rest on, as rows of name and value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from mvlpt_core.contract.provenance import config_digest

TITLES = {
    "groups": "groups of tasks",
    "runs": "runs",
    "shots": "images a class",
    "short_classes": "classes with fewer images",
    "val_share": "share held out to choose checkpoints",
    "max_test": "most test images a task",
    "tuning": "budget",
    "joint": "several tasks at once",
}
NAMED = 3  # rows that a warning names
DIGESTS = {"config_digest": "configurations", "code_digest": "states of the code"}


def study_protocol(config: Mapping[str, Any], notes: Mapping[str, str]) -> dict[str, Any]:
    """What of a study's resolved configuration the report shows, in words: name -> setting; `notes`
    say of tasks where their data differ from the published splits."""
    rows: dict[str, Any] = {}
    for key, value in config.items():
        if key == "backbone":
            name = " ".join(str(value[k]) for k in ("name", "pretrained") if value.get(k))
            precision = f", {value['precision']}" if value.get("precision") else ""
            rows[key] = f"{name} (frozen{precision})"
        elif key == "methods":
            rows |= {f"{method} prompts": own for method, own in value.items()}
        elif key == "runs":
            rows[key] = "; ".join(f"{name}: {_patterns(value[name])}" for name in value)
        elif key != "study":
            rows[TITLES.get(key, key)] = value
    if notes:
        rows["data that differ"] = "; ".join(f"{task}: {note}" for task, note in notes.items())
    rows = {name: value for name, value in rows.items() if value is not None}
    return rows | {"digest of the configuration": config_digest(dict(config))}


def _patterns(patterns: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{plain(p['group'])} from {plain(p['start'])}" for p in patterns)


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
    code, so that they cannot be compared: which rows are not of the most frequent one."""
    if not set(DIGESTS) <= set(transfer.columns):
        return []
    out = []
    for method, part in transfer.groupby("method", sort=False):
        for column, name in DIGESTS.items():
            counts = part[column].value_counts()
            if len(counts) > 1:
                odd = part[part[column] != counts.index[0]]
                pairs = [f"{row.source} to {row.target}" for row in odd.itertuples()]
                more = f" and {len(pairs) - NAMED:,} more" if len(pairs) > NAMED else ""
                out.append(
                    f"{method}: rows of {len(counts)} {name} ({', '.join(counts.index)}) are mixed, and "
                    f"their scores may not be comparable: {', '.join(pairs[:NAMED])}{more} are not of "
                    f"{counts.index[0]}."
                )
    return out
