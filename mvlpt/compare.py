"""Studies or tables compared two by two, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def print_comparison(
    sources: Sequence[Path], out: Path, permutations: int, seed: int, shots: int | None
) -> None:
    """Compare, write into `out`, and print what was found; errors as `mvlpt_analysis.compare.compare`."""
    import matplotlib as mpl

    from mvlpt_analysis.compare import compare
    from mvlpt_core.contract.files import check_writable

    mpl.use("Agg")
    check_writable(out)
    print(*compare(sources, out, permutations, seed, shots), sep="\n")
    print(f"written: {out}/agreement.csv, and a figure for each comparison")
