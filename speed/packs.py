"""Cells per second at testbed size: one pack of 20 sources against 20 packs of one.

    python -m speed.packs [--threads 1] [--repeats 3]

Tunes one testbed target with the settings of config/testbed.yaml. `warm` compares the tuning alone, in
one process; `whole` compares processes from start to end, as a workflow runs them (a pack of one is
timed a few times and counted 20 times). Both sides alternate. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from mvlpt_core.backbone.convert import convert_backbone
from mvlpt_core.contract.suite import read_suite
from mvlpt_core.features import extract
from mvlpt_core.jobs import Job, open_job, tune_cells, tune_sources
from mvlpt_core.tasks.prepare import prepare_task

PACK = 20
PROVENANCE = {"study": "benchmark", "config_digest": "", "code_digest": ""}


def build_study(root: Path, config: dict[str, Any]) -> None:
    """Backbone, one prepared task and its features; its own prompt stands in for all sources."""
    row = read_suite(config["suite"])[0]
    convert_backbone(config["backbone"]["name"], "", root / "backbone")
    preprocess = json.loads((root / "backbone/backbone.json").read_text())["preprocess"]
    prepare_task(
        row, None, preprocess, config["shots"], [1], config["val_share"], None, root / "task"
    )
    extract(
        root / "backbone",
        [root / "task"],
        [root / "features"],
        [root / "zero_shot.parquet"],
        device="cpu",
        provenance=PROVENANCE,
    )
    for method in config["methods"]:
        outputs = {1: (root / f"{method}.parquet", root / f"{method}.safetensors")}
        tune_sources(job_of(root, config, method), outputs)


def job_of(root: Path, config: dict[str, Any], method: str) -> Job:
    return open_job(
        root / "backbone",
        root / "task",
        root / "features",
        method=method,
        method_settings=config["methods"][method],
        tuning=config["tuning"],
        device="cpu",
        provenance=PROVENANCE,
    )


def tune_pack(root: Path, config: dict[str, Any], method: str, size: int) -> None:
    keys = [(f"source{i}", 1) for i in range(size)]
    tune_cells(
        job_of(root, config, method),
        prompts=dict.fromkeys(keys, root / f"{method}.safetensors"),
        outputs={key: root / f"out/{key[0]}.parquet" for key in keys},
    )


def tune_in_a_process(root: Path, config_file: Path, method: str, size: int, threads: int) -> None:
    command = [sys.executable, "-m", "speed.packs", "--config", str(config_file)]
    command += ["--threads", str(threads), "--job", str(root), method, str(size)]
    subprocess.run(command, check=True)


def seconds(function: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


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
    config = yaml.safe_load(args.config.read_text())
    if args.job:
        root, method, size = args.job
        tune_pack(Path(root), config, method, int(size))
        return
    print(
        f"torch {torch.__version__}, {args.threads} thread(s), {config['tuning']['steps']} steps a cell"
    )
    print("| method | compared | pack of 20: cells/s | packs of 1: cells/s | ratio |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build_study(root, config)
        for method in config["methods"]:
            times: dict[str, list[float]] = {}
            for _ in range(args.repeats):
                for size in (PACK, 1):
                    warm = seconds(tune_pack, root, config, method, size)
                    whole = seconds(
                        tune_in_a_process, root, args.config, method, size, args.threads
                    )
                    times.setdefault(f"warm{size}", []).append(warm)
                    times.setdefault(f"whole{size}", []).append(whole)
            for kind in ("warm", "whole"):
                packed, single = (
                    size / statistics.median(times[f"{kind}{size}"]) for size in (PACK, 1)
                )
                print(
                    f"| {method} | {kind} | {packed:.2f} | {single:.2f} | {packed / single:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
