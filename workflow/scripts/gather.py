"""Collect the scores of all runs, with their baselines, in tidy tables."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from mvlpt_analysis.read.gather import gather
    from mvlpt_analysis.read.pairs import write_frame

    tables = gather(snakemake.input.runs, snakemake.input.zero_shot, snakemake.input.replicates)
    for name, table in tables.items():
        write_frame(table, snakemake.output[name])
