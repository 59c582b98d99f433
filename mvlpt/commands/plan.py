"""`mvlpt plan`: what a study costs and can find; what it does is imported when it is called."""

from __future__ import annotations

import argparse
from pathlib import Path

from mvlpt.commands.numbers import above0, whole
from mvlpt.commands.parser import Commands, study_options
from mvlpt_core.contract.errors import InputError


def add(commands: Commands) -> None:
    """`mvlpt plan`."""
    plan = commands.add(
        "plan",
        "what a study will cost and can find, before it runs; --register writes down what is claimed",
        "  mvlpt plan testbed --calibrate\n"
        "  mvlpt plan paper_vitb16 --rate 60 --device A100\n"
        "  mvlpt plan mine.yaml --pilot results/pilot\n"
        "  mvlpt plan mine.yaml --register --method text --gain absolute "
        "--similarity label_cosine --margin 2",
        _run,
    )
    study_options(plan)
    speed = plan.add_mutually_exclusive_group()
    speed.add_argument("--rate", type=above0, help="TFLOP/s that the device reaches, for hours")
    speed.add_argument(
        "--calibrate", action="store_true", help="time the real step here, for hours"
    )
    plan.add_argument(
        "--device", help="where to calibrate (as the study says); with --rate the device's name"
    )
    plan.add_argument("--cores", type=whole, help="processor cores to use (all)")
    plan.add_argument(
        "--budget", type=above0, help="hours: print the fraction of the grid that fits into them"
    )
    plan.add_argument("--pilot", type=Path, help="a finished results/<study> that shows the noise")
    plan.add_argument("--register", action="store_true", help="write what is claimed, once")
    for option, about in (
        ("method", "primary method"),
        ("gain", "primary gain: absolute, relative or ceiling"),
        ("similarity", "primary similarity, a measure of the analysis"),
    ):
        plan.add_argument(f"--{option}", help=f"with --register: {about}")
    plan.add_argument(
        "--margin", type=float, help="with --register: points below which a gain counts as none"
    )


def _run(given: argparse.Namespace) -> int:
    """Print a plan, or register one."""
    chosen = {name: getattr(given, name) for name in ("method", "gain", "similarity", "margin")}
    if given.register:
        if given.set:
            raise InputError("--set is not for --register: expected what is claimed in the file")
        for name, value in chosen.items():
            if value is None:
                raise InputError(f"--register needs --{name}: expected what is claimed")
    else:
        for name, value in chosen.items():
            if value is not None:
                raise InputError(f"--{name} is for --register: expected both or neither")
    if given.budget is not None:
        return _print_budget(given)
    from mvlpt.plan import print_plan, register_plan

    if given.register:
        path, plan = register_plan(given.config, **chosen)
        print(f"registered: {path} (digest {plan.digest})")
        return 0
    print_plan(
        given.config,
        given.rate,
        given.calibrate,
        given.device,
        given.cores,
        given.pilot,
        given.set,
    )
    return 0


def _print_budget(given: argparse.Namespace) -> int:
    """Print which part of the grid fits into hours."""
    if given.register or given.pilot:
        other = "--register" if given.register else "--pilot"
        raise InputError(f"--budget is not for {other}: expected one of them")
    if given.rate is None and not given.calibrate:
        raise InputError("--budget needs a speed: expected --rate or --calibrate")
    from mvlpt.plan_budget import budget_lines
    from mvlpt_analysis.parallel import cores

    speed = (given.rate, given.device, given.cores or cores())
    for line in budget_lines(given.config, given.budget, *speed, given.set):
        print(line)
    return 0
