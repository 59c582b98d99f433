"""Loss and gradient of each of some targets at every source's prompt."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake, computes=True):
    from pathlib import Path

    from mvlpt_core.contract.layout import Layout
    from mvlpt_core.contract.methods import METHODS
    from mvlpt_core.contract.settings import Tuning
    from mvlpt_core.screen import screen_tasks
    from mvlpt_core.tuning.problem import TaskFiles

    method, shots, seed = (snakemake.wildcards[key] for key in ("method", "shots", "seed"))
    at = Layout(str(Path(snakemake.input.backbone).parent.parent))
    out = {Path(path).parent.name: Path(path) for path in snakemake.output}
    screen_tasks(
        snakemake.input.backbone,
        files={
            task: TaskFiles.of(at, task, shots, seed, texts=bool(snakemake.input.class_texts))
            for task in out
        },
        prompts={Layout.group_and_start(path)[0]: Path(path) for path in snakemake.input.prompts},
        out=out,
        settings=METHODS[method](**snakemake.params.method),
        tuning=Tuning(**snakemake.params.tuning),
        shots=int(shots),
        seed=int(seed),
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        memory_gb=snakemake.config["memory_gb"],
        provenance=snakemake.params.provenance,
    )
