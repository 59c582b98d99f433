"""`mvlpt tune`: a prompt for one task; what it does is imported when it is called."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mvlpt.commands.numbers import whole, whole0
from mvlpt.commands.parser import Commands, label_option
from mvlpt_core.contract.errors import InputError


def add(commands: Commands) -> None:
    """`mvlpt tune`."""
    tune = commands.add(
        "tune",
        "tune a prompt for one task, from a study's prompt or from random, and keep it",
        "  mvlpt tune --task /data/birds --start results/mine/runs/.../seed1.safetensors\n"
        "  mvlpt tune --task /data/birds --start random --backbone ViT-B-16 --pretrained openai",
        _run,
    )
    tune.add_argument("--task", required=True, help="a folder or file of images, or testbed:<task>")
    tune.add_argument("--start", required=True, help="a prompt file, or random")
    tune.add_argument("--like", type=Path, help="with random: a prompt file to be tuned like")
    tune.add_argument("--backbone", help="open_clip's name, or a converted folder (as the start)")
    tune.add_argument("--pretrained", default="", help="open_clip's tag of the weights")
    tune.add_argument("--method", help="text, visual or unified (as the start; text)")
    tune.add_argument("--shots", type=whole, help="training images a class (as the start; 20)")
    tune.add_argument("--seed", type=whole0, help="of sample, start and order (as the start; 1)")
    tune.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the method and of tuning: lr=0.01 steps=100 (as the start)",
    )
    tune.add_argument("--name", help="name of the task (new_<folder>); it seeds the sample")
    label_option(tune)
    tune.add_argument("--metric", help="what is scored (as the folder suggests)")
    tune.add_argument(
        "--orientation", default="", help="exif: turn images as their EXIF tag says (left alone)"
    )
    tune.add_argument("--grey-bits", type=whole, help="bits of 16-bit grey in use (as each image)")
    tune.add_argument("--out", type=Path, help="the prompt file to write (.safetensors)")
    tune.add_argument("--device", default="auto", help="where to compute (auto)")


def _run(given: argparse.Namespace) -> int:
    """Tune, say how far it is, and print the scores before and after."""
    print(f"reading {given.task}", file=sys.stderr, flush=True)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("mvlpt_core").setLevel(logging.INFO)
    from mvlpt_core.use.backbone import backbone_of, open_backbone
    from mvlpt_core.use.model import read_header
    from mvlpt_core.use.task import open_task
    from mvlpt_core.use.tune import tune

    task = open_task(
        given.task,
        given.name,
        metric=given.metric,
        label_column=given.label_column,
        orientation=given.orientation,
        grey_bits=given.grey_bits,
    )
    known = given.like if given.start == "random" else Path(given.start)
    if known is None and given.backbone is None:
        raise InputError(
            "--start random needs a backbone: expected --backbone, or --like with a prompt file"
        )
    if known is None or given.pretrained:
        backbone = open_backbone(given.backbone, given.pretrained, device=given.device)
    else:
        backbone = backbone_of(read_header(known), known, given.backbone, given.device)
    settings, tuning = _settings(given.set)
    done = tune(
        task,
        backbone,
        given.start,
        like=given.like,
        out=given.out,
        method=given.method,
        shots=given.shots,
        seed=given.seed,
        settings=settings,
        tuning=tuning,
    )
    value, low, high = (100 * part for part in done.added)
    print(f"zero-shot  {done.after.metric} {100 * done.zero_shot:.1f}")
    print(f"before     {done.start}")
    print(f"after      {done.after}")
    print(f"tuning adds {value:+.1f} points [{low:+.1f}, {high:+.1f}] (95 %, over test images)")
    calibrated = f"temperature {done.model.temperature:.2f}" if done.model.calibrated else "no"
    print(f"calibrated: {calibrated}")
    print(f"prompt: {done.path}")
    return 0


def _settings(pairs: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """KEY=VALUE as settings of the method and of tuning."""
    import yaml

    from mvlpt_core.contract.settings import Tuning

    method: dict[str, Any] = {}
    tuning: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair}: expected KEY=VALUE, for example lr=0.01")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"--set {pair}: expected a number or a word as the value") from None
        (tuning if key in Tuning.model_fields else method)[key] = value
    return method, tuning
