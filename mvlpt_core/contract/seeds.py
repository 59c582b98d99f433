"""Random numbers that depend on names alone: not on process, platform or what else is drawn."""

from __future__ import annotations

import hashlib

import numpy as np


def number(*names: object) -> int:
    """A 63-bit seed from names and numbers, the same on every machine."""
    text = "\0".join(map(str, names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(*names: object) -> np.random.Generator:
    """A random generator that depends on the text of `names` alone."""
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
