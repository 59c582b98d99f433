# What the rules share: the checked configuration, its tasks, where things are, what results depend on.
#
# REQUIRED INPUTS
#   the study's configuration (--configfile) and the suite that it names
# OUTPUTS
#   STUDY, METHODS, TASKS, SEEDS; paths below results/<study>/; digests for params; no files

import os
import sys
from itertools import product
from pathlib import Path

from snakemake.logging import logger

ROOT = Path(workflow.basedir)
# Scripts run as processes of their own and import the packages from the checkout, installed or not.
sys.path.insert(0, str(ROOT))
here_first = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ.update(PYTHONPATH=os.pathsep.join(here_first))

# A tuning step asks for the same large blocks again and again. glibc would give each back to the system
# and clear new pages for the next: a tenth of a visual step's time.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 32))
os.environ.setdefault("MALLOC_TOP_PAD_", str(1 << 26))

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.provenance import code_digest, config_digest
from mvlpt_core.contract.settings import (
    blocks,
    check_tasks,
    data_state,
    read_schema,
    resolve_study,
)
from mvlpt_core.contract.suite import read_suite


def located(path):
    """A path of the configuration: below the working directory, or else below the checkout."""
    return str(path) if os.path.exists(path) else str(ROOT / path)


def checked_study():
    """The resolved configuration and the suite's rows; a mistake ends the run with its one sentence."""
    name = ", ".join(map(os.path.relpath, workflow.configfiles)) or "configuration"
    try:
        schema = read_schema(ROOT / "workflow/schemas/config.schema.yaml")
        study = resolve_study(config, schema, where=name)
        rows = read_suite(located(study["suite"]))
        check_tasks(study, rows)
    except InputError as error:
        sys.exit(f"error: {error}")
    return study, {row.task: row for row in rows}


STUDY, SUITE = checked_study()
SUITE_FILE = located(STUDY["suite"])
config.clear()
config.update(STUDY)

TASKS = list(SUITE)
METHODS = list(STUDY["methods"])
SEEDS = STUDY["seeds"]
TASK_BLOCKS = dict(enumerate(blocks(TASKS, STUDY["tasks_per_job"]), start=1))
PACKS = dict(enumerate(blocks(TASKS, STUDY["pack"]), start=1))
CELL_BLOCKS = list(product(TASK_BLOCKS, PACKS))

# The similarities that have figures of their own.
MEASURES = ["visual_cosine", "label_cosine"]

# Every rule runs in the one environment; used only with --software-deployment-method conda.
ENVIRONMENT = "../../environment.yml"

RESULTS = f"results/{STUDY['study']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
BACKBONE = f"{RESULTS}/backbone/backbone.json"
WEIGHTS = f"{RESULTS}/backbone/backbone.safetensors"
PREPARED = f"{RESULTS}/prepared/{{task}}.safetensors"
FEATURES = f"{RESULTS}/features/{{task}}.safetensors"
ZERO_SHOT = f"{RESULTS}/zero_shot/{{task}}.parquet"
SOURCE = f"{RESULTS}/sources/{{method}}/{{task}}/seed{{seed}}.parquet"
PROMPT = f"{RESULTS}/sources/{{method}}/{{task}}/seed{{seed}}.safetensors"
CELL = f"{RESULTS}/cells/{{method}}/{{target}}/{{source}}/seed{{seed}}.parquet"
FIGURE = f"{RESULTS}/figures/{{kind}}_{{shown}}.{{suffix}}"

CELLS = expand(CELL, method=METHODS, target=TASKS, source=TASKS, seed=SEEDS)

# Digest of the code behind source prompts and cells; taken once, for it reads many files.
TUNING_CODE = code_digest("mvlpt_core.jobs")


def provenance(code, method=None):
    """Names of what a result was made from, recorded in every cell: study, settings and code."""
    keys = ["backbone", "shots", "short_classes", "val_share", "max_test"]
    settings = {key: STUDY[key] for key in keys}
    if method is not None:
        settings |= {
            "tuning": STUDY["tuning"],
            "method": {method: STUDY["methods"][method]},
        }
    return {
        "study": STUDY["study"],
        "config_digest": config_digest(settings),
        "code_digest": code,
    }


def backbone_name():
    """open_clip's name of the backbone, a local folder's located."""
    scheme, colon, folder = STUDY["backbone"]["name"].partition(":")
    return scheme + colon + (located(folder) if scheme == "local-dir" else folder)


def backbone_files():
    """The files of a local backbone; models that open_clip fetches have none.

    What is missing is left out: the job that reads the folder says best what it expected there.
    """
    scheme, _, folder = backbone_name().partition(":")
    names = ["open_clip_config.json", "open_clip_model.safetensors"]
    files = [f"{folder}/{name}" for name in names]
    return list(filter(os.path.exists, files)) if scheme == "local-dir" else []


def counted(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(tasks):
    """Task names for a message; all of them are just that."""
    return "all tasks" if list(tasks) == TASKS else ", ".join(tasks)


if workflow.is_main_process:
    size = (
        f"{counted(len(METHODS), 'method')} x {counted(len(TASKS), 'source')}"
        f" x {counted(len(TASKS), 'target')} x {counted(len(SEEDS), 'seed')}"
    )
    jobs = counted(len(METHODS) * len(CELL_BLOCKS), "job")
    logger.info(
        f"Study {STUDY['study']}: {counted(len(CELLS), 'cell')}, {size}, in {jobs}"
    )
