# The benchmarks: few shots, starts from several tasks, tasks tuned together, joint pairs; those that the study
# has runs for.
#
# REQUIRED INPUTS
#   results/<study>/runs/...parquet of the benchmark's own runs
#   results/<study>/zero_shot/<task>.parquet
# OUTPUTS
#   results/<study>/tables/<benchmark>[_...].{parquet,csv,md,tex,json,png,svg}

for name, of in TABLES.items():
    runs = runs_of(of.pairs) + PROBES

    rule:
        name:
            name
        input:
            runs=runs,
            zero_shot=[AT.zero_shot(task) for task in SUITE],
        output:
            benchmark_files(name),
        log:
            f"{AT.logs}/{name}.log",
        benchmark:
            f"{AT.benchmarks}/{name}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=grown(4000),
            runtime=grown(60),
        params:
            settings={"tasks": TASKS, **of.settings},
            runs=config_digest({"runs": sorted(runs)}),
            code=CODE["benchmark"],
        message:
            f"Benchmark: {catalogue.BENCHMARKS[name].about}"
        script:
            "../scripts/benchmark.py"
