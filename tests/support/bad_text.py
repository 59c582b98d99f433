"""Parquet files whose text is none: pyarrow reads them, and fails when the text is looked at."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def column(values: list[bytes]) -> pa.Array:
    """A column of text with these bytes, whatever they are."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    parts = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), parts)


def write_with_bad_name(table: pa.Table, name: str, path: Path) -> None:
    """The table with a byte that begins no letter in the name of a column."""
    pq.write_table(table, path, store_schema=False)
    content = path.read_bytes()
    assert name.encode() in content
    path.write_bytes(content.replace(name.encode(), name[0].encode() + b"\x8b" + name[2:].encode()))
