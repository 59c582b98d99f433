"""The tables of a study, read back for figures and report, and parts of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..catalogue import FLAGS, SCRATCH, TABLES, TEXT
from ..vocabulary import FAMILY, REPLICATES
from . import pairs

Factors = Mapping[str, Sequence[str]]  # grouping factor -> its value for each task, "" for none


def read_tables(paths: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Tables of the catalogue by name, from their files (.csv or .parquet); one without rows keeps
    its header.

    Columns of words are read letter by letter, so that tasks may be called 1, 007 or nan. Raises
    InputError, naming the file, for one that is missing or has another header than the catalogue.
    """
    return {name: _read_table(name, Path(path)) for name, path in paths.items()}


def _read_table(name: str, path: Path) -> pd.DataFrame:
    if name not in TABLES:
        raise InputError(f"table '{name}' is unknown: expected one of {', '.join(TABLES)}")
    frame = pairs.read_frame(path, text=TEXT, empty=True)
    words = [column for column in frame.columns if column in TEXT]
    frame[words] = frame[words].fillna("")  # as from CSV, which knows no missing word
    expected = TABLES[name].columns
    if tuple(frame.columns) != expected:
        raise InputError(
            f"{path}: the header is {','.join(map(str, frame.columns))}: "
            f"expected {','.join(expected)}"
        )
    for column in expected:
        if column in FLAGS and not frame[column].isin([True, False]).all():
            raise InputError(f"{path}: column '{column}' has other values: expected True or False")
        number = column not in TEXT | FLAGS
        if number and len(frame) and not pd.api.types.is_numeric_dtype(frame[column]):
            pairs.numeric(frame, column, str(path))
    return typed(frame)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with columns of words as text, flags as bool; numbers where it has no rows."""
    kinds: dict[str, str] = {c: "bool" for c in frame.columns if c in FLAGS}
    if frame.empty:
        kinds |= {c: "str" if c in TEXT else "float" for c in frame.columns if c not in FLAGS}
    return frame.astype(kinds)


def without_rows(name: str) -> pd.DataFrame:
    """A table of the catalogue that has its header only."""
    return typed(pd.DataFrame(columns=list(TABLES[name].columns)))


def of_shots(frame: pd.DataFrame, shots: int) -> pd.DataFrame:
    """The rows of one value of `shots`, without that column. Raises InputError if there is none."""
    rows = frame[frame["shots"] == shots]
    if len(frame) and rows.empty:
        known = ", ".join(map(str, sorted(frame["shots"].unique())))
        raise InputError(f"no rows of shots {shots}: expected one of {known}")
    return rows.drop(columns="shots").reset_index(drop=True)


def factor_frame(tasks: Sequence[str], factors: Factors) -> pd.DataFrame:
    """task and one column a factor."""
    return pd.DataFrame({"task": list(tasks), **{name: list(factors[name]) for name in factors}})


def families(tasks: Sequence[str], factors: Factors) -> dict[str, str]:
    """The family of each task where the suite names families, a task without one being its own; else
    nothing."""
    if FAMILY not in factors:
        return {}
    own = zip(tasks, factors[FAMILY], strict=True)
    return {task: f"{FAMILY} {family}" if family else f"task {task}" for task, family in own}


def error_matrix(gains: pd.DataFrame, tasks: Sequence[str]) -> np.ndarray:
    """Standard errors [n, n] of one method's gains; NaN where the table has none."""
    if "se" not in gains.columns:
        return np.full((len(tasks), len(tasks)), np.nan)
    return pairs.square(gains, "se", tasks)


def of_method(similarity: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows that hold for a method: those without a method, and its own (prompt similarities)."""
    owners = pairs.owner(similarity)
    return similarity[(owners == "") | (owners == method)]


def similarity_frame(similarity: pd.DataFrame, measure: str, method: str) -> pd.DataFrame:
    """source, target, value, diagonal of one measure (of one method, for prompt similarities).
    Raises InputError for a measure that the table does not have."""
    frame = of_method(similarity[similarity["measure"] == measure], method)
    if frame.empty:
        known = sorted(set(similarity["measure"]))
        raise InputError(f"no similarity '{measure}' in the table: expected one of {known}")
    out = frame[["source", "target", "value"]].reset_index(drop=True)
    return out.assign(diagonal=out["source"] == out["target"])


def between(gains: pd.DataFrame, tasks: Collection[str]) -> pd.DataFrame:
    """The rows of two tasks: off the diagonal, and not from a prompt of several."""
    return gains[gains["source"].isin(list(tasks)) & (gains["source"] != gains["target"])]


def from_tasks(rows: pd.DataFrame, tasks: Collection[str]) -> pd.DataFrame:
    """The rows of runs from scratch and from the prompt of one task, not of several."""
    return rows[rows["source"].isin([SCRATCH, *tasks])]


def transfers(gains: pd.DataFrame, method: str, tasks: Collection[str]) -> pd.DataFrame:
    """A method's rows of two tasks that have a gain."""
    return between(gains[gains["method"] == method], tasks).dropna(subset=["gain"])


def why_no_gain(gains: pd.DataFrame, method: str) -> str:
    """Why a method has no gain at all, in words; "" where it has one."""
    rows = gains[gains["method"] == method]
    if rows.empty:
        return f"{method} has no pairs"
    if rows["gain"].notna().any():
        return ""
    diverged = "n_diverged" in rows and (rows["n_diverged"] > 0).all()
    return f"every run of {method} diverged" if diverged else f"no pair of {method} has a gain"


def seeds_known(gains: pd.DataFrame) -> bool:
    """Whether intervals and q of every method's pairs hold the noise of seeds; else they hold no more than
    that of the test images, or there are none. With replicates the control by a task's own prompt is left
    out, which is not among them."""
    if "interval" not in gains:
        return True
    kinds = gains.groupby("method")["interval"].agg(set)
    return all("images" not in own or REPLICATES in own for own in kinds)


def few_tasks(count: float) -> str:
    """Why no correlation can be established with so many tasks; "" where one can."""
    if not count <= 4:  # five have 120 orders
        return ""
    orders = math.factorial(int(count))
    return (
        f"{count:.0f} tasks have {orders} orders, so that no test by permutation can go below p = 1/{orders} "
        f"= {1 / orders:.3f}, and a correlation cannot be established"
    )
