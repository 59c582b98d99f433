"""`mvlpt evaluate`: a prompt's score on a task; what it does is imported when it is called."""

from __future__ import annotations

import argparse
import sys

from mvlpt.commands.parser import Commands, label_option


def add(commands: Commands) -> argparse.ArgumentParser:
    """`mvlpt evaluate`, but for the options that all uses of a prompt have."""
    evaluate = commands.add(
        "evaluate",
        "score a prompt on a task's test images",
        "  mvlpt evaluate --prompt birds.safetensors --task /data/birds",
        _run,
    )
    evaluate.add_argument(
        "--task", required=True, help="a folder or file of images, or testbed:<task>"
    )
    evaluate.add_argument("--metric", help="what is scored (as the folder suggests)")
    label_option(evaluate)
    return evaluate


def _run(given: argparse.Namespace) -> int:
    """Score the prompt on the task's test images, with the task's classes."""
    print(f"reading {given.task}", file=sys.stderr, flush=True)
    from mvlpt_core.tasks.base import remarks
    from mvlpt_core.use.model import load, read_header
    from mvlpt_core.use.task import open_task

    task = open_task(given.task, metric=given.metric, label_column=given.label_column)
    for line in remarks([task.source.split("test")]):
        print(f"note: {line}", file=sys.stderr)
    first = next(iter(read_header(given.prompt)["tasks"]))
    model = load(given.prompt, given.backbone, task=first, device=given.device)
    own = {name for about in model.header["tasks"].values() for name in about["classnames"]}
    strange = sum(name not in own for name in task.classnames)
    if strange:
        of = len(task.classnames)
        print(f"note: the prompt was not tuned on {strange} of the {of} classes", file=sys.stderr)
    print(f"{model.evaluate(task)} (95 % interval over test images)")
    return 0
