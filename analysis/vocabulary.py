"""Names of similarities and of rules for choosing a source, and how names and numbers are written.

Imports nothing heavy, so that the report can be written without a plotting library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
NOTHING = "There is nothing to draw, because "  # how the caption of a figure without one begins
MAIN_MEASURES = ("visual_cosine", "label_cosine")
# Rules for choosing a source that are no similarity (`choice.ranking`).
RANDOM, BEST_AVERAGE = "random source", "best average source"
MODEL_TARGET, MODEL_TASK = "model, target left out", "model, task left out"
CHOSEN = "rule chosen on others"  # the rule with the least regret on the other targets
# The factor of a suite whose values are kinds of task. Tasks of one kind are no independent evidence.
FAMILY = "family"
REPLICATES = (
    "replicates"  # of an interval whose seed noise is that of other pairs, run with two seeds
)


@dataclass(frozen=True)
class Measure:
    """One column of the similarity table; `low` and `high` bound its values."""

    name: str
    kind: str
    symmetric: bool
    low: float
    high: float
    description: str


MEASURES = {
    m.name: m
    for m in (
        Measure("visual_cosine", "visual", True, -1, 1, "cosine of mean image features"),
        Measure(
            "visual_mmd",
            "visual",
            True,
            -2,
            math.inf,
            "minus the unbiased squared maximum mean discrepancy of image features",
        ),
        Measure(
            "visual_centroids",
            "visual",
            True,
            -1,
            1,
            "mean cosine of class centroids under the best one-to-one assignment",
        ),
        Measure("label_cosine", "label", True, -1, 1, "cosine of mean class-name features"),
        Measure(
            "label_match",
            "label",
            True,
            -1,
            1,
            "mean cosine of class names under the best one-to-one assignment",
        ),
        Measure(
            "label_shared",
            "label",
            True,
            0,
            1,
            "share of class names in common (intersection over union)",
        ),
        Measure(
            "joint_otdd",
            "joint",
            True,
            -math.inf,
            0,
            "minus the optimal transport distance of images with their classes",
        ),
        Measure(
            "leep",
            "transferability",
            False,
            -math.inf,
            0,
            "LEEP of the source's zero-shot classifier on the target's labels",
        ),
        Measure(
            "logme",
            "transferability",
            False,
            -math.inf,
            math.inf,
            "LogME of the source's zero-shot logits on the target's labels",
        ),
        Measure(
            "h_score",
            "transferability",
            False,
            0,
            math.inf,
            "H-score of the source's zero-shot logits on the target's labels",
        ),
        Measure(
            "prompt_cosine_concat",
            "prompt",
            True,
            -1,
            1,
            "cosine of source prompts, all context vectors in a row",
        ),
        Measure(
            "prompt_cosine_tokens",
            "prompt",
            True,
            -1,
            1,
            "mean cosine of all pairs of context vectors of two source prompts",
        ),
        Measure(
            "prompt_cosine_change",
            "prompt",
            True,
            -1,
            1,
            "cosine of what tuning changed in two source prompts (tuned minus start)",
        ),
        Measure(
            "prompt_match_tokens",
            "prompt",
            True,
            -1,
            1,
            "mean greatest cosine of each context vector with one of the other source prompt",
        ),
    )
}

# What a source's prompt promises for a target before any run from it (`choice.screen`).
SCREENS = {
    m.name: m
    for m in (
        Measure(
            "screen_loss",
            "screen",
            False,
            -math.inf,
            0,
            "minus the loss of the target's few-shot sample at the source's prompt",
        ),
        Measure(
            "screen_descent",
            "screen",
            False,
            -math.inf,
            math.inf,
            "minus the loss that the gradient promises where tuning ends",
        ),
        Measure(
            "screen_gradient",
            "screen",
            False,
            -math.inf,
            0,
            "minus the norm of the gradient at the source's prompt",
        ),
        Measure(
            "screen_toward",
            "screen",
            False,
            -math.inf,
            math.inf,
            "fall of a linear loss from the target's random start to the source's prompt",
        ),
    )
}
SCREEN_RULE = "screen_loss"  # the score that ranks


# Rankers that a new task does not have: chance, the model that knows the task as a source, and
# measures that need the task's own prompt.
CLOSED = {RANDOM, MODEL_TARGET, *(m for m in MEASURES if MEASURES[m].kind == "prompt")}


def untrained(names: Iterable[str]) -> list[str]:
    """The measures among `names` that are known of a task before any prompt was tuned on it, all
    but prompts' own, and without a pass through the prompts of others; each once, in order."""
    known = dict.fromkeys(name for name in names if name not in SCREENS)
    return [n for n in known if n not in MEASURES or MEASURES[n].kind != "prompt"]


def signed(value: float, digits: int = 1) -> str:
    """A number with a typographic minus; -0.0 becomes 0.0."""
    text = f"{value:.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", MINUS)


def pretty(name: str) -> str:
    """A measure's or ranker's name for readers: `visual_cosine` -> `visual cosine`."""
    return name.replace("_", " ")
