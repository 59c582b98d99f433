"""Score rows: the one schema of every evaluation, and files of them that prove themselves whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mvlpt_core import __version__
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, whole

SPLITS = ("test", "curve", "val")
SCHEMA = pa.schema(
    [
        ("study", pa.string()),
        # The run; all five are null for the zero-shot score, which has no prompt.
        ("method", pa.string()),
        ("group", pa.string()),
        ("start", pa.string()),
        ("shots", pa.int64()),
        ("seed", pa.int64()),
        # The evaluation.
        ("target", pa.string()),
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
        # The test labels: with the zero-shot score only, for they are the task's.
        ("truth", pa.binary()),
        # What the row was made from.
        ("backbone", pa.string()),
        ("config_digest", pa.string()),
        ("code_digest", pa.string()),
        ("version", pa.string()),
    ]
)
# Of a source and a target, before any run from the prompt of the one on the other (`mvlpt_core.screen`).
SCREEN = pa.schema(
    [
        ("study", pa.string()),
        ("method", pa.string()),
        ("source", pa.string()),
        ("target", pa.string()),
        ("shots", pa.int64()),
        ("seed", pa.int64()),
        ("loss", pa.float64()),
        ("start_loss", pa.float64()),
        ("gradient", pa.float64()),
        ("toward", pa.float64()),
        ("distance", pa.float64()),
        ("n", pa.int64()),
        ("operations", pa.float64()),
        ("run_operations", pa.float64()),
        *(SCHEMA.field(name) for name in ("backbone", "config_digest", "code_digest", "version")),
    ]
)
RUN = ("method", "group", "start", "shots", "seed")
_FILLED = ("target", "step", "split", "metric", "n", "status", "selected")
_PROOF = b"mvlpt"


def finite(value: float) -> float | None:
    """`value`, or None where it is no finite number."""
    return value if math.isfinite(value) else None


def write_rows(
    path: str | Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema = SCHEMA
) -> None:
    """Write one run's (or one task's zero-shot) rows as parquet, whole or not at all.

    The file carries a digest of its rows, which `read_rows` compares.
    """
    table = pa.Table.from_pylist([{"version": __version__, **row} for row in rows], schema=schema)
    proof = {_PROOF: json.dumps({"rows": len(rows), "digest": _digest(table)}).encode()}
    with whole(path) as part:
        pq.write_table(table.replace_schema_metadata(proof), part, compression="zstd")


def read_rows(paths: Iterable[str | Path], schema: pa.Schema = SCHEMA) -> pa.Table:
    """The rows of several files, in their schema.

    Raises `InputError`, naming the file, for one that is missing, cut, changed since it was
    written, of another schema, or without rows.
    """
    return pa.concat_tables([schema.empty_table(), *(_read(Path(path), schema) for path in paths)])


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        # Without threads and datasets, which cost a small file as much as its rows.
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
        table.validate(full=True)  # text is not looked at when it is read
        names = table.schema.names
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: expected score rows") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a parquet file of score rows ({first_line(error)})"
        ) from None
    try:
        proof = json.loads((table.schema.metadata or {})[_PROOF])
    except (KeyError, ValueError):
        raise InputError(f"{path}: no score rows of this project: expected its digest") from None
    table = table.replace_schema_metadata(None)
    if table.schema != schema:
        odd = sorted(set(names) ^ set(schema.names)) or ["a type"]
        raise InputError(f"{path}: other columns than score rows have ({', '.join(odd)})")
    if table.num_rows == 0 or proof != {"rows": table.num_rows, "digest": _digest(table)}:
        raise InputError(f"{path}: its rows are not those that were written: delete it, run again")
    for column in set(_FILLED) & set(schema.names):
        if table[column].null_count:
            raise InputError(f"{path}: column '{column}' has an empty value: expected none")
    return table


def _digest(table: pa.Table) -> str:
    return hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest()
