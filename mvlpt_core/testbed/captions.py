"""Captions of the testbed's drawings, and the templates of its label families.

A caption mentions some of the parts, each with its tint (if it has one) and its colour:
"a golden red circle on a blue background with a icy pink dot" (always "a", so that a template fits
every class). The colour word alone does not say which part it is about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mvlpt_core.testbed.draw import PALETTE, PARTS, SHAPES, TINTS, Scenes

# Lead words of each part; the object is followed by its shape, the other parts by their own name.
_LEADS = {
    "object": ("a",),
    "background": ("on", "a"),
    "frame": ("in", "a"),
    "dot": ("with", "a"),
    "bar": ("over", "a"),
}
WORDS: tuple[str, ...] = (
    *dict.fromkeys(word for lead in _LEADS.values() for word in lead),
    *PARTS[1:],
    *SHAPES,
    *PALETTE,
    *TINTS,
    ".",
)
TEMPLATES: dict[str, tuple[str, ...]] = {
    "object": tuple(f"a {{c}} {shape}" for shape in SHAPES),
    **{part: (f"{' '.join(_LEADS[part])} {{c}} {part}",) for part in PARTS[1:]},
}

_ID = {word: i for i, word in enumerate(WORDS)}
_COLOUR_IDS = np.array([_ID[word] for word in PALETTE])
_TINT_IDS = np.array([-1, *(_ID[word] for word in TINTS)])
_SHAPE_IDS = np.array([_ID[word] for word in SHAPES])


def caption_ids(scenes: Scenes, parts: Sequence[str], full_stop: bool = False) -> NDArray[np.int64]:
    """Captions that mention `parts`: indices into WORDS [N, L], filled up with -1 on the right."""
    n = len(scenes)
    columns = []
    for part in parts:
        p = PARTS.index(part)
        columns += [np.full(n, _ID[word]) for word in _LEADS[part]]
        columns += [_TINT_IDS[scenes.tint[:, p]], _COLOUR_IDS[scenes.colour[:, p]]]
        columns += [_SHAPE_IDS[scenes.shape] if part == "object" else np.full(n, _ID[part])]
    if full_stop:
        columns.append(np.full(n, _ID["."]))
    ids = np.stack(columns, axis=1)
    order = np.argsort(ids < 0, axis=1, kind="stable")  # close the gaps that plain parts leave
    ids = np.take_along_axis(ids, order, axis=1)
    return ids[:, : int((ids >= 0).sum(axis=1).max())]


def caption_text(ids: NDArray[np.int64]) -> str:
    """One row of `caption_ids` as a sentence."""
    return " ".join(WORDS[i] for i in ids if i >= 0)
