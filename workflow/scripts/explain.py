"""Gains with their uncertainty, what goes with them, and which sources to choose."""

from pathlib import Path
from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_analysis.study import analyse_statistics

    analyse_statistics(
        Path(snakemake.input.similarity).parent,
        **snakemake.params.analysis,
        suite=Path(snakemake.input.suite),
        workers=snakemake.threads,
    )
