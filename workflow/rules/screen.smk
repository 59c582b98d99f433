# What every source's prompt promises for each task, before any run from it: loss and gradient of the task's
# few-shot sample, all sources side by side.
#
# REQUIRED INPUTS
#   results/<study>/{backbone,prepared,features}/
#   results/<study>/runs/<method>/shots<k>/<source>/random/seed<s>.safetensors
# OUTPUTS
#   results/<study>/screen/<method>/shots<k>/<target>/seed<s>.parquet    a row a source

for block, tasks in enumerate(blocks(TASKS, STUDY.tasks_per_job), start=1):

    rule:
        name:
            f"screen_{block}"
        input:
            backbone=AT.backbone,
            weights=AT.weights,
            test=[AT.test(task) for task in tasks],
            sample=[AT.sample(task, "{shots}", "{seed}") for task in tasks],
            test_features=[AT.test_features(task) for task in tasks],
            sample_features=[
                AT.sample_features(task, "{shots}", "{seed}") for task in tasks
            ],
            class_texts=lambda wildcards, tasks=tasks: [
                AT.class_texts(task)
                for task in tasks
                if has_class_texts(wildcards.method)
            ],
            prompts=lambda wildcards: [
                AT.prompt(
                    wildcards.method, task, RANDOM, wildcards.shots, wildcards.seed
                )
                for task in screened(CHECKED, int(wildcards.shots))
            ],
        output:
            [AT.screen("{method}", task, "{shots}", "{seed}") for task in tasks],
        log:
            f"{AT.logs}/screen/{{method}}/shots{{shots}}_seed{{seed}}_block{block}.log",
        benchmark:
            f"{AT.benchmarks}/screen/{{method}}/shots{{shots}}_seed{{seed}}_block{block}.tsv"
        conda:
            ENVIRONMENT
        threads: STUDY.threads
        resources:
            mem_mb=grown(STUDY.mem_mb),
            runtime=grown(STUDY.runtime),
            gpu=GPU,
        params:
            method=lambda wildcards: config["methods"][wildcards.method],
            sources=lambda wildcards: prompts_screened(wildcards.shots),
            tuning=config["tuning"],
            precision=STUDY.backbone.precision,
            provenance=lambda wildcards: provenance(
                "screen",
                tuning=config["tuning"],
                method={wildcards.method: config["methods"][wildcards.method]},
                sample=sample_settings(),
            ),
        message:
            f"Screening, {{wildcards.method}}, {{wildcards.shots}} shots, seed {{wildcards.seed}}:"
            f" all sources for {listed(tasks)}"
        script:
            "../scripts/screen.py"
