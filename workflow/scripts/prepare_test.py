"""Cache one task's test images at the backbone's size."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_core.contract.suite import TaskRow
    from mvlpt_core.tasks.prepare import prepare_test, read_preprocess

    prepare_test(
        TaskRow(**snakemake.params.row),
        snakemake.config["data_root"],
        read_preprocess(snakemake.input.backbone),
        max_test=snakemake.params.max_test,
        out=snakemake.output[0],
    )
