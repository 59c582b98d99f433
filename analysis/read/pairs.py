"""Read, check and pivot tidy `source, target, score` tables, ours or foreign.

Matrices are [S, T]: rows are sources, columns are targets. NaN means undefined (a diverged cell).
"""

import csv
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, held, read_text, whole

READERS = {".csv": ",", ".tsv": "\t", ".xlsx": "", ".parquet": ""}
# Columns of names in tables of others: read letter by letter, so that a task may be called 007.
NAMES = frozenset(("source", "target", "task", "method", "model", "metric", "measure"))
COLUMNS = NAMES | {"score", "gain", "scratch", "seed", "value"}
# A number with a decimal comma as a whole field, between separators that are none.
DECIMAL_COMMA = re.compile(r"(?:^|[;\t])\s*-?\d*,\d+(?:[eE][-+]?\d+)?\s*(?:$|[;\t])", re.MULTILINE)
STATUSES = ("ok", "diverged")
UNDEFINED_WHEN_DIVERGED = ("score", "gain", "relative_error_reduction")


def read_frame(
    path: str | Path, text: Collection[str] = NAMES, empty: bool = False
) -> pd.DataFrame:
    """A .csv, .tsv, .xlsx or .parquet file as a frame; columns of `text` are str, letter by letter.

    Text may be separated by `;` or tabs, whatever its name ends in, and then have decimal commas; blanks
    around the columns' names, and the case of known ones (`COLUMNS`), do not count. Raises InputError
    naming the file if it is missing, no table or, unless `empty`, has no rows.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise InputError(f"{path}: not a table: expected a file ending in {', '.join(READERS)}")
    found = held(path) if READERS[suffix] else ""
    if found.startswith("a"):  # an archive, an image: no text at all
        raise InputError(f"{path}: not a table (it holds {found}): expected text")
    try:
        if suffix == ".parquet":
            rows = pq.read_table(path, partitioning=None)
            rows.validate(full=True)  # text is not looked at when it is read
            frame = rows.to_pandas()
            if any(frame.index.names):
                frame = frame.reset_index()
        elif suffix == ".xlsx":
            frame = _read_sheet(path, text)
        else:
            frame = _read_text(path, READERS[suffix], text)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: expected a table") from None
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, csv.Error, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as a table ({first_line(error)})") from None
    if frame.empty and not empty:
        raise InputError(f"{path}: the table has no rows: expected at least one")
    return frame


def _read_text(path: Path, separator: str, text: Collection[str]) -> pd.DataFrame:
    content = read_text(path, "a table")
    first, _, rest = content.partition("\n")
    separator = next((s for s in (separator, ";", "\t", ",") if s in first), separator)
    comma = separator != "," and DECIMAL_COMMA.search(rest) is not None
    _check_lines(path, csv.reader(StringIO(content), delimiter=separator, skipinitialspace=True))
    how: dict[str, Any] = {"sep": separator, "skipinitialspace": True, "index_col": False}
    header = pd.read_csv(StringIO(content), nrows=0, **how).columns
    names = [column for column in header if column in text or _known(column) in text]
    # In other columns only empty fields are missing.
    missing = {column: ["", "nan", "NaN"] for column in header if column not in names}
    frame = pd.read_csv(
        StringIO(content),
        decimal="," if comma else ".",
        dtype=dict.fromkeys(names, str),
        keep_default_na=False,
        na_values=missing,
        **how,
    )
    return frame.rename(columns=_renamed(header))


def _check_lines(path: Path, lines: Any) -> None:
    """Raise InputError for a column that occurs twice, and for a line with too few or too many fields: pandas
    would make something of both."""
    header = [column.strip() for column in next(lines, [])]
    for column in filter(None, header):
        if header.count(column) > 1:
            raise InputError(f"{path}: column '{column}' occurs twice: expected once")
    for line in lines:
        if line and len(line) != len(header):
            raise InputError(
                f"{path}, line {lines.line_num}: {len(line)} fields: expected {len(header)}"
            )


def _read_sheet(path: Path, text: Collection[str]) -> pd.DataFrame:
    how: dict[str, Any] = {"keep_default_na": False, "na_values": ["", "nan", "NaN"]}
    sheets = pd.read_excel(path, sheet_name=None, dtype=object, **how)
    held = {title: frame for title, frame in sheets.items() if len(frame.columns)}
    if len(held) != 1:
        raise InputError(f"{path} has sheets {', '.join(sheets)}: expected one with a table")
    frame = held.popitem()[1].rename(columns=str).infer_objects()
    frame = frame.rename(columns=_renamed(frame.columns))
    names = [column for column in frame if column in text]
    for name in names:
        frame[name] = frame[name].astype(str).where(frame[name].notna())
    return frame


def _known(column: str) -> str:
    return column.strip().lower()


def _renamed(header: Iterable[str]) -> dict[str, str]:
    """The names of columns without blanks, those of `COLUMNS` in lower case, where that makes none twice."""
    header = list(header)
    plain = {c: _known(c) if _known(c) in COLUMNS else c.strip() for c in header}
    names = list(plain.values())
    return {c: name for c, name in plain.items() if names.count(name) == 1}


def check_pairs(
    frame: pd.DataFrame,
    value: str = "score",
    name: str = "table",
    keys: Sequence[str] = ("method", "seed", "measure", "model", "metric"),
) -> pd.DataFrame:
    """A copy with task names as str and `value` as float64; NaN values are kept as undefined.

    Rows are one for each (source, target) and each of the `keys` that the frame has. Raises
    InputError for missing columns, empty names, values that are not finite numbers, duplicates.
    """
    for column in ("source", "target", value):
        if column not in frame.columns:
            have = ", ".join(map(str, frame.columns))
            raise InputError(f"{name}: column '{column}' is missing (columns are: {have})")
    frame = frame.copy()
    for column in ("source", "target"):
        values = frame[column]
        if pd.api.types.is_float_dtype(values) and (values % 1 == 0).all():  # numbers of tasks
            values = values.astype(int)
        frame[column] = values.astype(str).where(values.notna(), "")
        _check_names(frame[column], name)
    if "method" in frame:
        frame["method"] = frame["method"].astype(str).where(frame["method"].notna())
    for column in {"method", "measure"} & set(frame.columns):
        given = frame[column].astype(str).where(frame[column].notna(), "")
        _check_names(given, name, empty=True)  # where it may be, the callers know
    frame[value] = numeric(frame, value, name)
    unique = ["source", "target", *[key for key in keys if key in frame.columns]]
    repeated = frame.duplicated(unique)
    if repeated.any():
        row = frame.loc[repeated, unique].iloc[0]
        what = ", ".join(f"{key} '{row[key]}'" for key in unique)
        raise InputError(f"{name}: more than one row for {what}")
    return frame


def _check_names(column: pd.Series, name: str, empty: bool = False) -> None:
    """Raise InputError for a name in a column that shows nothing, or that no page or figure can hold."""
    for value in column.unique():
        kinds = {unicodedata.category(letter) for letter in value if letter not in "\t\n"}
        wrong = ""
        if all(kind[0] in "CZM" for kind in kinds) and (value or not empty):
            wrong = "is empty in"
        elif kinds & {"Cc", "Cs"}:
            wrong = f"is {value!a}, expected a name without control characters, in"
        if wrong:
            row = int(np.flatnonzero(column == value)[0]) + 1
            raise InputError(f"{name}: column '{column.name}' {wrong} row {row}")


def numeric(frame: pd.DataFrame, column: str, name: str = "table") -> pd.Series:
    """The column as float64; missing stays NaN; text and infinities raise InputError."""
    values = pd.to_numeric(frame[column], errors="coerce").astype(float)
    bad = (values.isna() & frame[column].notna()) | np.isinf(values)
    bad |= pd.api.types.is_bool_dtype(frame[column])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{name}: column '{column}' is '{frame[column].iloc[row]}' in row {row + 1}, "
            "expected a finite number"
        )
    return values


def check_transfer(frame: pd.DataFrame, name: str = "transfer table") -> pd.DataFrame:
    """A transfer table (columns as `read.gather.TRANSFER_COLUMNS`) with diverged cells masked.

    Raises InputError for a missing column, a status that is not known, or a score out of [0, 1].
    """
    for column in ("method", "seed", "metric", "scratch", "status"):
        if column not in frame.columns:
            raise InputError(f"{name}: column '{column}' is missing")
    frame = mask_diverged(check_pairs(frame, name=name))
    unknown = frame.loc[~frame["status"].isin(STATUSES), "status"]
    if len(unknown):
        raise InputError(f"{name}: status '{unknown.iloc[0]}' is not one of {', '.join(STATUSES)}")
    for column in ("score", "scratch"):
        values = numeric(frame, column, name)
        bad = values[(values < 0) | (values > 1)]
        if len(bad):
            raise InputError(f"{name}: column '{column}' is {bad.iloc[0]}, expected 0 to 1")
        frame[column] = values
    return frame


def mask_diverged(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy in which rows whose `status` is not ok have no score and no gain."""
    frame = frame.copy()
    if "status" in frame.columns:
        columns = [c for c in UNDEFINED_WHEN_DIVERGED if c in frame.columns]
        frame.loc[frame["status"] != "ok", columns] = np.nan
    return frame


def task_order(frame: pd.DataFrame, suite: Iterable[str] | None = None) -> list[str]:
    """Tasks of a pair table: suite order if given, then those it lacks as they first appear."""
    seen = list(dict.fromkeys([*frame["source"].unique(), *frame["target"].unique()]))
    if suite is None:
        return seen
    present = set(seen)
    first = [task for task in suite if task in present]
    placed = set(first)
    return first + [task for task in seen if task not in placed]


def pivot(frame: pd.DataFrame, value: str, suite: Iterable[str] | None = None) -> pd.DataFrame:
    """The pair table as a frame [S, T], rows sources and columns targets in suite order.

    Each (source, target) must occur once: choose a method and average seeds before.
    """
    order = task_order(frame, suite)
    repeated = frame.duplicated(["source", "target"])
    if repeated.any():
        row = frame.loc[repeated].iloc[0]
        raise InputError(
            f"cannot pivot '{value}': more than one row for source '{row['source']}', "
            f"target '{row['target']}'"
        )
    given, taken = set(frame["source"].unique()), set(frame["target"].unique())
    sources = [task for task in order if task in given]
    targets = [task for task in order if task in taken]
    matrix = np.full((len(sources), len(targets)), np.nan)
    rows = pd.Index(sources).get_indexer(pd.Index(frame["source"]))
    columns = pd.Index(targets).get_indexer(pd.Index(frame["target"]))
    matrix[rows, columns] = frame[value].to_numpy(dtype=float)
    return pd.DataFrame(
        matrix, index=pd.Index(sources, name="source"), columns=pd.Index(targets, name="target")
    )


def square(frame: pd.DataFrame, value: str, tasks: Sequence[str]) -> np.ndarray:
    """The pair table as an array [T, T] over `tasks`; pairs without a row are NaN."""
    matrix = pivot(frame, value).reindex(index=list(tasks), columns=list(tasks))
    return matrix.to_numpy(dtype=float)


def common_tasks(frame: pd.DataFrame, suite: Iterable[str] | None = None) -> list[str]:
    """Tasks that are both a source and a target: only these can be permuted together."""
    both = set(frame["source"].unique()) & set(frame["target"].unique())
    return [task for task in task_order(frame, suite) if task in both]


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """A copy [T, T] of floats with the diagonal set to NaN."""
    matrix = np.array(matrix, dtype=float)
    np.fill_diagonal(matrix, np.nan)
    return matrix


def owner(frame: pd.DataFrame) -> pd.Series:
    """The `method` of each row as text, "" where there is none or the column is missing.

    A column of missing values may have any type (read from CSV it is a float).
    """
    if "method" not in frame.columns:
        return pd.Series("", index=frame.index, dtype=object)
    method = frame["method"].astype(object)
    return method.where(method.notna(), "")


def relative_to_own(frame: pd.DataFrame, value: str = "score") -> pd.Series:
    """score[s, t] / score[t, t]; NaN where the target has no own score or it is 0.

    Source: "transferability" of Su et al. 2022, On Transferability of Prompt Tuning, section 4.
    """
    own = frame.loc[frame["source"] == frame["target"]].set_index("target")[value]
    denominator = frame["target"].map(own).astype(float)
    return frame[value] / denominator.where(denominator != 0)


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """Write .csv or .parquet, whole or not at all."""
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: not a table: expected a file ending in .csv or .parquet")
    with whole(path) as part:
        if path.suffix == ".parquet":
            frame.to_parquet(part, index=False)
        else:
            frame.to_csv(part, index=False)
