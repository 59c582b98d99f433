"""Running a study's workflow, and what its configuration may say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.runs import Pair, expand
from mvlpt_core.contract.settings import Study, read_study, table
from mvlpt_core.contract.suite import read_groups, read_suite
from mvlpt_core.tasks.check import check_tasks
from mvlpt_workflow import FOLDER, SNAKEFILE, located


def run_study(config: str, cores: str, profile: str, options: Sequence[str]) -> int:
    """Check the configuration, then let Snakemake do what is left of the study; its exit code."""
    read_configuration(config)
    folder = FOLDER / "profiles" / profile
    if not folder.is_dir():
        folder = Path(profile)
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in (FOLDER / "profiles").iterdir()))
        raise InputError(f"profile '{profile}' is unknown: expected one of {known}, or a folder")
    command = [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(SNAKEFILE)),
        *("--configfile", _found(config)),
        *("--workflow-profile", str(folder)),
        *("--cores", cores),
        *options,
    ]
    # Jobs are started by name: they must find the interpreter that this one is.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode


def read_configuration(config: str) -> tuple[Study, list[Pair]]:
    """The checked settings of a file, and the (group, start) pairs that it wants.

    Raises `InputError`, one sentence, for whatever can be told before any job: keys, values, suite,
    groups, tasks that do not open.
    """
    path = _found(config)
    study = read_study(read_yaml(path), where=config)
    rows = read_suite(located(study.suite))
    tasks = [row.task for row in rows]
    groups = read_groups(located(study.groups), tasks) if study.groups else {}
    pairs = expand(study.runs, tasks, groups)
    check_tasks(rows, study.data_root)
    return study, pairs


def _found(config: str) -> str:
    """The file that `config` means: a path, or the name of a shipped configuration."""
    shipped = located(f"config/{config}.yaml")
    return shipped if Path(shipped).is_file() and not Path(config).exists() else located(config)


def settings_table(markdown: bool) -> str:
    """Every key of a configuration, one after the other."""
    rows = list(table())
    if not markdown:
        parts = []
        for row in rows:
            more = f" Change it {row['change']}." if row["change"] else ""
            default = f" Default: {row['default']}." if row["default"] else ""
            parts.append(
                f"{row['key']}\n    {row['meaning']}\n    {row['expected']}.{default}{more}"
            )
        return "\n".join(parts)
    lines = [
        "# Every key of a configuration",
        "",
        "Made by `mvlpt settings --markdown` from the models that check a configuration.",
        "",
        "| key | legal values | default | meaning | when to change it |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (row[name].replace("|", "\\|") for name in list(row))
        key, expected, default, meaning, change = cells
        shown = f"`{default}`" if default not in ("", "required") else default
        lines.append(f"| `{key}` | {expected} | {shown} | {meaning} | {change} |")
    return "\n".join(lines)
