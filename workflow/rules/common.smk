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
from pathlib import Path

from snakemake.logging import logger

# A tuning step asks for the same large blocks again and again. glibc would give each back to the system
# and clear new pages for the next: a tenth of a visual step's time.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 32))
os.environ.setdefault("MALLOC_TOP_PAD_", str(1 << 26))

from mvlpt_analysis import catalogue
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import GATHERED, RANDOM, Layout
from mvlpt_core.contract.provenance import code_digest, config_digest
from mvlpt_core.contract.runs import blocks, packs
from mvlpt_core.tasks.check import data_state
from mvlpt_workflow import ENVIRONMENT, located_backbone
from mvlpt_workflow.configuration import check_study, counted


def checked():
    """The study, checked; a mistake ends the run with its one sentence."""
    name = ", ".join(map(os.path.relpath, workflow.configfiles)) or "configuration"
    try:
        return check_study(config, where=name)
    except InputError as error:
        sys.exit(f"error: {error}")


CHECKED = checked()
STUDY, SUITE = CHECKED.study, CHECKED.suite
GROUPS, PAIRS = CHECKED.groups, CHECKED.pairs
# The resolved configuration is what scripts read and what every job is given.
config.clear()
config.update(STUDY.resolved())

TASKS = list(SUITE)
METHODS = STUDY.methods.by_name()
FACTORS = list(
    dict.fromkeys(factor for row in SUITE.values() for factor in row.factors)
)
PACKS = dict(enumerate(packs(PAIRS, GROUPS, STUDY.pack, STUDY.tasks_per_job), start=1))
TASK_BLOCKS = dict(enumerate(blocks(TASKS, STUDY.tasks_per_job), start=1))
# Groups whose own prompt is tuned: what a run may start from. Tasks among them are the scratch runs.
FRESH = [group for group, start in PAIRS if start == RANDOM]

AT = Layout(f"results/{STUDY.study}")

AXES = {"method": METHODS, "shots": STUDY.shots, "seed": STUDY.seeds}
RUNS = [
    AT.run(method, group, start, shots, seed)
    for method in METHODS
    for group, start in PAIRS
    for shots in STUDY.shots
    for seed in STUDY.seeds
]
# Digest of the list of runs: what was gathered from other runs is gathered anew.
RUN_LIST = config_digest({"runs": sorted(RUNS)})


def members(group):
    """The tasks of a group; a task is a group of one."""
    return GROUPS.get(group, (group,))


def all_members(pack):
    """Every task that a pack's groups hold, each once."""
    return list(dict.fromkeys(task for group in pack.groups for task in members(group)))


def has_class_texts(method):
    """Whether a method's classes are read in a sentence of its own."""
    return getattr(METHODS[method], "class_text", "templates") != "templates"


def keeps_prompt(start):
    """Whether runs from `start` leave their prompt: others start from those of random runs."""
    return start == RANDOM or STUDY.keep_prompts == "all"


def factor_columns():
    """The suite's grouping columns: {factor: its value for each task}."""
    return {
        factor: [row.factors.get(factor, "") for row in SUITE.values()]
        for factor in FACTORS
    }


def table_path(name, shots):
    """A table of the analysis; correlations stand a level higher, as parquet too."""
    return AT.correlations(shots) if name == "correlations" else AT.table(shots, name)


def protocol():
    """What the report tells of the configuration: all that results depend on."""
    hidden = ["device", "threads", "pack", "tasks_per_job", "memory_gb", "mem_mb"]
    hidden += ["runtime", "keep_prompts", "data_root", "analysis"]
    return {key: value for key, value in config.items() if key not in hidden}


def task_row(task, images_alone=False):
    """A suite row as far as a prepared file depends on it, in types that Snakemake compares."""
    row = asdict(SUITE[task])
    del row["factors"]  # the analysis's business
    if images_alone:
        del row["templates"], row["metric"]
    return row


FIGURES = catalogue.figures(list(METHODS), has_factors=bool(FACTORS))
# Kinds of figures that Snakemake's own report explains and shows.
EXPLAINED = {
    "gains": "Gains",
    "scatter": "Gain and similarity",
    "similarity": "Similarity",
}


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


# Digests of the code behind results; taken once, for each reads many files.
CODE = {
    name: code_digest(*modules)
    for name, modules in {
        "backbone": ["mvlpt_core.backbone.convert"],
        "prepare": ["mvlpt_core.tasks.prepare"],
        "features": ["mvlpt_core.features"],
        "tune": ["mvlpt_core.jobs"],
        "gather": ["mvlpt_analysis.read.gather"],
        "similarity": ["mvlpt_analysis.similarity.pairs"],
        "statistics": ["mvlpt_analysis.study"],
        "figures": ["mvlpt_analysis.figures.gallery"],
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


def tuning_provenance(wildcards):
    """The settings behind a run, less those of its start: the chain of files tells of that."""
    return provenance(
        "tune",
        tuning=config["tuning"],
        method={wildcards.method: config["methods"][wildcards.method]},
        sample=[STUDY.short_classes, STUDY.val_share],
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
    return "all tasks" if list(names) == TASKS else ", ".join(names)


if workflow.is_main_process:
    jobs = len(PACKS) * len(METHODS) * len(STUDY.shots) * len(STUDY.seeds)
    logger.info(f"{CHECKED.summary()}, in {counted(jobs, 'job')}")
