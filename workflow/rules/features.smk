# The backbone, converted once; its features of every task, and the zero-shot score.
#
# REQUIRED INPUTS
#   the backbone (open_clip name or local folder)
#   results/<study>/prepared/<task>/
# OUTPUTS
#   results/<study>/backbone/backbone.{json,safetensors}
#   results/<study>/features/<task>/test.safetensors                 test images and class texts
#   results/<study>/features/<task>/shots<k>_seed<s>.safetensors     a few-shot sample
#   results/<study>/features/<task>/class_texts.safetensors          where the visual method has a sentence
#   results/<study>/zero_shot/<task>.parquet


rule backbone:
    input:
        backbone_files(),
    output:
        json=AT.backbone,
        weights=AT.weights,
    log:
        f"{AT.logs}/backbone.log",
    benchmark:
        f"{AT.benchmarks}/backbone.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(STUDY.mem_mb),
        runtime=grown(60),
    params:
        name=STUDY.backbone.name,
        pretrained=STUDY.backbone.pretrained or "",
        code=CODE["backbone"],
    message:
        f"Backbone {STUDY.backbone.name}"
    script:
        "../scripts/backbone.py"


for block, tasks in TASK_BLOCKS.items():

    rule:
        name:
            f"features_test_{block}"
        input:
            backbone=AT.backbone,
            weights=AT.weights,
            test=[AT.test(task) for task in tasks],
        output:
            features=[AT.test_features(task) for task in tasks],
            zero_shot=[AT.zero_shot(task) for task in tasks],
        log:
            f"{AT.logs}/features/test_block{block}.log",
        benchmark:
            f"{AT.benchmarks}/features/test_block{block}.tsv"
        conda:
            ENVIRONMENT
        threads: STUDY.threads
        resources:
            mem_mb=grown(STUDY.mem_mb),
            runtime=grown(STUDY.runtime),
            gpu=GPU,
        params:
            precision=STUDY.backbone.precision,
            provenance=provenance("features"),
        message:
            f"Features and zero-shot score of {listed(tasks)}"
        script:
            "../scripts/features_test.py"

    rule:
        name:
            f"class_texts_{block}"
        input:
            backbone=AT.backbone,
            weights=AT.weights,
            test=[AT.test(task) for task in tasks],
        output:
            [AT.class_texts(task) for task in tasks],
        log:
            f"{AT.logs}/features/class_texts_block{block}.log",
        benchmark:
            f"{AT.benchmarks}/features/class_texts_block{block}.tsv"
        conda:
            ENVIRONMENT
        threads: STUDY.threads
        resources:
            mem_mb=grown(STUDY.mem_mb),
            runtime=grown(STUDY.runtime),
            gpu=GPU,
        params:
            # A function's value is taken as it is: in a plain one, {c} would be a wildcard.
            template=lambda wildcards: getattr(STUDY.methods.visual, "class_text", ""),
            precision=STUDY.backbone.precision,
            code=CODE["features"],
        message:
            f"Class texts of {listed(tasks)}"
        script:
            "../scripts/class_texts.py"


for number, some in SAMPLED.items():

    rule:
        name:
            f"features_sample_{number}"
        input:
            backbone=AT.backbone,
            weights=AT.weights,
            sample=[AT.sample(task, "{shots}", "{seed}") for task in some.tasks],
        output:
            [AT.sample_features(task, "{shots}", "{seed}") for task in some.tasks],
        log:
            f"{AT.logs}/features/shots{{shots}}_seed{{seed}}_block{number}.log",
        benchmark:
            f"{AT.benchmarks}/features/shots{{shots}}_seed{{seed}}_block{number}.tsv"
        wildcard_constraints:
            shots="|".join(map(str, some.shots)),
            seed="|".join(map(str, some.seeds)),
        conda:
            ENVIRONMENT
        threads: STUDY.threads
        resources:
            mem_mb=grown(STUDY.mem_mb),
            runtime=grown(STUDY.runtime),
            gpu=GPU,
        params:
            precision=STUDY.backbone.precision,
            code=CODE["features"],
        message:
            f"Features of {listed(some.tasks)}: {{wildcards.shots}} shots, seed {{wildcards.seed}}"
        script:
            "../scripts/features_sample.py"
