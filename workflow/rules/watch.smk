# What a study consists of, how far it is, that one process works on it at a time, that its files are what its
# jobs wrote, and that an outdated report never looks valid.
#
# REQUIRED INPUTS
#   all rules' outputs, results/<study>/provenance/
# OUTPUTS
#   everything(): every file of the study; lines about runs done; results/<study>/set_aside/

from mvlpt_core.contract.files import remove_parts
from mvlpt_core.tasks.prepare import is_sample_of, is_test_of
from mvlpt_workflow.progress import Watch
from mvlpt_workflow.repeats import spare_repeats
from mvlpt_workflow.running import hold, stop_with_jobs, study_root, tells
from mvlpt_workflow.written import find_altered, set_aside


def here():
    """The study's folder as its jobs name it: below a prefix, where the workflow is a module of another."""
    logs = [str(job.log[0]) for job in workflow.dag.jobs if job.log]
    roots = [study_root(log) for log in logs if f"{AT.logs}/" in log]
    return roots[0] if roots else AT.root


WATCH = Watch()


def held(root):
    """Hold the study; where another process works on it, the run ends with its sentence."""
    try:
        hold(root)
    except InputError as error:
        sys.exit(f"error: {error}")


def known_texts(root):
    """The files whose content the plan spells out."""
    at = Layout(root)
    texts = {at.group(group): group_text(group) for group in GROUPS}
    means = [pair for pair in PLANNED.all_pairs if pair[1] in STUDY.means]
    return texts | {
        at.mean(start, group): mean_text(start, group) for group, start in means
    }


def images_behind(root):
    """Of each prepared file: the state of the images now, and whether it still is made from them."""
    at, found = Layout(root), {}
    for task, row in SUITE.items():
        state = data_of(task).touched
        path, images = at.test(task)
        same = cache(partial(is_test_of, path, row, STUDY.data_root, STUDY.max_test))
        found |= {path: (state, same), images: (state, same)}
    drawn = {"val_share": STUDY.val_share, "short_classes": STUDY.short_classes}
    for task, shots, seed in SAMPLES:
        state = data_of(task).touched
        path, images = at.sample(task, shots, seed)
        same = cache(partial(is_sample_of, path, SUITE[task], STUDY.data_root, **drawn))
        found |= {path: (state, same), images: (state, same)}
    return found


# Whether Snakemake is to tell of the study and not to do anything to it.
TELLING = workflow.output_settings.dryrun or tells(sys.argv)


def swept(root):
    """Whether all files of the study in `root` are what its jobs wrote; what is not is set aside, or only
    told."""
    files = [root + path.removeprefix(AT.root) for path in everything()]
    try:
        altered = find_altered(
            root, files, known_texts(root), images_behind(root), remember=not TELLING
        )
    except InputError as error:  # images that cannot be read any more
        sys.exit(f"error: {error}")
    done = "a run sets aside and makes anew" if TELLING else "set aside, made anew"
    for sentence in altered.sentences(done):
        logger.warning(sentence)
    if not TELLING:
        set_aside(altered)
    return not altered.all()


# Before Snakemake looks at what is there: what is set aside, it misses.
if workflow.is_main_process and os.path.isdir(AT.root):
    if not TELLING:
        held(AT.root)
    swept(AT.root)


onstart:
    root = here()
    held(root)
    if root != AT.root and not swept(root):
        sys.exit(
            "error: files were set aside: start the same command again, which makes them anew"
        )
    remove_parts(root)
    # A report that is to be made anew is no longer true: should a job fail before, it must not stand.
    due = list(workflow.dag.needrun_jobs())
    if any(AT.report in job.output for job in due):
        Path(AT.report).unlink(missing_ok=True)
    stop_with_jobs(
        workflow.scheduler.exit_gracefully if workflow.local_exec else None
    )
    spare_repeats(workflow)
    WATCH.watch(workflow.dag, set(RUNS + REPLICATES))


onerror:
    logger.error(WATCH.failures())
