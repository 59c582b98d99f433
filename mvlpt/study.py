"""Running a study: Snakemake on the workflow that comes with the package."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import check_writable, read_yaml, write_atomic
from mvlpt_core.contract.settings import Study
from mvlpt_workflow import FOLDER, SNAKEFILE, running
from mvlpt_workflow.configuration import (
    check_study,
    find_configuration,
    nested,
    read_configuration,
)
from mvlpt_workflow.devices import visible


def run_study(
    config: str,
    cores: str | None,
    profile: str,
    options: Sequence[str],
    changes: Sequence[str] = (),
) -> NoReturn:
    """Check the configuration with its `changes`, then become Snakemake, which does what is left.

    Signals and the exit code are then Snakemake's own. The study is held from here on, before
    Snakemake plans: what orphaned jobs still write is done then. Raises `InputError`, one sentence, for
    whatever can be told before any job.
    """
    completed = {"--config", "-C"} & set(options)  # then the workflow checks both
    if completed and changes:
        raise InputError(f"--set and Snakemake's {completed.pop()}: expected one of them")
    root = None
    if not completed:
        checked = check_study(read_configuration(config, changes), config)
        here = _directory(options)
        check_writable(here / ".snakemake")
        check_writable(here / f"results/{checked.study.study}")
        if not running.tells(options):
            root = str(here / f"results/{checked.study.study}")
    command = study_command(config, cores, profile, options, changes)
    if root:
        running.hold(root)
    sys.stdout.flush()
    os.execve(command[0], command, environment())


def _directory(options: Sequence[str]) -> Path:
    """Where Snakemake will work: its --directory, or here."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--directory", "-d", type=Path, default=Path())
    found: Path = parser.parse_known_args(options)[0].directory
    return found


def environment() -> dict[str, str]:
    """The environment of Snakemake: jobs are started by name, and must find this very interpreter."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path}


def study_command(
    config: str,
    cores: str | None,
    profile: str,
    options: Sequence[str],
    changes: Sequence[str] = (),
) -> list[str]:
    """Snakemake's command line; `options` come last and win. Without `cores` the profile says how many.

    The workflow holds the study itself: Snakemake's locks, which a killed process leaves behind, are not
    needed. On a machine with GPUs, as many jobs ask for one at a time as there are places on them.
    """
    if cores and cores != "all" and not (cores.isdecimal() and int(cores) > 0):
        raise InputError(f"--cores is '{cores}': expected all or a whole number of at least 1")
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(SNAKEFILE)),
        *("--configfile", find_configuration(config), *_changed(changes)),
        *("--workflow-profile", str(_profile(profile))),
        "--nolock",
        *(("--cores", cores) if cores else ()),
        *_gpus(_profile(profile), options, read_configuration(config, changes)),
        *options,
    ]


def _gpus(profile: Path, options: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """How many jobs fit on the GPUs, unless the profile or an option says it or jobs go elsewhere."""
    settled = read_yaml(profile / "config.yaml").keys() | {
        word.lstrip("-").partition("=")[0] for word in options
    }
    if settled & {"executor", "e", "resources", "res"}:
        return []
    packs = Study.model_fields["packs_per_device"].default
    count = len(visible()) * settings.get("packs_per_device", packs)
    return [f"--resources=gpu={count}"] if count else []  # in one word, or it takes targets too


def _changed(changes: Sequence[str]) -> list[str]:
    """The file of the changes, for every job to read: Snakemake's --config makes text of numbers in lists."""
    if not changes:
        return []
    text = yaml.safe_dump(nested(changes), sort_keys=False, allow_unicode=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = Path(".snakemake", "mvlpt", f"set_{name}.yaml").absolute()
    write_atomic(path, text)
    return [str(path)]


def _profile(name: str) -> Path:
    """A profile's folder, the user's own or a shipped one."""
    for folder in (Path(name), FOLDER / "profiles" / name):
        if (folder / "config.yaml").is_file():
            return folder
    known = ", ".join(sorted(path.name for path in (FOLDER / "profiles").iterdir()))
    raise InputError(
        f"--profile {name}: no such profile: expected one of {known}, or a folder with a config.yaml"
    )
