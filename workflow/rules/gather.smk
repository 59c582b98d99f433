# All runs in tidy tables.
#
# REQUIRED INPUTS
#   results/<study>/runs/...parquet               prompts' and probes'
#   results/<study>/zero_shot/<task>.parquet
# OUTPUTS
#   results/<study>/scores.parquet        one row a run and task scored
#   results/<study>/transfer.parquet      the runs of a task from another task's prompt, with their baselines
#   results/<study>/replicates.parquet    those of them that were repeated with a second seed
#   results/<study>/curves.parquet        their scores by step
#   results/<study>/outcomes.parquet      their predictions by test image
#   results/<study>/truth.parquet         test labels
#   results/<study>/leakage.csv           images that samples and test splits have in common


rule gather:
    input:
        runs=RUNS + PROBES,
        replicates=REPLICATES,
        zero_shot=[AT.zero_shot(task) for task in SUITE],
    output:
        **{name: AT.gathered(name) for name in GATHERED},
    log:
        f"{AT.logs}/gather.log",
    benchmark:
        f"{AT.benchmarks}/gather.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        runs=RUN_LIST,
        code=CODE["gather"],
    message:
        f"Scores of {len(RUNS + REPLICATES):,} runs"
    script:
        "../scripts/gather.py"


rule leakage:
    input:
        test=[AT.test(task)[0] for task in TASKS],
        sample=[AT.sample(*sample)[0] for sample in SAMPLES],
    output:
        AT.leakage,
    log:
        f"{AT.logs}/leakage.log",
    benchmark:
        f"{AT.benchmarks}/leakage.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        code=CODE["leakage"],
    message:
        "Images that samples and test splits have in common"
    script:
        "../scripts/leakage.py"
