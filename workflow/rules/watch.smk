# What a study consists of, how far it is, and that an outdated report never looks valid.
#
# REQUIRED INPUTS
#   all rules' outputs
# OUTPUTS
#   everything(): every file of the study; lines about runs done; no files

from mvlpt_core.contract.files import remove_parts
from mvlpt_workflow.progress import RunsDone


onstart:
    remove_parts(AT.root)
    # A report that is to be made anew is no longer true: should a job fail before, it must not stand.
    due = list(workflow.dag.needrun_jobs())
    if any(AT.report in job.output for job in due):
        Path(AT.report).unlink(missing_ok=True)
    RunsDone(workflow.dag, set(RUNS)).watch()
