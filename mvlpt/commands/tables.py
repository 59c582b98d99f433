"""Tables by others, and studies side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from mvlpt.commands.numbers import whole
from mvlpt.commands.parser import Commands, draws_options, one_of, shots_option
from mvlpt_core.contract.errors import InputError


def add(commands: Commands) -> None:
    """analyse, compare."""
    analyse = commands.add(
        "analyse",
        "figures and a report for any table of source, target, score; several are compared",
        "  mvlpt analyse gains.csv --similarity sim.csv --out report/",
        _analyse,
    )
    analyse.add_argument("tables", type=Path, nargs="+", help=".csv, .tsv, .xlsx or .parquet")
    analyse.add_argument(
        "--similarity",
        type=Path,
        help="source, target, measure, value; or source, target and a column a measure",
    )
    analyse.add_argument("--measures", help="which of the similarities, separated by commas (all)")
    analyse.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME",
        help="a source that is no task, to leave out; may be given again",
    )
    analyse.add_argument("--out", type=Path, help="folder to write (results/<first table's name>)")
    analyse.add_argument(
        "--gain", default="auto", help="what counts as the gain (auto: by columns)"
    )
    draws_options(analyse)
    analyse.add_argument("--workers", type=whole, help="processes (all cores)")

    compared = commands.add(
        "compare",
        "how far studies, or tables by others, agree: seeds, backbones, a study's own methods",
        "  mvlpt compare results/vit_b32 results/vit_b16\n"
        "  mvlpt compare results/testbed              its methods with one another\n"
        "  mvlpt compare results/few/shots1 results/few/shots20\n"
        "  mvlpt compare results/few/tables/joint_pairs.csv     joint with sequential tuning",
        _compare,
    )
    compared.add_argument("sources", type=Path, nargs="+", help="folders of studies, or tables")
    compared.add_argument(
        "--out", type=Path, default=Path("compared"), help="folder to write (compared/)"
    )
    shots_option(compared)
    draws_options(compared)


def _analyse(given: argparse.Namespace) -> int:
    from mvlpt_core.contract.files import check_writable

    out = given.out or Path("results") / given.tables[0].stem
    check_writable(out)
    if given.measures and given.similarity is None:
        raise InputError("--measures is for --similarity: expected both or neither")
    import matplotlib as mpl

    from mvlpt_analysis.foreign import GAINS, analyse_tables
    from mvlpt_analysis.parallel import cores

    mpl.use("Agg")
    if given.gain not in ("auto", *GAINS):
        raise InputError(f"--gain is '{given.gain}': expected {one_of(['auto', *GAINS])}")
    done = analyse_tables(
        given.tables,
        out,
        given.similarity,
        given.gain,
        given.permutations,
        given.seed,
        given.workers or cores(),
        given.baseline,
        [name for part in (given.measures or "").split(",") if (name := part.strip())],
    )
    print(*(f"note: {note}" for note in done.notes), f"report: {done.report}", sep="\n")
    return 0


def _compare(given: argparse.Namespace) -> int:
    from mvlpt.compare import print_comparison

    print_comparison(given.sources, given.out, given.permutations, given.seed, given.shots)
    return 0
