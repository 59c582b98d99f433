# The runs: a group's prompt tuned from a start, random or another group's prompt. A job takes a pack: some
# groups one after the other, each from its starts side by side; every run is a file of its own.
#
# REQUIRED INPUTS
#   results/<study>/{backbone,prepared,features,groups,means}/
#   results/<study>/runs/<method>/shots<k>/<start>/random/seed<s>.safetensors    prompts to start from
# OUTPUTS
#   results/<study>/runs/<method>/shots<k>/<group>/<start>/seed<s>.parquet       score rows
#   results/<study>/runs/<method>/shots<k>/<group>/<start>/seed<s>.safetensors   the prompt, where kept
#   results/<study>/runs/linear_probe/shots<k>/<task>/zero_shot/seed<s>.parquet  the baseline's score rows

for number, planned in PACKS.items():
    pack = planned.pack
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
            means=mean_files(pack.pairs),
            prompts=list(
                dict.fromkeys(
                    path for pair in pack.pairs for path in prompts_behind(pair)
                )
            ),
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
        wildcard_constraints:
            shots="|".join(map(str, planned.shots)),
            seed="|".join(map(str, planned.seeds)),
        conda:
            ENVIRONMENT
        threads: STUDY.threads
        resources:
            mem_mb=grown(STUDY.mem_mb),
            runtime=grown(STUDY.runtime),
            gpu=GPU,
        params:
            # The groups and starts of a pack are not among them: how runs are packed changes no result.
            method=lambda wildcards: config["methods"][wildcards.method],
            tuning=config["tuning"],
            joint=joint_settings(pack),
            precision=STUDY.backbone.precision,
            provenance=lambda wildcards, pack=pack: tuning_provenance(
                wildcards.method, pack
            ),
        message:
            f"{len(pack.pairs)} runs, {{wildcards.method}}, {{wildcards.shots}} shots, seed"
            f" {{wildcards.seed}}: {listed(pack.groups)} from {listed(pack.starts)}"
        script:
            "../scripts/tune.py"


for block, tasks in enumerate(blocks(TASKS, STUDY.tasks_per_job), start=1):

    rule:
        name:
            f"probe_{block}"
        input:
            test=[AT.test(task)[0] for task in tasks],
            sample=[AT.sample(task, "{shots}", "{seed}")[0] for task in tasks],
            test_features=[AT.test_features(task) for task in tasks],
            sample_features=[
                AT.sample_features(task, "{shots}", "{seed}") for task in tasks
            ],
        output:
            [AT.run(PROBE, task, ZERO_SHOT, "{shots}", "{seed}") for task in tasks],
        log:
            f"{AT.logs}/probe/shots{{shots}}_seed{{seed}}_block{block}.log",
        benchmark:
            f"{AT.benchmarks}/probe/shots{{shots}}_seed{{seed}}_block{block}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=grown(STUDY.mem_mb),
            runtime=grown(STUDY.runtime),
        params:
            provenance=provenance("probe", sample=sample_settings()),
        message:
            f"Linear probes, {{wildcards.shots}} shots, seed {{wildcards.seed}}: {listed(tasks)}"
        script:
            "../scripts/probe.py"
