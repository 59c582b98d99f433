# Figures and the study's own report. `make report` makes Snakemake's from the same figures.
#
# REQUIRED INPUTS
#   results/<study>/curves.parquet, everything below results/<study>/shots<k>/
#   results/<study>/prepared/<task>/...safetensors, for sizes and chance levels
#   results/<study>/plan.json, where a plan was registered before the first run
# OUTPUTS
#   results/<study>/shots<k>/figures/<name>.{png,svg,pdf}, captions.csv
#   results/<study>/report.html


rule figures:
    input:
        **analysed("{shots}"),
        curves=AT.gathered("curves"),
    output:
        png=[png(name) for name in FIGURES],
        svg=[AT.figure("{shots}", name, "svg") for name in FIGURES],
        pdf=[AT.figure("{shots}", name, "pdf") for name in FIGURES],
        captions=AT.captions("{shots}"),
    log:
        f"{AT.logs}/figures/shots{{shots}}.log",
    benchmark:
        f"{AT.benchmarks}/figures/shots{{shots}}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        tasks=TASKS,
        sources=SOURCES,
        methods=list(METHODS),
        factors=factor_columns(),
        estimates=ESTIMATES,
        code=CODE["figures"],
    message:
        "Figures, {wildcards.shots} shots"
    script:
        "../scripts/figures.py"


rule report:
    input:
        tables=[path for shots in ANALYSED for path in analysed(shots).values()],
        curves=AT.gathered("curves"),
        transfer=AT.gathered("transfer"),
        replicates=AT.gathered("replicates"),
        captions=[AT.captions(shots) for shots in ANALYSED],
        figures=[
            AT.figure(shots, name, suffix)
            for shots in ANALYSED
            for name in FIGURES
            for suffix in ("png", "svg")
        ],
        test=[AT.test(task)[0] for task in TASKS],
        sample=[
            AT.sample(task, shots, seed)[0]
            for task in TASKS
            for shots in ANALYSED
            for seed in STUDY.seeds
        ],
        leakage=AT.leakage,
        benchmarks=[AT.benchmark(f"{name}.json") for name in TABLES],
        shown=[
            AT.benchmark(f"{figure}.{suffix}")
            for name in TABLES
            for figure in catalogue.BENCHMARKS[name].figures
            for suffix in ("png", "svg")
        ],
        plan=REGISTERED,
    output:
        AT.report,
    log:
        f"{AT.logs}/report.log",
    benchmark:
        f"{AT.benchmarks}/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        tasks=TASKS,
        sources=SOURCES,
        methods=list(METHODS),
        factors=factor_columns(),
        estimates=ESTIMATES,
        shots=ANALYSED,
        protocol=protocol(),
        notes=data_notes(),
        prompts=prompts_kept(),
        # In one mapping, and with whether a plan is there: one that was taken away changes the report.
        plan={
            "configuration": study_digest(CHECKED),
            "registered": len(REGISTERED),
        },
        code=CODE["report"],
    message:
        f"Report: {AT.report}"
    script:
        "../scripts/report.py"
