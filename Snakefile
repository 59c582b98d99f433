# The transferability study: which task's tuned prompt is a good start for which other task?
#
#   suite row -> prepared images -> frozen features, zero-shot score                   a task
#   (method, group, start, shots, seed) -> score rows and a prompt                     a run
#             -> transfer.parquet -> similarities, statistics, groups -> figures, report
#
# One configuration, one folder results/<study>/. Which: --configfile config/<study>.yaml.


# A study's file stands alone: the default must not shine through where another one is given.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config/testbed.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/tasks.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/gather.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/watch.smk"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    method="|".join(METHODS),
    task="|".join(TASKS),
    group="|".join(GROUPS) or "(?!)",
    shots="|".join(map(str, STUDY.shots)),
    seed="|".join(map(str, STUDY.seeds)),


rule all:
    default_target: True
    input:
        everything(),  # every file of the study, so that a lost one is noticed
    message:
        f"Finished: {AT.report}"


rule runs:
    input:
        RUNS,
    message:
        f"Finished: {AT.root}/runs/"
