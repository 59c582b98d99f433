"""Encode the classes of a block of tasks in the visual method's sentence."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake, computes=True):
    from mvlpt_core.features import encode_class_texts

    encode_class_texts(
        snakemake.input.backbone,
        snakemake.input.test[::2],  # every task's tensors; its images lie beside them
        snakemake.output,
        snakemake.params.template,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
    )
