"""Write the study's report: one HTML file with its tables and figures."""

from pathlib import Path
from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_analysis.report.page import write_report

    write_report(Path(snakemake.output[0]).parent)
