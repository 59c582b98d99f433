# Figures and the study's own report. `make report` makes Snakemake's from the same figures.
#
# REQUIRED INPUTS
#   results/<study>/{transfer,curves,similarity,correlations}.parquet, tables/, the suite
# OUTPUTS
#   results/<study>/figures/<name>.{png,svg}    those named here, and what the data allow beyond
#   results/<study>/report.html


rule figures:
    input:
        explained=rules.explain.output,
        similarity=rules.similarity.output[0],
        curves=rules.gather.output.curves,
        suite=SUITE_FILE,
    output:
        gains=report(
            expand(FIGURE, kind="gains", shown=METHODS, suffix="png"),
            caption="../report/gains.rst",
            category="Gains",
        ),
        scatter=report(
            expand(FIGURE, kind="scatter", shown=MEASURES, suffix="png"),
            caption="../report/scatter.rst",
            category="Gain and similarity",
        ),
        similarity=report(
            expand(FIGURE, kind="similarity", shown=MEASURES, suffix="png"),
            caption="../report/similarity.rst",
            category="Similarity",
        ),
        vector=[
            *expand(FIGURE, kind="gains", shown=METHODS, suffix="svg"),
            *expand(FIGURE, kind="scatter", shown=MEASURES, suffix="svg"),
            *expand(FIGURE, kind="similarity", shown=MEASURES, suffix="svg"),
        ],
        captions=f"{RESULTS}/figures/captions.csv",
    log:
        f"{LOGS}/figures.log",
    benchmark:
        f"{BENCHMARKS}/figures.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("mvlpt_analysis.figures.gallery"),
    message:
        "Figures"
    script:
        "../scripts/figures.py"


rule report:
    input:
        config=rules.config.output,
        explained=rules.explain.output,
        figures=rules.figures.output,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("mvlpt_analysis.report.page"),
    message:
        f"Report: {RESULTS}/report.html"
    script:
        "../scripts/report.py"
