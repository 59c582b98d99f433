"""Measure how alike all pairs of tasks are: images, class names, source prompts."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from mvlpt_analysis.read.pairs import write_frame
    from mvlpt_analysis.similarity.pairs import similarity_table

    table = similarity_table(
        snakemake.input.test_features,
        snakemake.input.sample_features,
        snakemake.input.prompts,
        seed=snakemake.params.seed,
    )
    write_frame(table, snakemake.output[0])
