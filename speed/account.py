"""Where the time of a finished study went, against what its operations need at the machine's matrix rate.

    python -m speed.account results/testbed [--log .snakemake/log/...]

The floor is what tuning and scoring cost at the rate of a matrix product of the image tower's shape, which
is measured here: run it on the machine of the study, in the folder that the study ran in. Above it stand
what training jobs took beyond it, and all other jobs, as Snakemake's benchmark files have them; what is
left of Snakemake's own clock on all cores is itself and cores without a job. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from mvlpt.plan import checked_study, study_counter
from mvlpt_core.backbone.device import resolve_precision
from mvlpt_core.backbone.named import located_backbone
from mvlpt_core.planning.counts import Counter
from mvlpt_core.planning.forecast import started
from mvlpt_core.planning.shapes import random_backbone, read_shapes
from speed.clock import matrix_rate

_TUNE = "tune"
_ELAPSED = re.compile(r"^Elapsed time: (\d+):(\d+):([\d.]+)$", re.MULTILINE)
_CORES = re.compile(r"^Provided cores: (\d+)", re.MULTILINE)


class Row(NamedTuple):
    """A part of the time: how many jobs, seconds of their clocks and of the processor.

    Snakemake looks at a job's processor seconds now and then, and misses its last moments.
    """

    part: str
    jobs: int
    clock: float
    processor: float


def spent(root: Path) -> dict[str, Row]:
    """By rule, as the study's benchmark files have it."""
    found: dict[str, Row] = {}
    folder = root / "benchmarks"
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        old = found.get(rule, Row(rule, 0, 0.0, 0.0))
        clock, processor = (float(row[key]) for key in ("s", "cpu_time"))
        found[rule] = Row(rule, old.jobs + 1, old.clock + clock, old.processor + processor)
    return found


def elapsed(log: str) -> float:
    """Core seconds of a Snakemake run by its log: its clock times its cores."""
    time, cores = _ELAPSED.findall(log), _CORES.findall(log)
    if not time or not cores:
        raise SystemExit(
            "the log has no 'Elapsed time' and 'Provided cores': expected that of a run"
        )
    hours, minutes, seconds = map(float, time[-1])
    return int(cores[-1]) * (3600 * hours + 60 * minutes + seconds)


def account(
    counter: Counter, rate: float, start: float, jobs: Mapping[str, Row], whole: float
) -> tuple[float, list[Row]]:
    """Seconds of the floor, and the rows that add up to `whole`, core seconds of the clock."""
    floor, rows = 0.0, []
    for method in counter.study.methods.by_name():
        own = [(job.seeds, p) for job in counter.jobs if job.method == method for p in job.portions]
        for what in ("tuning", "scoring"):
            seconds = sum(seeds * getattr(p, what) for seeds, p in own) / rate
            rows.append(Row(f"{what} at the matrix rate, {method}", 0, seconds, seconds))
            floor += seconds
    tune, others = jobs[_TUNE], [row for row in jobs.values() if row.part != _TUNE]
    starting = tune.jobs * start
    above = floor + starting
    rows += [
        Row("training jobs: starting", tune.jobs, starting, starting),
        Row("training jobs: beyond", 0, tune.clock - above, tune.processor - above),
        *sorted(others, key=lambda row: -row.clock),
    ]
    left = whole - sum(row.clock for row in rows)
    return floor, [*rows, Row("Snakemake, and cores without a job", 0, left, math.nan)]


def table(floor: float, rows: Sequence[Row]) -> list[str]:
    """In Markdown, with each part as a multiple of the floor."""
    clock, processor = (sum(column) for column in zip(*(row[2:] for row in rows[:-1]), strict=True))
    whole = Row("all", sum(row.jobs for row in rows), clock + rows[-1].clock, processor)
    lines = ["| part | jobs | clock, s | processor, s | of the floor |", "| --- |" + 4 * " --- |"]
    for row in [*rows, whole]:
        used = "" if math.isnan(row.processor) else f"{row.processor:.1f}"
        times = row.clock / floor
        lines.append(f"| {row.part} | {row.jobs or ''} | {row.clock:.1f} | {used} | {times:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("study", type=Path, help="the folder of a finished study")
    parser.add_argument("--log", type=Path, help="Snakemake's; without it the newest")
    args = parser.parse_args()
    log = args.log or max(Path(".snakemake/log").glob("*.log"), key=lambda path: path.name)
    torch.set_num_threads(1)
    checked = checked_study(str(args.study / "config.yaml"))
    counter, backbone = study_counter(checked), checked.study.backbone
    shapes = read_shapes(located_backbone(backbone.name))
    device = torch.device("cpu")
    precision = resolve_precision(backbone.precision, device, shapes["vision_cfg"]["width"])
    measure = matrix_rate(random_backbone(shapes, device, precision))
    rate = sorted(measure() for _ in range(9))[4]
    start, _ = started()
    whole = elapsed(log.read_text(encoding="utf-8"))
    floor, rows = account(counter, rate, start, spent(args.study), whole)
    print(f"{rate / 1e9:.0f} GFLOP/s, a training job starts in {start:.1f} s of the processor\n")
    print("\n".join(table(floor, rows)))


if __name__ == "__main__":
    main()
