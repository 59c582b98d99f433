# The backbone, converted once, and the tasks' few-shot images, cached once.
#
# REQUIRED INPUTS
#   the suite's tasks (drawn, or files below data_root); the backbone (open_clip name or local folder)
# OUTPUTS
#   results/<study>/config.yaml                       the resolved configuration
#   results/<study>/backbone/backbone.{json,safetensors}
#   results/<study>/prepared/<task>.safetensors       train, validation and test images, uint8


rule config:
    output:
        f"{RESULTS}/config.yaml",
    log:
        f"{LOGS}/config.log",
    benchmark:
        f"{BENCHMARKS}/config.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        study=STUDY,
    message:
        "The resolved configuration"
    script:
        "../scripts/config.py"


rule backbone:
    input:
        backbone_files(),
    output:
        json=BACKBONE,
        weights=WEIGHTS,
    log:
        f"{LOGS}/backbone.log",
    benchmark:
        f"{BENCHMARKS}/backbone.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=STUDY["mem_mb"],
        runtime=60,
    params:
        name=backbone_name(),
        pretrained=STUDY["backbone"]["pretrained"] or "",
        code=code_digest("mvlpt_core.backbone.convert"),
    message:
        f"Backbone {STUDY['backbone']['name']}"
    script:
        "../scripts/backbone.py"


rule prepare:
    input:
        backbone=BACKBONE,
    output:
        PREPARED,
    log:
        f"{LOGS}/prepare/{{task}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare/{{task}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=STUDY["mem_mb"],
        runtime=60,
    params:
        row=lambda wildcards: SUITE[wildcards.task],
        data=lambda wildcards: data_state(STUDY, SUITE[wildcards.task]),
        shots=STUDY["shots"],
        short_classes=STUDY["short_classes"],
        seeds=SEEDS,
        val_share=STUDY["val_share"],
        max_test=STUDY["max_test"],
        code=code_digest("mvlpt_core.tasks.prepare", "mvlpt_core.tasks"),
    message:
        "Images of task {wildcards.task}"
    script:
        "../scripts/prepare.py"
