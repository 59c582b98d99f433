"""Studies: run, planned, checked."""

from __future__ import annotations

import argparse
from pathlib import Path

from mvlpt.commands import plan
from mvlpt.commands.parser import Commands, label_option, study_options, table_option, top_option


def add(commands: Commands) -> None:
    """study, init, plan, check-config, benchmark, screen, settings, workflow-path."""
    study = commands.add(
        "study",
        "run a study, or what is left of it; results are written to results/<study>/ below here",
        "  mvlpt study testbed                               a shipped one\n"
        "  mvlpt study mine.yaml --cores 8 --dry-run\n"
        "  mvlpt study mine.yaml --profile slurm             jobs on a cluster\n"
        "  mvlpt study mine.yaml -- --forcerun statistics    after --, options for Snakemake itself",
        _study,
    )
    study.usage = "mvlpt study CONFIG [options] [-- SNAKEMAKE_OPTION ...]"
    _running(study)

    init = commands.add(
        "init",
        "write a suite and a configuration for tasks of your own, and say what to run next",
        "  mvlpt init /data/birds /data/cars /data/dogs --out mine",
        _init,
    )
    init.add_argument(
        "folders", type=Path, nargs="+", help="a task each: a folder or file, see docs/data.md"
    )
    init.add_argument(
        "--out", type=Path, default=Path("mine"), help="name of the study and its files (mine)"
    )
    label_option(init)

    plan.add(commands)

    check = commands.add(
        "check-config",
        "check a configuration, its suite and groups; print it with every default filled in",
        "  mvlpt check-config mine.yaml",
        _check_config,
    )
    study_options(check)

    benchmark = commands.add(
        "benchmark",
        "run what one benchmark of a study needs, and print its tables",
        "  mvlpt benchmark few-shot config/testbed.yaml\n"
        "  mvlpt benchmark generalisation config/multitask.yaml --dry-run",
        _benchmark,
    )
    benchmark.add_argument("name", help="few-shot, generalisation, adaptation or joint-pairs")
    _running(benchmark)

    screen = commands.add(
        "screen",
        "rank all pairs of tasks before any transfer run, by what each source's prompt promises",
        "  mvlpt screen testbed                          sources are tuned first, if they are not yet\n"
        "  mvlpt screen mine.yaml --top 5 --out ranked.csv",
        _screen,
    )
    _running(screen)
    top_option(screen, 3, "shown a target")
    table_option(screen)

    settings = commands.add(
        "settings",
        "print every key of a configuration: what it means, its range, default, when to change it",
        "  mvlpt settings\n  mvlpt settings --markdown > docs/settings.md",
        _settings,
    )
    settings.add_argument("--markdown", action="store_true", help="as a Markdown table")

    commands.add(
        "workflow-path",
        "print where the Snakefile lies, for `module` in a Snakefile of your own",
        "  mvlpt workflow-path",
        _workflow_path,
    )


def _running(command: argparse.ArgumentParser) -> None:
    """The options of what runs Snakemake."""
    study_options(command)
    command.add_argument("--cores", help="processor cores to use (as the profile says: all)")
    command.add_argument("--dry-run", action="store_true", help="say what would be done")
    command.add_argument(
        "--profile", default="default", help="default, slurm, or a profile's folder"
    )


def _study(given: argparse.Namespace) -> int:
    from mvlpt.study import run_study

    options = ["--dry-run"] * given.dry_run + given.snakemake
    run_study(given.config, given.cores, given.profile, options, given.set)


def _init(given: argparse.Namespace) -> int:
    from mvlpt.init import write_study

    print(write_study(given.folders, given.out, given.label_column))
    return 0


def _check_config(given: argparse.Namespace) -> int:
    import yaml

    from mvlpt_workflow.configuration import check_study, read_configuration

    checked = check_study(read_configuration(given.config, given.set), given.config)
    print(f"# {checked.summary()}", *(f"# warning: {w}" for w in checked.warnings), sep="\n")
    values = checked.study.resolved()
    print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
    return 0


def _benchmark(given: argparse.Namespace) -> int:
    from mvlpt.benchmark import run_benchmark

    return run_benchmark(
        given.name, given.config, given.cores, given.profile, given.dry_run, given.set
    )


def _screen(given: argparse.Namespace) -> int:
    from mvlpt.screen import run_screening

    options = (given.cores, given.profile, given.dry_run, given.set)
    return run_screening(given.config, given.top, given.out, *options)


def _settings(given: argparse.Namespace) -> int:
    from mvlpt.settings import settings_table

    print(settings_table(given.markdown))
    return 0


def _workflow_path(given: argparse.Namespace) -> int:
    from mvlpt_workflow import SNAKEFILE

    print(SNAKEFILE)
    return 0
