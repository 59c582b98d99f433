"""Collect the scores of all cells, with their scratch and zero-shot scores, in tidy tables."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_analysis.read.gather import gather
    from mvlpt_analysis.read.pairs import write_frame

    gathered = gather(
        list(snakemake.input.cells), list(snakemake.input.sources), list(snakemake.input.zero_shot)
    )
    for name in ("transfer", "curves", "outcomes"):
        write_frame(getattr(gathered, name), snakemake.output[name])
