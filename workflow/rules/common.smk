# What the rules share: the checked configuration, its tasks and runs, where things are, what results
# depend on.
#
# REQUIRED INPUTS
#   the study's configuration (--configfile), the suite and the groups file that it names
# OUTPUTS
#   STUDY, its axes and packs; AT (paths); digests for params; no files

import os
import sys
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

from snakemake.logging import logger

# A tuning step asks for the same large blocks again and again. glibc would give each back to the system
# and clear new pages for the next: a tenth of a visual step's time.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 32))
os.environ.setdefault("MALLOC_TOP_PAD_", str(1 << 26))

from mvlpt_analysis import catalogue
from mvlpt_core.backbone.named import located_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.layout import GATHERED, PROBE, RANDOM, ZERO_SHOT, Layout
from mvlpt_core.contract.provenance import code_digest, config_digest
from mvlpt_core.contract.registered import MACHINE
from mvlpt_core.contract.runs import blocks
from mvlpt_core.contract.suite import EXPECTED
from mvlpt_core.tasks.check import data_state
from mvlpt_workflow import ENVIRONMENT
from mvlpt_workflow.benchmarks import benchmarks
from mvlpt_workflow.configuration import check_study, counted, study_digest
from mvlpt_workflow.jobs import analysed as shots_analysed
from mvlpt_workflow.jobs import packed, sampled, screened, used_tasks
from mvlpt_workflow.running import join


def checked():
    """The study, checked; a mistake ends the run with its one sentence."""
    name = ", ".join(map(os.path.relpath, workflow.configfiles)) or "configuration"
    try:
        # What the main process has found good, its jobs need not open again.
        if workflow.is_main_process:
            for path in workflow.configfiles:
                # Of a key that is given twice, Snakemake takes the last without a word.
                read_yaml(path)
        return check_study(config, name, open_tasks=workflow.is_main_process)
    except InputError as error:
        sys.exit(f"error: {error}")


CHECKED = checked()
STUDY, PLANNED = CHECKED.study, CHECKED.runs
GROUPS = PLANNED.groups
# The resolved configuration is what scripts read and what every job is given.
config.clear()
config.update(STUDY.resolved())

TASKS = list(CHECKED.suite)  # the tasks studied
# With those of the second suite that runs are tuned on.
EVERY_ROW = CHECKED.suite | CHECKED.sources
SUITE = {task: EVERY_ROW[task] for task in used_tasks(CHECKED)}
SOURCES = [task for task in SUITE if task not in CHECKED.suite]
METHODS = STUDY.methods.by_name()
FACTORS = list(
    dict.fromkeys(factor for row in CHECKED.suite.values() for factor in row.factors)
)
TASK_BLOCKS = dict(enumerate(blocks(list(SUITE), STUDY.tasks_per_job), start=1))

# What a job that computes asks a cluster for.
GPU = 0 if STUDY.device == "cpu" else 1

AT = Layout(f"results/{STUDY.study}")

# A job on a cluster is a Snakemake of its own, which removes what a job will write: it must be of the run that
# works on the study now.
if workflow.remote_exec:
    try:
        join(AT.root)
    except InputError as error:
        sys.exit(f"error: {error}")

RUNS = [
    AT.run(method, group, start, shots, seed)
    for method in METHODS
    for shots, pairs in PLANNED.pairs.items()
    for group, start in pairs
    for seed in STUDY.seeds
]
# Some of them again, with a second seed.
REPLICATES = [
    AT.run(method, group, start, shots, STUDY.second_seed)
    for method in METHODS
    for shots, pairs in PLANNED.replicates.items()
    for group, start in pairs
]
# Few-shot samples by the jobs that make their features, and every one: task, shots, seed.
SAMPLED = dict(enumerate(sampled(CHECKED), start=1))
SAMPLES = [
    (task, shots, seed)
    for some in SAMPLED.values()
    for shots in some.shots
    for seed in some.seeds
    for task in some.tasks
]
PROBES = [
    AT.run(PROBE, task, ZERO_SHOT, shots, seed)
    for task in TASKS * STUDY.linear_probe
    for shots in STUDY.shots
    for seed in STUDY.seeds
]
# Digest of the list of runs: what was gathered from other runs is gathered anew.
RUN_LIST = config_digest({"runs": sorted(RUNS + PROBES + REPLICATES)})
PACKS = dict(enumerate(packed(CHECKED), start=1))
# The values of shots that the analysis is about.
ANALYSED = shots_analysed(CHECKED)
# What was registered before the first run, if anything was.
REGISTERED = [AT.plan] if os.path.exists(AT.plan) else []


def grown(amount):
    """Memory or time of a job, as much again at every retry; how many retries, the profile says."""
    return lambda wildcards, attempt: amount * attempt


def all_members(pack):
    """Every task that a pack's groups hold, each once."""
    return list(
        dict.fromkeys(task for group in pack.groups for task in PLANNED.members(group))
    )


def prompts_behind(pair):
    """The prompts that a run starts from; of several the mean is taken."""
    if pair not in PLANNED.origins:
        return []
    origin = PLANNED.origins[pair]
    return [
        AT.prompt("{method}", source, RANDOM, "{shots}", seed)
        for source in origin.groups
        for seed in origin.seeds or ["{seed}"]
    ]


def group_text(group):
    """What is written of a group: its members, a task a line."""
    return "".join(f"{task}\n" for task in GROUPS[group])


def mean_text(start, group):
    """What is written of a start that is a mean: a source and its seeds a line."""
    origin = PLANNED.origins[group, start]
    seeds = ",".join(map(str, origin.seeds)) or "own"
    return "".join(f"{source} {seeds}\n" for source in origin.groups)


def mean_files(pairs):
    """What says of which prompts the starts of some runs are means."""
    return [AT.mean(start, group) for group, start in pairs if start in STUDY.means]


def has_class_texts(method):
    """Whether a method's classes are read in a sentence of its own."""
    return getattr(METHODS[method], "class_text", "templates") != "templates"


def keeps_prompt(start):
    """Whether runs from `start` leave their prompt: others start from those of random runs."""
    return start == RANDOM or STUDY.keep_prompts == "all"


def prompts_kept():
    """For the report's links: which sources have a prompt, and whether every pair's is kept."""
    started = {
        group
        for pairs in PLANNED.pairs.values()
        for group, start in pairs
        if start == RANDOM
    }
    return {"sources": sorted(started), "pairs_too": STUDY.keep_prompts == "all"}


def factor_columns():
    """The suite's grouping columns: {factor: its value for each task}."""
    return {
        factor: [row.factors.get(factor, "") for row in CHECKED.suite.values()]
        for factor in FACTORS
    }


PLANNED_AT = {shots: set(pairs) for shots, pairs in PLANNED.pairs.items()}


def runs_of(pairs):
    """The score rows of (group, start) pairs, of those that are planned at each value of shots."""
    return [
        AT.run(method, *pair, k, seed)
        for k, planned in PLANNED_AT.items()
        for pair in dict.fromkeys(pairs)
        if pair in planned
        for method in METHODS
        for seed in STUDY.seeds
    ]


TABLES = benchmarks(CHECKED)


def benchmark_files(name):
    """Every file of one of the benchmarks."""
    return [AT.benchmark(file) for file in catalogue.BENCHMARKS[name].names]


def table_path(name, shots):
    """A table of the analysis; correlations stand a level higher, as parquet too."""
    return AT.correlations(shots) if name == "correlations" else AT.table(shots, name)


def protocol():
    """What the report tells of the configuration: all that results depend on."""
    hidden = (*MACHINE, "analysis")
    return {key: value for key, value in config.items() if key not in hidden}


def data_notes():
    """What the suites say of tasks whose data differ from the paper's, by task."""
    return {task: row.note for task, row in SUITE.items() if row.note}


@cache
def data_of(task):
    """The state of a task's files; looked at once, however many jobs ask."""
    row = SUITE[task]
    return data_state(task, row.kind, row.location, STUDY.data_root)


def task_row(task, images_alone=False):
    """A suite row as far as a prepared file depends on it, in types that Snakemake compares."""
    row = asdict(SUITE[task])
    for column in ("factors", *EXPECTED):  # no image depends on them
        del row[column]
    if images_alone:
        del row["templates"], row["names"], row["metric"]
    return row


# Where a designed part of the grid is measured, figures show the rest as estimated.
ESTIMATES = bool(PLANNED.parts)
FIGURES = catalogue.figures(
    list(METHODS), has_factors=bool(FACTORS), has_estimates=ESTIMATES
)
# Kinds of figures that Snakemake's own report explains and shows.
EXPLAINED = {
    "gains": "Gains",
    "scatter": "Gain and similarity",
    "similarity": "Similarity",
}


def prompts_screened(shots):
    """Whose prompts are screened, named: what changes with them is made anew."""
    return {"screened": screened(CHECKED, int(shots))}


def screens(shots):
    """What every source's prompt promises for each task, where the study asks for it."""
    return [
        AT.screen(method, task, shots, seed)
        for method in METHODS
        for task in TASKS * bool(screened(CHECKED, int(shots)))
        for seed in STUDY.seeds
    ]


def analysed(shots):
    """The tables of one value of shots, by name."""
    tables = {name: table_path(name, shots) for name in catalogue.STUDY_TABLES}
    return tables | {"similarity": AT.similarity(shots)}


def png(name):
    """A figure's PNG, marked for Snakemake's own report where its kind is explained."""
    path, kind = AT.figure("{shots}", name, "png"), name.partition("_")[0]
    if kind not in EXPLAINED:
        return path
    return report(path, caption=f"../report/{kind}.rst", category=EXPLAINED[kind])


def everything():
    """Every file of the study that a reader or a later job may open."""
    files = [AT.config, AT.backbone, AT.weights, AT.leakage, AT.report, *RUNS, *PROBES]
    files += REPLICATES
    files += [AT.group(group) for group in GROUPS]
    files += [AT.gathered(name) for name in GATHERED]
    files += mean_files(PLANNED.all_pairs)
    files += [path for name in TABLES for path in benchmark_files(name)]
    for task in SUITE:
        files += [*AT.test(task), AT.test_features(task), AT.zero_shot(task)]
        files += [AT.class_texts(task)] * any(map(has_class_texts, METHODS))
    for shots in ANALYSED:
        files += [*screens(shots), *analysed(shots).values()]
        files.append(AT.correlations(shots, "csv"))
        files += [*AT.all_figures(shots, FIGURES), AT.captions(shots)]
    for sample in SAMPLES:
        files += [*AT.sample(*sample), AT.sample_features(*sample)]
    files += [
        AT.prompt(method, group, start, shots, seed)
        for planned in PACKS.values()
        for shots in planned.shots
        for seed in planned.seeds
        for method in METHODS
        for group, start in planned.pack.pairs
        if keeps_prompt(start)
    ]
    return files


# Digests of the code behind results; taken once, for each reads many files.
CODE = {
    name: code_digest(*modules)
    for name, modules in {
        "backbone": ["mvlpt_core.backbone.convert"],
        "prepare": ["mvlpt_core.tasks.prepare"],
        "features": ["mvlpt_core.features"],
        "tune": ["mvlpt_core.jobs"],
        "screen": ["mvlpt_core.screen"],
        "probe": ["mvlpt_core.probe"],
        "gather": ["mvlpt_analysis.read.gather"],
        "leakage": ["mvlpt_analysis.read.leakage"],
        "similarity": ["mvlpt_analysis.similarity.pairs"],
        "statistics": ["mvlpt_analysis.study"],
        "figures": ["mvlpt_analysis.figures.gallery"],
        "benchmark": ["mvlpt_analysis.benchmark.make"],
        "report": ["mvlpt_analysis.report.page"],
    }.items()
}


def provenance(stage, **settings):
    """Names of what a result was made from, recorded in every row: study, settings and code."""
    settings |= {"backbone": config["backbone"], "max_test": STUDY.max_test}
    return {
        "study": STUDY.study,
        "config_digest": config_digest(settings),
        "code_digest": CODE[stage],
    }


def sample_settings():
    """What a few-shot sample depends on beside shots and seed."""
    return [STUDY.short_classes, STUDY.val_share]


def joint_settings(pack):
    """How the groups of a pack are tuned, where they are of several tasks."""
    return config["joint"] if set(pack.groups) & set(GROUPS) else {}


def tuning_provenance(method, pack):
    """The settings behind a run, less those of its start: the chain of files tells of that."""
    return provenance(
        "tune",
        tuning=config["tuning"],
        method={method: config["methods"][method]},
        sample=sample_settings(),
        **({"joint": config["joint"]} if joint_settings(pack) else {}),
    )


def backbone_files():
    """The files of a local backbone; models that open_clip fetches have none.

    What is missing is left out: the job that reads the folder says best what it expected there.
    """
    scheme, _, folder = located_backbone(STUDY.backbone.name).partition(":")
    names = ["open_clip_config.json", "open_clip_model.safetensors"]
    files = [f"{folder}/{name}" for name in names]
    return list(filter(os.path.exists, files)) if scheme == "local-dir" else []


def listed(names):
    """Names for a message; all tasks are just that."""
    names = list(names)
    if names == list(SUITE):
        return "all tasks"
    return ", ".join(
        names if len(names) <= 20 else [*names[:3], f"{len(names) - 3} more"]
    )


if workflow.is_main_process:
    jobs = sum(len(own.shots) * len(own.seeds) for own in PACKS.values())
    jobs *= len(METHODS)
    for warning in CHECKED.warnings:
        logger.warning(f"warning: {warning}")
    logger.info(f"{CHECKED.summary()}, in {counted(jobs, 'job')}")
