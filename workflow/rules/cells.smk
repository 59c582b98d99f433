# The cells: every target tuned from every source's prompt. A job takes one block of targets and, on
# each of them, tunes one pack of sources side by side; every cell is an output of its own.
#
# REQUIRED INPUTS
#   results/<study>/backbone/, results/<study>/{prepared,features}/<target>.safetensors
#   results/<study>/sources/<method>/<source>/seed<k>.safetensors
# OUTPUTS
#   results/<study>/cells/<method>/<target>/<source>/seed<k>.parquet

for block, pack in CELL_BLOCKS:

    rule:
        name:
            f"cells_{block}_{pack}"
        input:
            backbone=BACKBONE,
            weights=WEIGHTS,
            prepared=expand(PREPARED, task=TASK_BLOCKS[block]),
            features=expand(FEATURES, task=TASK_BLOCKS[block]),
            prompts=expand(PROMPT, task=PACKS[pack], seed=SEEDS, allow_missing=True),
        output:
            expand(
                CELL,
                target=TASK_BLOCKS[block],
                source=PACKS[pack],
                seed=SEEDS,
                allow_missing=True,
            ),
        log:
            f"{LOGS}/cells/{{method}}/block{block}_pack{pack}.log",
        benchmark:
            f"{BENCHMARKS}/cells/{{method}}/block{block}_pack{pack}.tsv"
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
            f"Cells, {{wildcards.method}}: from {listed(PACKS[pack])} to {listed(TASK_BLOCKS[block])}"
        script:
            "../scripts/cells.py"
