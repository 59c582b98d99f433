"""Collect the scores of all runs, with their baselines, in tidy tables."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from mvlpt_analysis.read.gather import gather
    from mvlpt_analysis.read.pairs import write_frame

    source = snakemake.input
    tables = gather(source.runs, source.zero_shot, source.replicates, workers=snakemake.threads)
    for name, table in tables.items():
        write_frame(table, snakemake.output[name])
