# Features of the frozen backbone and the zero-shot score, once a task.
#
# REQUIRED INPUTS
#   results/<study>/backbone/, results/<study>/prepared/<task>.safetensors
# OUTPUTS
#   results/<study>/features/<task>.safetensors
#   results/<study>/zero_shot/<task>.parquet

for block, tasks in TASK_BLOCKS.items():

    rule:
        name:
            f"features_{block}"
        input:
            backbone=BACKBONE,
            weights=WEIGHTS,
            prepared=expand(PREPARED, task=tasks),
        output:
            features=expand(FEATURES, task=tasks),
            zero_shot=expand(ZERO_SHOT, task=tasks),
        log:
            f"{LOGS}/features/block{block}.log",
        benchmark:
            f"{BENCHMARKS}/features/block{block}.tsv"
        conda:
            ENVIRONMENT
        threads: STUDY["threads"]
        resources:
            mem_mb=STUDY["mem_mb"],
            runtime=STUDY["runtime"],
            gpu=1,
        params:
            class_text=STUDY["methods"].get("visual", {}).get("class_text", "templates"),
            precision=STUDY["backbone"]["precision"],
            provenance=provenance(code_digest("mvlpt_core.features")),
        message:
            f"Features and zero-shot score of {listed(tasks)}"
        script:
            "../scripts/features.py"
