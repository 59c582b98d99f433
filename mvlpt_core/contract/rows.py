"""The parquet rows of every score: one schema for zero-shot, scratch and transfer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mvlpt_core import __version__
from mvlpt_core.contract.files import write_atomic
from mvlpt_core.tuning.loop import Evaluation
from mvlpt_core.tuning.scoring import outcome_kind

SCHEMA = pa.schema(
    [
        ("study", pa.string()),
        ("method", pa.string()),
        ("source", pa.string()),
        ("target", pa.string()),
        ("seed", pa.int64()),
        ("shots", pa.int64()),
        ("step", pa.int64()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("score", pa.float64()),
        ("loss", pa.float64()),
        ("n", pa.int64()),
        ("status", pa.string()),
        ("selected", pa.bool_()),
        ("outcomes", pa.binary()),
        ("outcome_kind", pa.string()),
        ("backbone", pa.string()),
        ("config_digest", pa.string()),
        ("code_digest", pa.string()),
        ("version", pa.string()),
    ]
)


def run_rows(
    evaluations: Sequence[Evaluation],
    run: int,
    *,
    alive: bool,
    selected_step: int,
    metric: str,
    cell: Mapping[str, Any],
    provenance: Mapping[str, str],
) -> list[dict[str, Any]]:
    """One run's evaluations as rows. `cell` gives method, source, target, seed and shots.

    A diverged run keeps the finite rows from before, but no row of it is `selected`.
    """
    rows = []
    for e in evaluations:
        outcomes = e.outcomes[run]
        rows.append(
            {
                **cell,
                "step": e.step,
                "split": e.split,
                "metric": metric,
                "score": _finite(e.scores[run]),
                "loss": _finite(e.losses[run]),
                "n": e.n,
                "status": "ok" if alive else "diverged",
                "selected": alive and e.split == "test" and e.step == selected_step,
                "outcomes": outcomes,
                "outcome_kind": outcome_kind(metric) if outcomes is not None else None,
                **provenance,
            }
        )
    return rows


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as parquet; the file appears whole or not at all."""
    table = pa.Table.from_pylist([{"version": __version__, **row} for row in rows], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())
