"""Seconds of each stage of the analysis of a finished study, as processes of their own.

    python -m speed.analysis results/testbed [--seeds 9] [--workers 2]

Works on a copy. With `--seeds` above the study's own, its cells are copied to more seeds with scores
that vary by 2 points, so that 3 x 400 cells stand in for 10,800: the times are real, the results are
not. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import save_file

GATHER = """
from mvlpt_analysis.read.gather import gather
from mvlpt_analysis.read.pairs import write_frame
parts = [[str(p) for p in sorted(d.glob(g))] for g in
         ("cells/*/*/*/*.parquet", "sources/*/*/*.parquet", "zero_shot/*.parquet")]
found = gather(*parts)
for name in ("transfer", "curves", "outcomes"):
    write_frame(getattr(found, name), d / f"{name}.parquet")
"""
STAGES = {
    "gather": GATHER,
    "similarity": "from analysis.study import measure_similarity as f; f(d)",
    "statistics": "from analysis.study import analyse_statistics as f; f(d, workers=workers)",
    "figures": "from analysis.gallery import draw_figures as f; f(d, workers=workers)",
    "report": "from analysis.report import write_report as f; f(d)",
}


def copy_study(study: Path, to: Path, seeds: int, rng: np.random.Generator) -> int:
    """Copy what the analysis reads, its first seed as `seeds` seeds; returns the number of cells."""
    for name in ("features", "zero_shot"):
        shutil.copytree(study / name, to / name)
    shutil.copy(study / "config.yaml", to)
    cells = 0
    for first in sorted(study.glob("*/*/*/**/seed1.*")):
        for seed in range(1, seeds + 1):
            target = to / first.relative_to(study).with_stem(f"seed{seed}")
            target.parent.mkdir(parents=True, exist_ok=True)
            if first.suffix == ".parquet":
                copy_scores(first, target, seed, rng)
                cells += target.is_relative_to(to / "cells")
            else:
                copy_prompt(first, target, seed)
    return cells


def copy_scores(first: Path, target: Path, seed: int, rng: np.random.Generator) -> None:
    table = pq.read_table(first)
    if seed > 1:
        score = np.array(table["score"].to_pylist(), dtype=float) + rng.normal(0, 0.02)
        for name, values in (("seed", [seed] * len(table)), ("score", np.clip(score, 0, 1))):
            at = table.schema.get_field_index(name)
            field = table.schema.field(at)
            table = table.set_column(at, field, pa.array(values, field.type))
    pq.write_table(table, target)


def copy_prompt(first: Path, target: Path, seed: int) -> None:
    with safe_open(first, "numpy") as file:
        header = json.loads(file.metadata()["prompt"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, target, {"prompt": json.dumps({**header, "seed": seed})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        cells = copy_study(args.study, copy, args.seeds, np.random.default_rng(0))
        print(f"{cells:,} cells, {args.workers} workers, seconds with the start of Python")
        print("| stage | seconds |\n| --- | --- |")
        total = 0.0
        for name, code in STAGES.items():
            start = time.perf_counter()
            head = f"from pathlib import Path; d, workers = Path({folder!r}), {args.workers}\n"
            command = [sys.executable, "-c", head + code]
            subprocess.run(command, check=True)
            seconds = time.perf_counter() - start
            total += seconds
            print(f"| {name} | {seconds:.1f} |", flush=True)
        print(f"| all | {total:.1f} |")


if __name__ == "__main__":
    main()
