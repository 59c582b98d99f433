# The runs: a group's prompt tuned from a start, random or another group's prompt. A job takes a pack: some
# groups one after the other, each from its starts side by side; every run is a file of its own.
#
# REQUIRED INPUTS
#   results/<study>/{backbone,prepared,features,groups}/
#   results/<study>/runs/<method>/shots<k>/<start>/random/seed<s>.safetensors    prompts to start from
# OUTPUTS
#   results/<study>/runs/<method>/shots<k>/<group>/<start>/seed<s>.parquet       score rows
#   results/<study>/runs/<method>/shots<k>/<group>/<start>/seed<s>.safetensors   the prompt, where kept

for number, pack in PACKS.items():
    tasks = all_members(pack)

    rule:
        name:
            f"tune_{number}"
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
            groups=[AT.group(group) for group in pack.groups if group in GROUPS],
            prompts=[
                AT.prompt("{method}", start, RANDOM, "{shots}", "{seed}")
                for start in pack.starts
                if start != RANDOM
            ],
        output:
            scores=[
                AT.run("{method}", group, start, "{shots}", "{seed}")
                for group, start in pack.pairs
            ],
            prompts=[
                AT.prompt("{method}", group, start, "{shots}", "{seed}")
                for group, start in pack.pairs
                if keeps_prompt(start)
            ],
        log:
            f"{AT.logs}/tune/{{method}}/shots{{shots}}/pack{number}_seed{{seed}}.log",
        benchmark:
            f"{AT.benchmarks}/tune/{{method}}/shots{{shots}}/pack{number}_seed{{seed}}.tsv"
        conda:
            ENVIRONMENT
        threads: STUDY.threads
        resources:
            mem_mb=STUDY.mem_mb,
            runtime=STUDY.runtime,
            gpu=1,
        params:
            # The groups and starts of a pack are not among them: how runs are packed changes no result.
            method=lambda wildcards: config["methods"][wildcards.method],
            tuning=config["tuning"],
            joint=(config["joint"] if set(pack.groups) & set(GROUPS) else {}),
            precision=STUDY.backbone.precision,
            provenance=tuning_provenance,
        message:
            f"{len(pack.pairs)} runs, {{wildcards.method}}, {{wildcards.shots}} shots, seed"
            f" {{wildcards.seed}}: {listed(pack.groups)} from {listed(pack.starts)}"
        script:
            "../scripts/tune.py"
