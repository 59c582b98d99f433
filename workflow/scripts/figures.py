"""Draw the study's figures as PNG and SVG."""

from pathlib import Path
from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_analysis.figures.gallery import draw_figures

    draw_figures(
        Path(snakemake.output.captions).parent.parent,
        suite=Path(snakemake.input.suite),
        workers=snakemake.threads,
    )
