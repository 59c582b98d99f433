"""Tables, texts and figures of one benchmark, from the score rows of its runs."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from pathlib import Path

    from mvlpt_analysis.benchmark.make import write_benchmark

    write_benchmark(
        snakemake.rule,
        snakemake.input.runs,
        snakemake.input.zero_shot,
        Path(snakemake.output[0]).parent,
        **snakemake.params.settings,
    )
