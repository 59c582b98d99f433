"""Cache one few-shot sample of a task at the backbone's size."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_core.tasks.prepare import prepare_sample, read_preprocess

    prepare_sample(
        **snakemake.params.row,
        data_root=snakemake.config["data_root"],
        preprocess=read_preprocess(snakemake.input.backbone),
        shots=int(snakemake.wildcards.shots),
        seed=int(snakemake.wildcards.seed),
        **snakemake.params.sample,
        out=snakemake.output[0],
    )
