"""Tune the source prompts of a block of tasks, one task after the other, all seeds side by side."""

from pathlib import Path
from typing import Any

from adapter import by_source_seed, by_task, logged, opened_job

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_core.jobs import tune_sources

    features = by_task(snakemake.input.features)
    prompts = by_source_seed(snakemake.output.prompts)
    outputs: dict[str, dict[int, tuple[Path, Path]]] = {}
    for (task, seed), scores in by_source_seed(snakemake.output.scores).items():
        outputs.setdefault(task, {})[seed] = (scores, prompts[task, seed])
    for task, prepared in by_task(snakemake.input.prepared).items():
        tune_sources(opened_job(snakemake, prepared, features[task]), outputs[task])
