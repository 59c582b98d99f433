"""The Snakemake workflow, as files beside this one, and where they and the configurations lie."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SNAKEFILE = FOLDER / "Snakefile"


def located(path: str | Path) -> str:
    """A path of a configuration: below the working directory, or else beside the workflow, where the
    shipped suites, configurations and the testbed lie."""
    if Path(path).exists():
        return str(path)
    for above in (FOLDER.parent, FOLDER):
        if (above / path).exists():
            return str(above / path)
    return str(path)
