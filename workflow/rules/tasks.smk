# The configuration, the groups, and the tasks' images: few-shot samples and test split, cached once.
#
# REQUIRED INPUTS
#   the suite's tasks (drawn, or files below data_root)
#   results/<study>/backbone/backbone.json            the size of its images
# OUTPUTS
#   results/<study>/config.yaml                       the resolved configuration
#   results/<study>/groups/<group>.txt                members of a group
#   results/<study>/means/<start>/<group>.txt         what a start is the mean of
#   results/<study>/prepared/<task>/test.{safetensors,npy}
#   results/<study>/prepared/<task>/shots<k>_seed<s>.{safetensors,npy}


localrules:
    config,
    group,
    mean,


rule config:
    output:
        AT.config,
    log:
        f"{AT.logs}/config.log",
    benchmark:
        f"{AT.benchmarks}/config.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(500),
        runtime=grown(10),
    params:
        study=STUDY.resolved(),
    message:
        "The resolved configuration"
    script:
        "../scripts/config.py"


rule group:
    output:
        AT.group("{group}"),
    log:
        f"{AT.logs}/group/{{group}}.log",
    benchmark:
        f"{AT.benchmarks}/group/{{group}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(500),
        runtime=grown(10),
    params:
        text=lambda wildcards: group_text(wildcards.group),
    message:
        "Members of group {wildcards.group}"
    shell:
        "printf %s {params.text:q} > {output} 2> {log}"


rule mean:
    output:
        AT.mean("{start}", "{group}"),
    log:
        f"{AT.logs}/mean/{{start}}/{{group}}.log",
    benchmark:
        f"{AT.benchmarks}/mean/{{start}}/{{group}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(500),
        runtime=grown(10),
    params:
        text=lambda wildcards: mean_text(wildcards.start, wildcards.group),
    message:
        "What {wildcards.start} is the mean of for {wildcards.group}"
    shell:
        "printf %s {params.text:q} > {output} 2> {log}"


rule prepare_test:
    input:
        backbone=AT.backbone,
    output:
        AT.test("{task}"),
    log:
        f"{AT.logs}/prepare/{{task}}/test.log",
    benchmark:
        f"{AT.benchmarks}/prepare/{{task}}/test.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(STUDY.mem_mb),
        runtime=grown(60),
    params:
        row=lambda wildcards: task_row(wildcards.task),
        files=lambda wildcards: data_of(wildcards.task).held,
        max_test=STUDY.max_test,
        code=CODE["prepare"],
    message:
        "Test images of task {wildcards.task}"
    script:
        "../scripts/prepare_test.py"


rule prepare_sample:
    input:
        backbone=AT.backbone,
    output:
        AT.sample("{task}", "{shots}", "{seed}"),
    log:
        f"{AT.logs}/prepare/{{task}}/shots{{shots}}_seed{{seed}}.log",
    benchmark:
        f"{AT.benchmarks}/prepare/{{task}}/shots{{shots}}_seed{{seed}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(STUDY.mem_mb),
        runtime=grown(60),
    params:
        row=lambda wildcards: task_row(wildcards.task, images_alone=True),
        files=lambda wildcards: data_of(wildcards.task).held,
        sample={
            "val_share": STUDY.val_share,
            "short_classes": STUDY.short_classes,
            "views": STUDY.tuning.stored_views,
        },
        code=CODE["prepare"],
    message:
        "Images of task {wildcards.task}: {wildcards.shots} shots, seed {wildcards.seed}"
    script:
        "../scripts/prepare_sample.py"
