"""Numbers on the command line: what is none is told in one sentence."""

from __future__ import annotations

import argparse


def whole(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, 1)


def whole0(text: str) -> int:
    """A whole number of at least 0."""
    return _number(text, 0)


def _number(text: str, least: int) -> int:
    from mvlpt_core.contract.settings import LARGEST  # imports pydantic

    if not (text.isascii() and text.isdigit() and least <= int(text) < LARGEST):
        expected = f"expected a whole number of at least {least}, below 2**31"
        raise argparse.ArgumentTypeError(f"{text!r}: {expected}")
    return int(text)


def above0(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value
