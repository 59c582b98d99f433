# From cells to tables: all scores in one, how alike the tasks are, what explains the gains.
#
# REQUIRED INPUTS
#   results/<study>/{cells,sources,zero_shot}/...parquet
#   results/<study>/features/<task>.safetensors
# OUTPUTS
#   results/<study>/transfer.parquet                   one row a cell
#   results/<study>/{curves,outcomes}.parquet          scores by step, predictions by image
#   results/<study>/similarity.parquet
#   results/<study>/correlations.{parquet,csv}
#   results/<study>/tables/                            about.json, gains.csv and further tables


rule gather:
    input:
        cells=CELLS,
        sources=expand(SOURCE, method=METHODS, task=TASKS, seed=SEEDS),
        zero_shot=expand(ZERO_SHOT, task=TASKS),
    output:
        transfer=f"{RESULTS}/transfer.parquet",
        curves=f"{RESULTS}/curves.parquet",
        outcomes=f"{RESULTS}/outcomes.parquet",
    log:
        f"{LOGS}/gather.log",
    benchmark:
        f"{BENCHMARKS}/gather.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("mvlpt_analysis.read.gather"),
    message:
        f"Scores of {len(CELLS):,} cells"
    script:
        "../scripts/gather.py"


rule similarity:
    input:
        features=expand(FEATURES, task=TASKS),
        prompts=expand(PROMPT, method=METHODS, task=TASKS, seed=SEEDS),
    output:
        f"{RESULTS}/similarity.parquet",
    log:
        f"{LOGS}/similarity.log",
    benchmark:
        f"{BENCHMARKS}/similarity.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        seed=STUDY["analysis"]["seed"],
        code=code_digest("mvlpt_analysis.similarity.pairs"),
    message:
        "Similarity of all pairs of tasks"
    script:
        "../scripts/similarity.py"


rule explain:
    input:
        transfer=rules.gather.output,
        similarity=rules.similarity.output[0],
        features=expand(FEATURES, task=TASKS),
        suite=SUITE_FILE,
        # Read for the order of the methods only, which is among the params.
        config=ancient(rules.config.output[0]),
    output:
        correlations=multiext(f"{RESULTS}/correlations", ".parquet", ".csv"),
        tables=multiext(f"{RESULTS}/tables/", "about.json", "gains.csv"),
    log:
        f"{LOGS}/explain.log",
    benchmark:
        f"{BENCHMARKS}/explain.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        analysis=STUDY["analysis"],
        methods=METHODS,
        code=code_digest("mvlpt_analysis.study"),
    message:
        "Gains, correlations and rankings"
    script:
        "../scripts/explain.py"
