"""Tasks' data and backbones: fetched, checked, converted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mvlpt.commands.numbers import whole
from mvlpt.commands.parser import Commands, label_option

_TASKS = (
    "a study's YAML file, a suite's TSV file, the name of a shipped one, or (check) a task's data"
)


def add(commands: Commands) -> None:
    """fetch, check, convert."""
    fetch = commands.add(
        "fetch",
        "get the tasks' copies from the hub, after saying how large they are; nothing else downloads data",
        "  mvlpt fetch elevater --data-root /data --dry-run       what there is to get\n"
        "  mvlpt fetch elevater --data-root /data --task mnist dtd\n"
        "  mvlpt fetch hub:owner/name@revision --data-root /data  any data set; then mvlpt init /data/name",
        _fetch,
    )
    fetch.add_argument("--dry-run", action="store_true", help="say what would be fetched")

    data = commands.add(
        "check",
        "decode every image of the tasks; compare classes, counts, splits with what the suite says",
        "  mvlpt check elevater --data-root /data --out check.csv    goes on where it was interrupted\n"
        "  mvlpt check mine.yaml --study results/mine                are the data those it was made from?\n"
        "  mvlpt check /data/birds.zip --sheet birds.png             a task of your own, and its images",
        _check,
    )
    for made in (fetch, data):
        made.add_argument("config", help=_TASKS)
        made.add_argument("--task", nargs="+", default=[], help="which of its tasks (all)")
        made.add_argument("--data-root", help="the tasks' folder (as the configuration says)")
    label_option(data)
    data.add_argument("--workers", type=whole, help="processes (all cores)")
    data.add_argument("--out", type=Path, help="also write the table (.csv)")
    data.add_argument(
        "--cache", type=Path, help="remember decoded images in this file (beside --out: .cache)"
    )
    data.add_argument("--sheet", type=Path, help="write images as the backbone sees them (.png)")
    data.add_argument("--study", type=Path, help="compare with what this results/<study> prepared")

    convert = commands.add(
        "convert",
        "convert an open_clip model into the folder that studies read",
        "  mvlpt convert ViT-B-16 --pretrained openai --out backbone/",
        _convert,
    )
    convert.add_argument("name", help="open_clip's name, hf-hub:<owner/name> or local-dir:<folder>")
    convert.add_argument("--pretrained", default="", help="open_clip's tag of the weights")
    convert.add_argument("--out", type=Path, required=True, help="folder to write")


def _fetch(given: argparse.Namespace) -> int:
    from mvlpt.fetch import fetch_tasks

    return 0 if fetch_tasks(given.config, given.task, given.data_root, given.dry_run) else 1


def _check(given: argparse.Namespace) -> int:
    from mvlpt.check import check_tasks_data
    from mvlpt_analysis.parallel import cores

    sound = check_tasks_data(
        given.config,
        given.task,
        given.data_root,
        given.workers or cores(),
        given.out,
        given.cache,
        given.study,
        given.sheet,
        given.label_column,
    )
    return 0 if sound else 1


def _convert(given: argparse.Namespace) -> int:
    from mvlpt_core.backbone.convert import convert_backbone
    from mvlpt_core.backbone.named import check_named, located_backbone

    found = located_backbone(given.name)
    for warning in check_named(found, given.pretrained):
        print(f"warning: {warning}", file=sys.stderr)
    convert_backbone(given.name, given.pretrained, given.out, found)
    print(f"backbone: {given.out}")
    return 0
