"""Encode the test images and classes of a block of tasks, and score them zero-shot."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake, computes=True):
    from mvlpt_core.features import encode_test

    encode_test(
        snakemake.input.backbone,
        snakemake.input.test[::2],  # every task's tensors; its images lie beside them
        snakemake.output.features,
        snakemake.output.zero_shot,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        provenance=snakemake.params.provenance,
    )
