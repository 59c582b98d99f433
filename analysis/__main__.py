"""Command line: `python -m analysis study DIR`, `TABLE.csv ...`, or `recommend --study DIR --task F`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError

USAGE = """python -m analysis study DIR
       python -m analysis recommend --study DIR --task FOLDER
       python -m analysis TABLE.csv [TABLE.csv ...] [--similarity SIM.csv] [--out DIR]"""


def _numbers(parser: argparse.ArgumentParser) -> None:
    from .parallel import cores

    parser.add_argument("--permutations", type=int, default=10_000, help="draws of each test")
    parser.add_argument("--bootstrap", type=int, default=2000, help="draws of each interval")
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws")
    parser.add_argument("--workers", type=int, default=cores(), help="processes (all cores)")


def run_study(arguments: Sequence[str]) -> str:
    from . import study
    from .figures.gallery import draw_figures
    from .report.page import write_report

    parser = argparse.ArgumentParser(
        "python -m analysis study", description="Statistics, figures and report of a study."
    )
    parser.add_argument("folder", type=Path, help="the study's folder, results/<study>")
    parser.add_argument("--suite", type=Path, help="suite TSV, if config.yaml does not name it")
    parser.add_argument("--group-limit", type=int, default=5, help="largest group of tasks")
    _numbers(parser)
    given = parser.parse_args(arguments)
    if (given.folder / "features").is_dir() and not (given.folder / "similarity.parquet").exists():
        study.measure_similarity(given.folder, given.seed)
    study.analyse_statistics(
        given.folder,
        given.permutations,
        given.bootstrap,
        given.seed,
        given.group_limit,
        suite=given.suite,
        workers=given.workers,
    )
    draw_figures(given.folder, given.suite, given.workers)
    return f"report: {write_report(given.folder, given.suite)}"


def run_recommend(arguments: Sequence[str]) -> str:
    from .study import recommend_for

    parser = argparse.ArgumentParser(
        "python -m analysis recommend",
        description="Rank a study's prompts as starts for a task that was not in it.",
    )
    parser.add_argument("--study", type=Path, required=True, help="an analysed results/<study>")
    parser.add_argument(
        "--task",
        type=Path,
        required=True,
        help="the new task: a folder of images "
        "(encoded with the study's backbone first) or its features file",
    )
    parser.add_argument("--top", type=int, default=5, help="sources shown for each method")
    parser.add_argument("--out", type=Path, help="also write the whole table (.csv, .parquet)")
    given = parser.parse_args(arguments)
    features = _encoded(given.study, given.task) if given.task.is_dir() else given.task
    found = recommend_for(given.study, features)
    if given.out is not None:
        from .read.pairs import write_frame

        write_frame(found.table, given.out)
    lines = []
    for method, table in found.table.groupby("method", sort=False):
        shown = table.head(given.top)
        points = pd.DataFrame(
            {
                "rank": shown["rank"],
                "source": shown["source"],
                "gain": [f"{100 * v:+.1f}" for v in shown["expected_gain"]],
                "95% interval": [
                    f"{100 * a:+.1f} to {100 * b:+.1f}" if pd.notna(a) else "unknown"
                    for a, b in zip(shown["low"], shown["high"], strict=True)
                ],
                "why": [_main_reasons(why) for why in shown["why"]],
                "prompt": shown["prompt"],
            }
        )
        lines += [f"{method} (gains in points over scratch)", points.to_string(index=False), ""]
    return "\n".join(lines + found.statements)


def _encoded(study: Path, task: Path) -> Path:
    """The features file of a folder of images, made by a process of its own: nothing here imports
    torch. Errors: a folder or a study that cannot be used, told by that process."""
    features = study / "new_tasks" / f"{task.resolve().name}.safetensors"
    command = [sys.executable, "-m", "mvlpt_core.encode", "--study", str(study)]
    command += ["--task", str(task), "--out", str(features)]
    checkout = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    made = subprocess.run(command, env={**os.environ, "PYTHONPATH": checkout}, check=False)
    if made.returncode:
        raise InputError(f"{task}: could not be encoded, see above")
    return features


def _main_reasons(why: str) -> str:
    """The visual and the label similarity of a source; the table written by --out gives all."""
    parts = [p for p in why.split(", ") if p.startswith(("visual_cosine", "label_cosine"))]
    return ", ".join(parts).replace(" of the study's pairs", "") or why


def run_tables(arguments: Sequence[str]) -> str:
    from .foreign import GAINS, analyse_tables

    parser = argparse.ArgumentParser(
        "python -m analysis",
        usage=USAGE,
        description="Figures and a report for any table of "
        "source, target, score; several tables are compared with one another.",
    )
    parser.add_argument("tables", type=Path, nargs="+", help=".csv, .tsv or .parquet")
    parser.add_argument(
        "--similarity",
        type=Path,
        help="source, target, measure, value; or "
        "source, target and a column a measure (may be the table itself)",
    )
    parser.add_argument("--out", type=Path, help="folder to write (results/<first table's name>)")
    parser.add_argument(
        "--gain",
        default="auto",
        choices=["auto", *GAINS],
        help="what counts as the gain (auto: by the table's columns)",
    )
    _numbers(parser)
    given = parser.parse_args(arguments)
    out = given.out or Path("results") / given.tables[0].stem
    report = analyse_tables(
        given.tables,
        out,
        given.similarity,
        given.gain,
        given.permutations,
        given.bootstrap,
        given.seed,
        given.workers,
    )
    return f"report: {report}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a user's mistake is one sentence on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"study": run_study, "recommend": run_recommend}
    try:
        command = commands.get(given[0]) if given else None
        print(command(given[1:]) if command else run_tables(given))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    import matplotlib as mpl

    mpl.use("Agg")
    sys.exit(main())
