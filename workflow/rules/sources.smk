# Source prompts: each task's own prompt, tuned from random initialisation, and its scratch score.
#
# REQUIRED INPUTS
#   results/<study>/backbone/, results/<study>/{prepared,features}/<task>.safetensors
# OUTPUTS
#   results/<study>/sources/<method>/<task>/seed<k>.parquet       the scratch score
#   results/<study>/sources/<method>/<task>/seed<k>.safetensors   the prompt

for block, tasks in TASK_BLOCKS.items():

    rule:
        name:
            f"sources_{block}"
        input:
            backbone=BACKBONE,
            weights=WEIGHTS,
            prepared=expand(PREPARED, task=tasks),
            features=expand(FEATURES, task=tasks),
        output:
            scores=expand(SOURCE, task=tasks, seed=SEEDS, allow_missing=True),
            prompts=expand(PROMPT, task=tasks, seed=SEEDS, allow_missing=True),
        log:
            f"{LOGS}/sources/{{method}}/block{block}.log",
        benchmark:
            f"{BENCHMARKS}/sources/{{method}}/block{block}.tsv"
        conda:
            ENVIRONMENT
        threads: STUDY["threads"]
        resources:
            mem_mb=STUDY["mem_mb"],
            runtime=STUDY["runtime"],
            gpu=1,
        params:
            method=lambda wildcards: STUDY["methods"][wildcards.method],
            tuning=STUDY["tuning"],
            precision=STUDY["backbone"]["precision"],
            provenance=lambda wildcards: provenance(TUNING_CODE, wildcards.method),
        message:
            f"Source prompts, {{wildcards.method}}: {listed(tasks)}"
        script:
            "../scripts/sources.py"
