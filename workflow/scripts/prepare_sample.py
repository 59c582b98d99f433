"""Cache one few-shot sample of a task at the backbone's size."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake) as about:
    from mvlpt_core.tasks.check import data_state
    from mvlpt_core.tasks.prepare import prepare_sample, read_preprocess

    row, data_root = snakemake.params.row, snakemake.config["data_root"]
    about["data"] = data_state(row["task"], row["kind"], row["location"], data_root).touched
    prepare_sample(
        **row,
        data_root=data_root,
        preprocess=read_preprocess(snakemake.input.backbone),
        shots=int(snakemake.wildcards.shots),
        seed=int(snakemake.wildcards.seed),
        **snakemake.params.sample,
        out=snakemake.output[0],
    )
