"""Cache the few-shot samples and test images of one task at the backbone's size."""

import json
from pathlib import Path
from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_core.tasks.prepare import prepare_task

    backbone = json.loads(Path(snakemake.input.backbone).read_text(encoding="utf-8"))
    prepare_task(
        snakemake.params.row,
        snakemake.config["data_root"],
        backbone["preprocess"],
        shots=snakemake.params.shots,
        seeds=snakemake.params.seeds,
        val_share=snakemake.params.val_share,
        max_test=snakemake.params.max_test,
        out=Path(snakemake.output[0]),
        short_classes=snakemake.params.short_classes,
    )
