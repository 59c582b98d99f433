"""Cache one task's test images at the backbone's size."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake) as about:
    from mvlpt_core.contract.suite import TaskRow
    from mvlpt_core.tasks.check import data_state
    from mvlpt_core.tasks.prepare import prepare_test, read_preprocess

    row, data_root = TaskRow(**snakemake.params.row), snakemake.config["data_root"]
    about["data"] = data_state(row.task, row.kind, row.location, data_root).touched
    prepare_test(
        row,
        data_root,
        read_preprocess(snakemake.input.backbone),
        max_test=snakemake.params.max_test,
        out=snakemake.output[0],
    )
