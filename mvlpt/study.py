"""Running a study: Snakemake on the workflow that comes with the package."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_workflow import FOLDER, SNAKEFILE
from mvlpt_workflow.configuration import check_study, find_configuration


def run_study(config: str, cores: str | None, profile: str, options: Sequence[str]) -> NoReturn:
    """Check the configuration, then become Snakemake, which does what is left of the study.

    Signals and the exit code are then Snakemake's own. Raises `InputError`, one sentence, for
    whatever can be told before any job.
    """
    command = study_command(config, cores, profile, options)
    if not {"--config", "-C"} & set(
        options
    ):  # these complete the file, and the workflow checks both
        check_study(read_yaml(find_configuration(config)), config)
    sys.stdout.flush()
    os.execve(command[0], command, environment())


def environment() -> dict[str, str]:
    """The environment of Snakemake: jobs are started by name, and must find this very interpreter."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path}


def study_command(
    config: str, cores: str | None, profile: str, options: Sequence[str]
) -> list[str]:
    """Snakemake's command line; `options` come last and win. Without `cores` the profile says how many."""
    if cores and cores != "all" and not (cores.isdecimal() and int(cores) > 0):
        raise InputError(f"--cores is '{cores}': expected all or a whole number of at least 1")
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(SNAKEFILE)),
        *("--configfile", find_configuration(config)),
        *("--workflow-profile", str(_profile(profile))),
        *(("--cores", cores) if cores else ()),
        *options,
    ]


def _profile(name: str) -> Path:
    """A profile's folder, the user's own or a shipped one."""
    for folder in (Path(name), FOLDER / "profiles" / name):
        if (folder / "config.yaml").is_file():
            return folder
    known = ", ".join(sorted(path.name for path in (FOLDER / "profiles").iterdir()))
    raise InputError(
        f"--profile {name}: no such profile: expected one of {known}, or a folder with a config.yaml"
    )
