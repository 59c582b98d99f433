"""Encode a block of tasks with the frozen backbone and score it zero-shot."""

from pathlib import Path
from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_core.features import extract

    extract(
        Path(snakemake.input.backbone).parent,
        [Path(path) for path in snakemake.input.prepared],
        [Path(path) for path in snakemake.output.features],
        [Path(path) for path in snakemake.output.zero_shot],
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        class_text=snakemake.params.class_text,
        provenance=snakemake.params.provenance,
    )
