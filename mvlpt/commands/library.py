"""What a study found, for use: groups, sources, recommendations, a folder for others."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from mvlpt.commands.parser import Commands, label_option, shots_option, table_option, top_option
from mvlpt_core.contract.errors import InputError


def add(commands: Commands) -> None:
    """recommend, groups, choices, publish."""
    recommend = commands.add(
        "recommend",
        "rank a study's prompts as starts for a task that was not in it",
        "  mvlpt recommend --study results/testbed --task /data/birds\n"
        "  mvlpt recommend --library testbed_library --task /data/birds      a study that was published",
        _recommend,
    )
    given = recommend.add_mutually_exclusive_group(required=True)
    given.add_argument("--study", type=Path, help="a finished results/<study>")
    given.add_argument("--library", type=Path, help="a folder that `mvlpt publish` made")
    recommend.add_argument(
        "--task", type=Path, required=True, help="the new task: a folder or file"
    )
    label_option(recommend)
    shots_option(recommend)
    top_option(recommend, 5, "shown a method")
    table_option(recommend)
    recommend.add_argument(
        "--backbone", help="of a library: its backbone, converted (found by its name)"
    )
    recommend.add_argument("--device", default="auto", help="where to encode the task (auto)")

    groups = commands.add(
        "groups",
        "write the groups that a study found as a table that `groups:` of a configuration takes",
        "  mvlpt groups --study results/testbed --method text --out groups.tsv",
        _groups,
    )
    choices = commands.add(
        "choices",
        "write the sources that a study recommends for each task, for a mean of them (`means:`)",
        "  mvlpt choices --study results/testbed --method text --top 3 --out best3.tsv",
        _choices,
    )
    top_option(choices, 3, "a task")
    for made in (groups, choices):
        made.add_argument("--study", type=Path, required=True, help="a finished results/<study>")
        made.add_argument("--method", required=True, help="text, visual or unified")
        shots_option(made)
        made.add_argument("--out", type=Path, required=True, help="the table to write (.tsv)")

    publish = commands.add(
        "publish",
        "write a finished study as a folder for others: its grid, its prompts, and what they are",
        "  mvlpt publish results/testbed --license cc-by-4.0",
        _publish,
    )
    publish.add_argument("study", type=Path, help="a finished results/<study>")
    publish.add_argument("--out", type=Path, help="the folder to make (<study>_library)")
    publish.add_argument("--license", default="", help="of what is published, as the hub names it")


def _recommend(given: argparse.Namespace) -> int:
    def say(line: str) -> None:
        print(f"{line} ...", file=sys.stderr, flush=True)

    say(f"reading {given.study or given.library}")  # before what is slow to import
    from mvlpt import sources
    from mvlpt.recommend import recommend_folder

    if given.study and given.backbone:
        raise InputError("--backbone is for --library: a study has its own")
    found = (
        partial(sources.of_study, given.study, given.shots)
        if given.study
        else partial(sources.of_library, given.library, given.shots, given.backbone, given.device)
    )
    options = (given.top, given.out, given.device, given.label_column, say)
    print(recommend_folder(found, given.task, *options))
    return 0


def _groups(given: argparse.Namespace) -> int:
    from mvlpt.found import write_groups

    print(write_groups(given.study, given.method, given.shots, given.out))
    return 0


def _choices(given: argparse.Namespace) -> int:
    from mvlpt.found import write_choices

    print(write_choices(given.study, given.method, given.shots, given.top, given.out))
    return 0


def _publish(given: argparse.Namespace) -> int:
    from mvlpt.publish import publish_study

    print(publish_study(given.study, given.out, given.license))
    return 0
