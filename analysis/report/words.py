"""How numbers of tables are written in the report's sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..gains.verdicts import equal_within
from ..stats.multiplicity import ALPHA
from ..stats.power import smallest_effect
from ..view import View
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


def size_of(view: View, value: float) -> str:
    """A size (a positive number of score units) with its unit: 1 point, 12.1 points."""
    number, unit = f"{view.wording.scale * value:.3g}", view.wording.unit
    return f"{number} {'point' if (number, unit) == ('1', 'points') else unit}"


def margin_of(tables: Frames) -> float:
    """The margin of gains that matter, in score units; NaN in tables that have none."""
    gains = tables["gains"]
    return float(gains["margin"].iloc[0]) if "margin" in gains and len(gains) else float("nan")


def not_told(view: View, span: tuple[float, float, float], df: float, margin: float) -> str:
    """What a difference of gains that is not told from 0 lets one say, from its value and its 95 % t interval
    with `df`: equal within the `margin` (`gains.verdicts.equal_within`), or unclear, with the size that such
    a design tells from 0 in four of five studies. All in score units."""
    value, low, high = span
    if not (np.isfinite(high - low) and df > 0):
        return "unclear"
    error = (high - low) / (2 * stats.t.ppf(1 - ALPHA / 2, df))
    if equal_within(value, error, df, margin):
        return f"equal to 0 within a margin of {size_of(view, margin)}"
    return f"unclear: this design could have told {size_of(view, smallest_effect(error, df))}"
