"""Look for images that few-shot samples and test splits have in common."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from mvlpt_analysis.read.leakage import shared_images
    from mvlpt_analysis.read.pairs import write_frame

    write_frame(shared_images(snakemake.input.test, snakemake.input.sample), snakemake.output[0])
