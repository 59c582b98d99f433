"""Gains as measured, and shrunk towards what repeats, side by side."""

from __future__ import annotations

import pandas as pd

from ..read.study import seeds_known, why_no_gain
from ..view import View
from .heatmaps import beside, gain_frame
from .style import Plate, notice


def plot_shrunk(view: View, method: str, gains: pd.DataFrame) -> Plate:
    """One method's heatmaps of `gain` and `gain_shrunk` on one colour scale."""
    title, words = f"Measured and shrunk gains, {method}", view.wording
    own = gains[gains["method"] == method]
    reason = why_no_gain(gains, method)
    if not reason and not ("gain_shrunk" in own and own["gain_shrunk"].notna().any()):
        few = own["target"].nunique() < 4
        reason = (
            "there are fewer than 4 tasks"
            if few
            else "one seed without stored outcomes does not tell noise from pairs"
        )
    if reason:
        return notice(title, reason)
    own = own[own["source"].isin(view.tasks)]
    order = view.order(own)
    raw = gain_frame(own, method, order, scale=words.scale)
    pulled = gain_frame(own, method, order, "gain_shrunk", words.scale)
    # Marks are about the gains as measured.
    pulled = pulled.assign(established=False, suggested=False, equal=False, diagonal=False)
    figure = beside(view, {"measured": raw, "shrunk": pulled}, own)
    caption = (
        f"{words.score_name[:1].upper()}{words.score_name[1:]}s of {method} as measured, and pulled towards "
        "what source, target and the opposite direction tell by the share of the variance that does not "
        "repeat: the better guess of what a new seed would give (none for a task with itself, which is grey)."
    )
    if not seeds_known(gains):
        caption += (
            " With one seed only the noise of test images is known, so that too little is shrunk."
        )
    return Plate(title, caption, figure)
