"""Tune a block of targets, one after the other, each from a pack of source prompts side by side."""

from typing import Any

from adapter import by_source_seed, by_target, by_task, logged, opened_job

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_core.jobs import tune_cells

    prepared = by_task(snakemake.input.prepared)
    features = by_task(snakemake.input.features)
    for target, outputs in by_target(snakemake.output).items():
        tune_cells(
            opened_job(snakemake, prepared[target], features[target]),
            by_source_seed(snakemake.input.prompts),
            by_source_seed(outputs),
        )
