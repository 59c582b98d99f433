# The transferability study: which task's tuned prompt is a good start for which other task?
#
#   suite row -> prepared images -> frozen features, zero-shot score          a task
#             -> source prompt and scratch score                             a method, task, seed
#             -> transfer score: the cells                                   a method, source, target, seed
#             -> transfer.parquet -> similarities, statistics -> figures, report
#
# One configuration, one folder results/<study>/. Which: --configfile config/<study>.yaml.


# A study's file stands alone: the default must not shine through where another one is given.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config/testbed.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/cells.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    method="|".join(METHODS),
    task="|".join(TASKS),


rule all:
    default_target: True
    input:
        CELLS,  # named here, so that a lost cell is noticed though the tables are there
        rules.config.output,
        rules.report.output,
    message:
        f"Finished: {RESULTS}/report.html"


rule cells:
    input:
        CELLS,
    message:
        f"Finished: {RESULTS}/cells/"
