"""Fit and score the linear probes of a block of tasks."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from pathlib import Path

    from mvlpt_core.contract.layout import Layout
    from mvlpt_core.probe import probe_tasks

    source = snakemake.input
    kinds = ("test", "sample", "test_features", "sample_features")
    scores = {Layout.group_and_start(path)[0]: Path(path) for path in snakemake.output}
    probe_tasks(
        {task: {kind: Path(source[kind][i]) for kind in kinds} for i, task in enumerate(scores)},
        scores,
        shots=int(snakemake.wildcards.shots),
        seed=int(snakemake.wildcards.seed),
        provenance=snakemake.params.provenance,
    )
