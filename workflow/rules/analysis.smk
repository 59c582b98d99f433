# From scores to tables: how alike the tasks are, what explains the gains, which tasks to join. One folder a
# value of shots.
#
# REQUIRED INPUTS
#   results/<study>/{transfer,outcomes,truth}.parquet
#   results/<study>/features/<task>/, prompts below results/<study>/runs/
# OUTPUTS
#   results/<study>/shots<k>/similarity.parquet
#   results/<study>/shots<k>/correlations.{parquet,csv}
#   results/<study>/shots<k>/tables/<name>.csv


rule similarity:
    input:
        test_features=[AT.test_features(task) for task in TASKS],
        sample_features=[
            AT.sample_features(task, "{shots}", seed)
            for task in TASKS
            for seed in STUDY.seeds
        ],
        prompts=lambda wildcards: [
            AT.prompt(method, task, RANDOM, wildcards.shots, seed)
            for method in METHODS
            for task in TASKS
            if (task, RANDOM) in PLANNED.pairs[int(wildcards.shots)]
            for seed in STUDY.seeds
        ],
    output:
        AT.similarity("{shots}"),
    log:
        f"{AT.logs}/similarity/shots{{shots}}.log",
    benchmark:
        f"{AT.benchmarks}/similarity/shots{{shots}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        tasks=TASKS,
        methods=list(METHODS),
        seeds=STUDY.seeds,
        seed=STUDY.analysis.seed,
        code=CODE["similarity"],
    message:
        "Similarity of all pairs of tasks, {wildcards.shots} shots"
    script:
        "../scripts/similarity.py"


rule statistics:
    input:
        transfer=AT.gathered("transfer"),
        outcomes=AT.gathered("outcomes"),
        truth=AT.gathered("truth"),
        similarity=AT.similarity("{shots}"),
    output:
        **{name: table_path(name, "{shots}") for name in catalogue.STATISTICS},
        correlations_csv=AT.correlations("{shots}", "csv"),
    log:
        f"{AT.logs}/statistics/shots{{shots}}.log",
    benchmark:
        f"{AT.benchmarks}/statistics/shots{{shots}}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(4000),
        runtime=grown(120),
    params:
        tasks=TASKS,
        methods=list(METHODS),
        factors=factor_columns(),
        # In one mapping: Snakemake compares values without their names.
        draws={
            key: config["analysis"][key]
            for key in ("permutations", "bootstrap", "seed", "margin", "margin_rho")
        },
        code=CODE["statistics"],
    message:
        "Gains, correlations and rankings, {wildcards.shots} shots"
    script:
        "../scripts/statistics.py"


rule groups:
    input:
        transfer=AT.gathered("transfer"),
        gains=AT.table("{shots}", "gains"),
    output:
        AT.table("{shots}", "groups"),
    log:
        f"{AT.logs}/groups/shots{{shots}}.log",
    benchmark:
        f"{AT.benchmarks}/groups/shots{{shots}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        tasks=TASKS,
        methods=list(METHODS),
        draws={
            "seed": STUDY.analysis.seed,
            "limit": STUDY.analysis.group_limit,
            "objective": STUDY.analysis.group_objective,
        },
        code=CODE["statistics"],
    message:
        "Groups of tasks for joint tuning, {wildcards.shots} shots"
    script:
        "../scripts/groups.py"
