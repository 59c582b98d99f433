"""What part of a grid tells of the rest of it: sentences."""

from __future__ import annotations

import numpy as np

from ..choice.complete import ADDITIVE, ALIKE, SCREENED, shown_model
from ..view import View
from ..vocabulary import signed
from .words import Frames, Row, interval, records

_SHOWN = 0.25  # of the designed fractions that whole grids are judged at
_ADDS = 0.02  # of the variance: less is nothing


def what_is_told(view: View, tables: Frames) -> list[str]:
    """Of each method: what the unmeasured pairs are estimated to gain and how well that is known; of a grid
    measured whole, what a designed quarter of it would have told; by the model whose estimates are shown."""
    return [text for method in view.methods if (text := _of(view, tables, method))]


def _of(view: View, tables: Frames, method: str) -> str:
    table = tables["completion"]
    own = table[table["method"] == method]
    part = bool(own["fraction"].isna().any())
    own = own if part else own[own["fraction"] == _SHOWN]
    rows = {(row["mates"], row["model"]): row for row in records(own)}
    shown = shown_model(set(own["model"]))
    found = rows.get(("all", shown))
    if found is None or not np.isfinite(found["r2"]):
        return ""
    by = " by similarities and screening" if shown == SCREENED else ""
    if part:
        return _part(view, tables, method, rows, found, by)
    text = (
        f"{method}: a designed quarter of the pairs ({found['n_measured']:.0f}) would have told the others "
        f"with R2 {found['r2']:.2f}{by} ({_bare(rows['all', ADDITIVE])} from source and target means alone"
        f"{_verdict(rows, 'all')}), and named sources {_points(view, found['regret1'])} short of the best"
    )
    without = rows.get(("without", shown))
    if without is not None and np.isfinite(without["r2"]):
        text += (
            f"; among tasks of other families with R2 {without['r2']:.2f} "
            f"({_bare(rows['without', ADDITIVE])}{_verdict(rows, 'without')}), "
            f"{_points(view, without['regret1'])} short of the best"
        )
    return f"{text}. Intervals of 95% held {100 * found['covered']:.0f}% of what was left out."


def _part(
    view: View,
    tables: Frames,
    method: str,
    rows: dict[tuple[str, str], Row],
    found: Row,
    by: str,
) -> str:
    absent = tables["completed"]
    absent = absent[absent["method"] == method]
    half = view.wording.scale * found["width"] / 2
    text = (
        f"{method}: {found['n_measured']:.0f} pairs were measured and {len(absent)} are estimated, each "
        f"within {signed(half).lstrip('+')} {view.wording.unit} (95%); gains left out were told with R2 "
        f"{found['r2']:.2f}{by} ({_bare(rows['all', ADDITIVE])} from source and target means alone"
        f"{_verdict(rows, 'all')})"
    )
    if len(absent):
        best = records(absent.head(1))[0]
        span = interval(*(view.wording.scale * best[side] for side in ("low", "high")))
        text += (
            f". The most promising of them is {best['source']} \u2192 {best['target']}, "
            f"{_points(view, best['estimate'])}{span}: measure it before you rely on it"
        )
    return f"{text}."


def _bare(row: Row) -> str:
    return f"{row['r2']:.2f}" if np.isfinite(row["r2"]) else "unknown"


def _verdict(rows: dict[tuple[str, str], Row], mates: str) -> str:
    added = rows[mates, ALIKE]["r2"] - rows[mates, ADDITIVE]["r2"]
    return ": similarities add nothing" if added < _ADDS else ""


def _points(view: View, value: float) -> str:
    return f"{signed(view.wording.scale * value)} {view.wording.unit}"
