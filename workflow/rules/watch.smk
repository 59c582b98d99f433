# What a study consists of, how far it is, and that an outdated report never looks valid.
#
# REQUIRED INPUTS
#   all rules' outputs
# OUTPUTS
#   everything(): every file of the study; lines about runs done; no files

from mvlpt_workflow.progress import RunsDone


def everything():
    """Every file of the study that a reader or a later job may open."""
    files = [AT.config, AT.backbone, AT.weights, AT.report, *RUNS]
    files += [AT.group(group) for group in GROUPS]
    files += [AT.gathered(name) for name in GATHERED]
    for task in TASKS:
        files += [*AT.test(task), AT.test_features(task), AT.zero_shot(task)]
        files += [AT.class_texts(task)] * any(map(has_class_texts, METHODS))
    for shots in STUDY.shots:
        files += [*analysed(shots).values(), AT.correlations(shots, "csv")]
        files += [*AT.all_figures(shots, FIGURES), AT.captions(shots)]
        for seed in STUDY.seeds:
            for task in TASKS:
                files += AT.sample(task, shots, seed)
                files.append(AT.sample_features(task, shots, seed))
            files += [
                AT.prompt(method, group, start, shots, seed)
                for method in METHODS
                for group, start in PAIRS
                if keeps_prompt(start)
            ]
    return files


onstart:
    # A report that is to be made anew is no longer true: should a job fail before, it must not stand.
    due = list(workflow.dag.needrun_jobs())
    if any(AT.report in job.output for job in due):
        Path(AT.report).unlink(missing_ok=True)
    RunsDone(workflow.dag, set(RUNS)).watch()
