"""Runs per second at testbed size: one pack of 20 starts against 20 packs of one.

    python -m speed.packs [--threads 1] [--repeats 3]

Tunes one testbed task with the settings of config/testbed.yaml. `warm` compares the tuning alone, in
one process; `whole` compares processes from start to end, as a workflow runs them (a pack of one is
timed a few times and counted 20 times), and says what one of a single run takes beyond its tuning. Both
sides alternate. With one thread seconds are those of the processor, which other work on the machine
hardly changes, else of the clock. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

from mvlpt_core.backbone.convert import convert_backbone
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.layout import RANDOM, Layout
from mvlpt_core.contract.settings import Study, read_study
from mvlpt_core.contract.suite import read_suite
from mvlpt_core.features import encode_sample, encode_test
from mvlpt_core.jobs import tune_pack
from mvlpt_core.tasks.prepare import prepare_sample, prepare_test, read_preprocess
from mvlpt_core.tuning.problem import TaskFiles
from speed.clock import seconds

PACK = 20
SEED = 1
PROVENANCE = {"study": "benchmark", "config_digest": "", "code_digest": ""}


def build_study(at: Layout, study: Study) -> None:
    """Backbone, one prepared task and its features; its own prompt stands in for all starts."""
    row = read_suite(study.suite)[0]
    files = TaskFiles.of(at, row.task, study.shots[0], SEED, texts=False)
    convert_backbone(study.backbone.name, "", Path(at.backbone).parent)
    preprocess = read_preprocess(at.backbone)
    prepare_test(row, None, preprocess, max_test=study.max_test, out=files.test)
    prepare_sample(
        row.task,
        row.kind,
        row.location,
        None,
        preprocess,
        shots=study.shots[0],
        seed=SEED,
        val_share=study.val_share,
        short_classes=study.short_classes,
        out=files.sample,
    )
    encode_test(at.backbone, [files.test], [files.test_features], device="cpu")
    encode_sample(at.backbone, [files.sample], [files.sample_features], device="cpu")
    for method in study.methods.by_name():
        tune(at, study, method, [RANDOM])


def tune(at: Layout, study: Study, method: str, starts: list[str]) -> None:
    """One task's runs in one pack; the random one leaves the prompt that the others begin with."""
    task, shots = read_suite(study.suite)[0].task, study.shots[0]
    own = Path(at.prompt(method, task, RANDOM, shots, SEED))
    keys = [(task, start) for start in starts]
    tune_pack(
        at.backbone,
        groups={task: [task]},
        files={task: TaskFiles.of(at, task, shots, SEED, texts=False)},
        prompts={key: [own] for key in keys if key[1] != RANDOM},
        scores={key: Path(at.run(method, *key, shots, SEED)) for key in keys},
        kept={key: own for key in keys if key[1] == RANDOM},
        settings=study.methods.by_name()[method],
        tuning=study.tuning,
        joint=study.joint,
        shots=shots,
        seed=SEED,
        device="cpu",
        memory_gb=study.memory_gb,
        provenance=PROVENANCE,
    )


def tune_in_a_process(root: str, config: Path, method: str, size: int, threads: int) -> None:
    command = [sys.executable, "-m", "speed.packs", "--config", str(config)]
    command += ["--threads", str(threads), "--job", root, method, str(size)]
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--config", type=Path, default=Path("config/testbed.yaml"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--job", nargs=3, metavar=("ROOT", "METHOD", "SIZE"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    study = read_study(read_yaml(args.config), str(args.config))
    packs = {size: [f"source{i}" for i in range(size)] for size in (PACK, 1)}
    if args.job:
        root, method, size = args.job
        tune(Layout(root), study, method, packs[int(size)])
        return
    print(f"torch {torch.__version__}, {args.threads} thread(s), {study.tuning.steps} steps a run")
    print("| method | compared | pack of 20: runs/s | packs of 1: runs/s | ratio | start, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as root:
        build_study(Layout(root), study)
        for method in study.methods.by_name():
            times: dict[tuple[str, int], list[float]] = {}
            for _ in range(args.repeats):
                for size, starts in packs.items():
                    own = partial(tune, Layout(root), study, method, starts)
                    job = partial(tune_in_a_process, root, args.config, method, size, args.threads)
                    warm, whole = seconds(args.threads, own), seconds(args.threads, job)
                    times.setdefault(("warm", size), []).append(warm)
                    times.setdefault(("whole", size), []).append(whole)
            one = {kind: statistics.median(times[kind, 1]) for kind in ("warm", "whole")}
            for kind, start in (("warm", ""), ("whole", f"{one['whole'] - one['warm']:.1f}")):
                packed = PACK / statistics.median(times[kind, PACK])
                print(
                    f"| {method} | {kind} | {packed:.2f} | {1 / one[kind]:.2f} | "
                    f"{packed * one[kind]:.1f} | {start} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
