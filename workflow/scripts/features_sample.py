"""Encode the few-shot images of a block of tasks."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake, computes=True):
    from mvlpt_core.features import encode_sample

    encode_sample(
        snakemake.input.backbone,
        snakemake.input.sample[::2],  # every task's tensors; its images lie beside them
        snakemake.output,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
    )
