"""One benchmark of a study: its runs, then its tables on the terminal."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from mvlpt.study import environment, study_command
from mvlpt_analysis.catalogue import BENCHMARKS
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_workflow.benchmarks import benchmarks
from mvlpt_workflow.configuration import check_study, read_configuration


def run_benchmark(
    name: str,
    config: str,
    cores: str | None,
    profile: str,
    dry_run: bool,
    changes: Sequence[str] = (),
) -> int:
    """Run the target `name` (few-shot, generalisation, ...) of the study's workflow and print the tables that
    it wrote; the exit code is Snakemake's.

    Raises `InputError` for a name that is none, for whatever is wrong with the configuration, and
    where the study has no runs for the benchmark.
    """
    rule = name.replace("-", "_")
    if rule not in BENCHMARKS:
        known = ", ".join(one.replace("_", "-") for one in BENCHMARKS)
        raise InputError(f"unknown benchmark '{name}': expected one of {known}")
    checked = check_study(read_configuration(config, changes), config)
    if rule not in benchmarks(checked):
        raise InputError(
            f"{config}: its runs are none of the benchmark '{name}': expected some under the key 'runs' "
            "(see config/multitask.yaml)"
        )
    options = [*(["--dry-run"] * dry_run), "--", rule]  # a rule's name is a target
    done = subprocess.run(
        study_command(config, cores, profile, options, changes), env=environment(), check=False
    )
    if done.returncode == 0 and not dry_run:
        table = Layout(f"results/{checked.study.study}").benchmark(f"{rule}.md")
        print(Path(table).read_text(encoding="utf-8"))
    return done.returncode
