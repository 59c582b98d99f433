"""What Snakemake itself costs: planning a grid of the paper's size, and keeping a study going.

    python -m speed.planning                      # seconds and memory of a dry run of 10,800 cells
    python -m speed.planning --run testbed        # runs the study in a folder of its own: Snakemake's share

A dry run is what every start of a study begins with. The share is the controlling process's own processor
time, planning included, of the study's time.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from mvlpt.study import environment, study_command

# 20 tasks, 3 methods, 3 values of shots, 3 seeds: 400 cells nine times for each method, and scratch.
GRID = ("shots=[1,5,20]", "seeds=[1,2,3]", "study=grid")


class Cost(NamedTuple):
    """Seconds from start to end, processor seconds and peak megabytes of the process itself, jobs."""

    seconds: float
    own: float
    megabytes: float
    jobs: int


def measured(config: str, changes: Sequence[str], options: Sequence[str]) -> Cost:
    """The cost of Snakemake on a study in an empty folder, without that of its jobs."""
    with tempfile.TemporaryDirectory() as scratch:
        for folder in ("config", "mvlpt_core"):  # what shipped configurations name
            Path(scratch, folder).symlink_to(Path(folder).resolve())
        before = Path.cwd()
        os.chdir(scratch)
        try:
            command = study_command(config, None, "default", options, changes)
        finally:
            os.chdir(before)
        began = time.monotonic()
        with Path(scratch, "said").open("w+") as said:
            with subprocess.Popen(
                command, cwd=scratch, env=environment(), stdout=said, stderr=said
            ) as process:
                own, peak = _watched(psutil.Process(process.pid))
            seconds = time.monotonic() - began
            said.seek(0)
            text = said.read()
        if process.returncode:
            raise SystemExit(text)
        (jobs,) = re.findall(r"^total +(\d+)$", text, re.MULTILINE)[:1]
        return Cost(seconds, own, peak / 1e6, int(jobs))


def _watched(process: psutil.Process) -> tuple[float, float]:
    """Processor seconds and the most memory of a process alone, until it ends."""
    own = peak = 0.0
    while True:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return own, peak
            times = process.cpu_times()
            own, peak = times.user + times.system, max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            return own, peak
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", default="config/testbed.yaml", help="the grid's configuration")
    parser.add_argument("--set", nargs="+", default=list(GRID), metavar="KEY=VALUE")
    parser.add_argument(
        "--run", metavar="CONFIG", help="a study to run, for Snakemake's share of it"
    )
    given = parser.parse_args()
    if given.run:
        found = measured(given.run, [], [])
        print(
            f"{found.jobs} jobs in {found.seconds:.0f} s: Snakemake {found.own:.1f} s, "
            f"{found.own / found.seconds:.1%}; {found.megabytes:.0f} MB"
        )
    else:
        found = measured(given.config, given.set, ["--dry-run", "--quiet", "all"])
        print(
            f"planning of {found.jobs} jobs: {found.seconds:.1f} s ({found.own:.1f} s of a processor), "
            f"{found.megabytes:.0f} MB"
        )


if __name__ == "__main__":
    main()
