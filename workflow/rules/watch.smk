# What a study consists of, how far it is, that one process works on it at a time, and that an outdated report
# never looks valid.
#
# REQUIRED INPUTS
#   all rules' outputs
# OUTPUTS
#   everything(): every file of the study; lines about runs done; no files

from mvlpt_core.contract.files import remove_parts
from mvlpt_workflow.progress import Watch
from mvlpt_workflow.running import hold, stop_with_jobs, study_root


def here():
    """The study's folder as its jobs name it: below a prefix, where the workflow is a module of another."""
    logs = [str(job.log[0]) for job in workflow.dag.jobs if job.log]
    roots = [study_root(log) for log in logs if f"{AT.logs}/" in log]
    return roots[0] if roots else AT.root


WATCH = Watch()


onstart:
    try:
        hold(here())
    except InputError as error:
        sys.exit(f"error: {error}")
    remove_parts(here())
    # A report that is to be made anew is no longer true: should a job fail before, it must not stand.
    due = list(workflow.dag.needrun_jobs())
    if any(AT.report in job.output for job in due):
        Path(AT.report).unlink(missing_ok=True)
    stop_with_jobs(
        workflow.scheduler.exit_gracefully if workflow.local_exec else None
    )
    WATCH.watch(workflow.dag, set(RUNS))


onerror:
    logger.error(WATCH.failures())
