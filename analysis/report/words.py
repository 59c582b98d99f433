"""How numbers of tables are written in the report's sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..vocabulary import signed

Frames = Mapping[str, pd.DataFrame]  # tables by name
Row = Mapping[str, Any]


def p_value(p: float, name: str = "p") -> str:
    """`p = 0.012`, or that there is no test."""
    if not np.isfinite(p):
        return "not tested"
    return f"{name} < 0.001" if p < 0.001 else f"{name} = {p:.3f}"


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame, as mappings."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def interval(low: float, high: float, digits: int = 1) -> str:
    """` [low, high]`, or nothing where there is no interval."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    return f" [{signed(low, digits)}, {signed(high, digits)}]"
