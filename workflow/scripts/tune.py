"""Tune a pack of runs: some groups one after the other, each from its starts side by side."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake, computes=True):
    from pathlib import Path

    from mvlpt_core.contract.layout import RANDOM, Layout
    from mvlpt_core.contract.methods import METHODS
    from mvlpt_core.contract.settings import Joint, Tuning
    from mvlpt_core.jobs import tune_pack
    from mvlpt_core.tuning.problem import TaskFiles

    method, shots, seed = (snakemake.wildcards[key] for key in ("method", "shots", "seed"))
    at = Layout(str(Path(snakemake.input.backbone).parent.parent))
    scores = {at.group_and_start(path): Path(path) for path in snakemake.output.scores}
    named = {Path(path).stem: Path(path) for path in snakemake.input.groups}
    groups = {
        group: named[group].read_text(encoding="utf-8").split() if group in named else [group]
        for group, _ in scores
    }

    def starting(group: str, start: str) -> list[Path]:
        """The prompts behind a start: one, or those that its file lists for the group."""
        if at.mean(start, group) not in snakemake.input.means:
            return [Path(at.prompt(method, start, RANDOM, shots, seed))]
        lines = Path(at.mean(start, group)).read_text(encoding="utf-8").splitlines()
        return [
            Path(at.prompt(method, source, RANDOM, shots, seed if one == "own" else one))
            for source, seeds in map(str.split, lines)
            for one in seeds.split(",")
        ]

    tune_pack(
        snakemake.input.backbone,
        groups=groups,
        files={
            task: TaskFiles.of(at, task, shots, seed, texts=bool(snakemake.input.class_texts))
            for task in {task for members in groups.values() for task in members}
        },
        prompts={
            (group, start): starting(group, start) for group, start in scores if start != RANDOM
        },
        scores=scores,
        kept={at.group_and_start(path): Path(path) for path in snakemake.output.prompts},
        settings=METHODS[method](**snakemake.params.method),
        tuning=Tuning(**snakemake.params.tuning),
        joint=Joint(**snakemake.params.joint),
        shots=int(shots),
        seed=int(seed),
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        gpu_step=snakemake.config["gpu_step"],
        memory_gb=snakemake.config["memory_gb"],
        provenance=snakemake.params.provenance,
    )
