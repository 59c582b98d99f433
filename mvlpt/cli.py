"""The command `mvlpt`: its sub-commands, with examples; what they do is imported when they are called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from mvlpt import evaluate, export, plan_options, predict, tune
from mvlpt.numbers import whole, whole0
from mvlpt_core import __version__
from mvlpt_core.contract.errors import InputError, lack_of_the_machine

Run = Callable[[argparse.Namespace], int]


_TASKS = (
    "a study's YAML file, a suite's TSV file, the name of a shipped one, or (check) a task's data"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence and exit code 2, as a user's other mistakes are."""

    def __init__(self, prog: str, examples: str = "", **texts: Any) -> None:
        """`texts`: usage, description; `examples`: shown below the help."""
        super().__init__(
            prog,
            **texts,
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; a user's mistake is one sentence on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What follows "--" is for Snakemake and none of the parser's business.
    end = given.index("--") if "--" in given else len(given)
    own, passed = given[:end], given[end + 1 :]
    parser, names = _parser()
    if not own:
        parser.print_help(sys.stderr)
        return 2
    first = [*names, "--help", "--version"]
    if own[0] not in [*first, "-h"]:
        near = get_close_matches(own[0], first, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        parser.exit(2, f"error: unknown command '{own[0]}'{hint}: expected {_one_of(first)}\n")
    settings = parser.parse_args(own)
    if passed and settings.run is not _study:
        parser.exit(2, f"error: '{own[0]}' takes nothing after --: expected it of study alone\n")
    settings.snakemake = passed
    run: Run = settings.run
    try:
        code = run(settings)
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` for one, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (OSError, MemoryError, RuntimeError) as error:
        lack = lack_of_the_machine(error)
        if lack is None:
            raise
        print(f"error: {lack}", file=sys.stderr)
        return 2


def _one_of(names: Sequence[str]) -> str:
    return f"one of {', '.join(names)}"


def _parser() -> tuple[_Parser, list[str]]:
    """The parser, and the names of its sub-commands."""
    parser = _Parser(
        "mvlpt",
        description="Task transferability of vision-language prompt tuning.",
        examples="  mvlpt study config/testbed.yaml\n"
        "  mvlpt recommend --study results/testbed --task /data/birds\n"
        "  mvlpt study --help",
    )
    parser.add_argument("--version", action="version", version=f"mvlpt {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, help: str, examples: str, run: Run) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help, examples=examples)
        made.set_defaults(run=run)
        return made

    study = command(
        "study",
        "run a study, or what is left of it; results are written to results/<study>/ below here",
        "  mvlpt study testbed                               a shipped one\n"
        "  mvlpt study mine.yaml --cores 8 --dry-run\n"
        "  mvlpt study mine.yaml --profile slurm             jobs on a cluster\n"
        "  mvlpt study mine.yaml -- --forcerun statistics    after --, options for Snakemake itself",
        _study,
    )
    study.usage = "mvlpt study CONFIG [options] [-- SNAKEMAKE_OPTION ...]"

    init = command(
        "init",
        "write a suite and a configuration for tasks of your own, and say what to run next",
        "  mvlpt init /data/birds /data/cars /data/dogs --out mine",
        _init,
    )
    init.add_argument(
        "folders", type=Path, nargs="+", help="a task each: a folder or file, see docs/data.md"
    )
    init.add_argument(
        "--out", type=Path, default=Path("mine"), help="name of the study and its files (mine)"
    )

    benchmark = command(
        "benchmark",
        "run what one benchmark of a study needs, and print its tables",
        "  mvlpt benchmark few-shot config/testbed.yaml\n"
        "  mvlpt benchmark generalisation config/multitask.yaml --dry-run",
        _benchmark,
    )
    benchmark.add_argument("name", help="few-shot, generalisation, adaptation or joint-pairs")
    screen = command(
        "screen",
        "rank all pairs of tasks before any transfer run, by what each source's prompt promises",
        "  mvlpt screen testbed                          sources are tuned first, if they are not yet\n"
        "  mvlpt screen mine.yaml --top 5 --out ranked.csv",
        _screen,
    )
    screen.add_argument("--top", type=whole, default=3, help="sources shown a target (3)")
    screen.add_argument("--out", type=Path, help="also write the whole table (.csv, .parquet)")
    for made in (study, benchmark, screen):
        made.add_argument("config", help="the study's YAML file, or the name of a shipped one")
        made.add_argument("--cores", help="processor cores to use (as the profile says: all)")
        made.add_argument("--dry-run", action="store_true", help="say what would be done")
        made.add_argument(
            "--profile", default="default", help="default, slurm, or a profile's folder"
        )

    groups = command(
        "groups",
        "write the groups that a study found as a table that `groups:` of a configuration takes",
        "  mvlpt groups --study results/testbed --method text --out groups.tsv",
        _groups,
    )
    choices = command(
        "choices",
        "write the sources that a study recommends for each task, for a mean of them (`means:`)",
        "  mvlpt choices --study results/testbed --method text --top 3 --out best3.tsv",
        _choices,
    )
    choices.add_argument("--top", type=whole, default=3, help="sources a task (3)")
    for made in (groups, choices):
        made.add_argument("--study", type=Path, required=True, help="a finished results/<study>")
        made.add_argument("--method", required=True, help="text, visual or unified")
        made.add_argument("--shots", type=whole, help="which of the study's shots (the first)")
        made.add_argument("--out", type=Path, required=True, help="the table to write (.tsv)")

    recommend = command(
        "recommend",
        "rank a study's prompts as starts for a task that was not in it",
        "  mvlpt recommend --study results/testbed --task /data/birds\n"
        "  mvlpt recommend --library testbed_library --task /data/birds      a study that was published",
        _recommend,
    )
    given = recommend.add_mutually_exclusive_group(required=True)
    given.add_argument("--study", type=Path, help="a finished results/<study>")
    given.add_argument("--library", type=Path, help="a folder that `mvlpt publish` made")
    recommend.add_argument(
        "--task", type=Path, required=True, help="the new task: a folder or file"
    )
    recommend.add_argument("--shots", type=whole, help="which of the study's shots (the first)")
    recommend.add_argument("--top", type=whole, default=5, help="sources shown a method (5)")
    recommend.add_argument("--out", type=Path, help="also write the whole table (.csv, .parquet)")
    recommend.add_argument(
        "--backbone", help="of a library: its backbone, converted (found by its name)"
    )
    recommend.add_argument("--device", default="auto", help="where to encode the task (auto)")

    publish = command(
        "publish",
        "write a finished study as a folder for others: its grid, its prompts, and what they are",
        "  mvlpt publish results/testbed --license cc-by-4.0",
        _publish,
    )
    publish.add_argument("study", type=Path, help="a finished results/<study>")
    publish.add_argument("--out", type=Path, help="the folder to make (<study>_library)")
    publish.add_argument("--license", default="", help="of what is published, as the hub names it")

    tune.add_options(
        command(
            "tune",
            "tune a prompt for one task, from a study's prompt or from random, and keep it",
            "  mvlpt tune --task /data/birds --start results/mine/runs/.../seed1.safetensors\n"
            "  mvlpt tune --task /data/birds --start random --backbone ViT-B-16 --pretrained openai",
            tune.run,
        )
    )
    used: list[tuple[Any, str, str]] = [
        (predict, "name the classes of images by a tuned prompt", "IMAGES --top 3 --out found.csv"),
        (evaluate, "score a prompt on a task's test images", "--task /data/birds"),
        (export, "write a prompt for open_clip or transformers", "--to open_clip"),
    ]
    for module, help, example in used:
        name = module.__name__.rpartition(".")[2]
        made = command(
            name, help, f"  mvlpt {name} --prompt birds.safetensors {example}", module.run
        )
        made.add_argument("--prompt", type=Path, required=True, help="a prompt file")
        made.add_argument(
            "--backbone", help="its backbone, converted (found by the prompt's place or name)"
        )
        made.add_argument("--device", default="auto", help="where to compute (auto)")
        module.add_options(made)

    analyse = command(
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
    analyse.add_argument("--permutations", type=whole, default=10_000, help="draws of each test")
    analyse.add_argument("--seed", type=whole0, default=0, help="seed of all draws")
    analyse.add_argument("--workers", type=whole, help="processes (all cores)")

    compared = command(
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
    compared.add_argument("--shots", type=whole, help="of studies with several (their first)")
    compared.add_argument("--permutations", type=whole, default=10_000, help="draws of each test")
    compared.add_argument("--seed", type=whole0, default=0, help="seed of all draws")

    convert = command(
        "convert",
        "convert an open_clip model into the folder that studies read",
        "  mvlpt convert ViT-B-16 --pretrained openai --out backbone/",
        _convert,
    )
    convert.add_argument("name", help="open_clip's name, hf-hub:<owner/name> or local-dir:<folder>")
    convert.add_argument("--pretrained", default="", help="open_clip's tag of the weights")
    convert.add_argument("--out", type=Path, required=True, help="folder to write")

    fetch = command(
        "fetch",
        "get the tasks' copies from the hub, after saying how large they are; nothing else downloads data",
        "  mvlpt fetch elevater --data-root /data --dry-run       what there is to get\n"
        "  mvlpt fetch elevater --data-root /data --task mnist dtd\n"
        "  mvlpt fetch hub:owner/name@revision --data-root /data  any data set; then mvlpt init /data/name",
        _fetch,
    )
    fetch.add_argument("--dry-run", action="store_true", help="say what would be fetched")

    data = command(
        "check",
        "decode every image of the tasks; compare classes, counts, splits with what the suite says",
        "  mvlpt check elevater --data-root /data --out check.csv    goes on where it was interrupted\n"
        "  mvlpt check mine.yaml --study results/mine                are the data those it was made from?\n"
        "  mvlpt check /data/birds.zip --sheet birds.png             a task of your own, and its images",
        _check,
    )
    for made in (fetch, data):
        made.add_argument("config", help=_TASKS)
        made.add_argument("--task", nargs="+", default=[], help="which of its tasks (all)")
        made.add_argument("--data-root", help="the tasks' folder (as the configuration says)")
    data.add_argument("--workers", type=whole, help="processes (all cores)")
    data.add_argument("--out", type=Path, help="also write the table (.csv)")
    data.add_argument(
        "--cache", type=Path, help="remember decoded images in this file (beside --out: .cache)"
    )
    data.add_argument("--sheet", type=Path, help="write images as the backbone sees them (.png)")
    data.add_argument("--study", type=Path, help="compare with what this results/<study> prepared")

    check = command(
        "check-config",
        "check a configuration, its suite and groups; print it with every default filled in",
        "  mvlpt check-config mine.yaml",
        _check_config,
    )
    check.add_argument("config", help="the study's YAML file, or the name of a shipped one")

    plan_options.add_options(
        command(
            "plan",
            "what a study will cost and can find, before it runs; --register writes down what is claimed",
            "  mvlpt plan testbed --calibrate\n"
            "  mvlpt plan paper_vitb16 --rate 60 --device A100\n"
            "  mvlpt plan mine.yaml --pilot results/pilot\n"
            "  mvlpt plan mine.yaml --register --method text --gain absolute "
            "--similarity label_cosine --margin 2",
            plan_options.run,
        )
    )

    settings = command(
        "settings",
        "print every key of a configuration: what it means, its range, default, when to change it",
        "  mvlpt settings\n  mvlpt settings --markdown > docs/settings.md",
        _settings,
    )
    settings.add_argument("--markdown", action="store_true", help="as a Markdown table")

    command(
        "workflow-path",
        "print where the Snakefile lies, for `module` in a Snakefile of your own",
        "  mvlpt workflow-path",
        _workflow_path,
    )
    for name in ("init", "check", "recommend", "tune", "evaluate"):
        commands.choices[name].add_argument(
            "--label-column",
            default="",
            help="of tables or parquet files: which column holds the labels (where one alone can)",
        )
    for name in ("study", "benchmark", "screen", "plan", "check-config"):
        commands.choices[name].add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="change a key of the configuration (tuning.steps=100); may be given again",
        )
    return parser, list(commands.choices)


def _study(given: argparse.Namespace) -> int:
    from mvlpt.study import run_study

    options = ["--dry-run"] * given.dry_run + given.snakemake
    run_study(given.config, given.cores, given.profile, options, given.set)


def _init(given: argparse.Namespace) -> int:
    from mvlpt.init import write_study

    print(write_study(given.folders, given.out, given.label_column))
    return 0


def _benchmark(given: argparse.Namespace) -> int:
    from mvlpt.benchmark import run_benchmark

    return run_benchmark(
        given.name, given.config, given.cores, given.profile, given.dry_run, given.set
    )


def _screen(given: argparse.Namespace) -> int:
    from mvlpt.screen import run_screening

    options = (given.cores, given.profile, given.dry_run, given.set)
    return run_screening(given.config, given.top, given.out, *options)


def _groups(given: argparse.Namespace) -> int:
    from mvlpt.found import write_groups

    print(write_groups(given.study, given.method, given.shots, given.out))
    return 0


def _choices(given: argparse.Namespace) -> int:
    from mvlpt.found import write_choices

    print(write_choices(given.study, given.method, given.shots, given.top, given.out))
    return 0


def _recommend(given: argparse.Namespace) -> int:
    def say(line: str) -> None:
        print(f"{line} ...", file=sys.stderr, flush=True)

    say(f"reading {given.study or given.library}")  # before what is slow to import
    from mvlpt import sources
    from mvlpt.recommend import recommend_folder

    if given.study and given.backbone:
        raise InputError("--backbone is for --library: a study has its own")
    found = (
        partial(sources.of_study, given.study, given.shots)
        if given.study
        else partial(sources.of_library, given.library, given.shots, given.backbone, given.device)
    )
    options = (given.top, given.out, given.device, given.label_column, say)
    print(recommend_folder(found, given.task, *options))
    return 0


def _publish(given: argparse.Namespace) -> int:
    from mvlpt.publish import publish_study

    print(publish_study(given.study, given.out, given.license))
    return 0


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
        raise InputError(f"--gain is '{given.gain}': expected {_one_of(['auto', *GAINS])}")
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


def _convert(given: argparse.Namespace) -> int:
    from mvlpt_core.backbone.convert import convert_backbone
    from mvlpt_core.backbone.named import check_named, located_backbone

    found = located_backbone(given.name)
    for warning in check_named(found, given.pretrained):
        print(f"warning: {warning}", file=sys.stderr)
    convert_backbone(given.name, given.pretrained, given.out, found)
    print(f"backbone: {given.out}")
    return 0


def _fetch(given: argparse.Namespace) -> int:
    from mvlpt.fetch import fetch_tasks

    return 0 if fetch_tasks(given.config, given.task, given.data_root, given.dry_run) else 1


def _check(given: argparse.Namespace) -> int:
    from mvlpt.check import check_tasks_data
    from mvlpt_analysis.parallel import cores

    sound = check_tasks_data(
        given.config,
        given.task,
        given.data_root,
        given.workers or cores(),
        given.out,
        given.cache,
        given.study,
        given.sheet,
        given.label_column,
    )
    return 0 if sound else 1


def _check_config(given: argparse.Namespace) -> int:
    import yaml

    from mvlpt_workflow.configuration import check_study, read_configuration

    checked = check_study(read_configuration(given.config, given.set), given.config)
    print(f"# {checked.summary()}", *(f"# warning: {w}" for w in checked.warnings), sep="\n")
    values = checked.study.resolved()
    print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
    return 0


def _settings(given: argparse.Namespace) -> int:
    from mvlpt.settings import settings_table

    print(settings_table(given.markdown))
    return 0


def _workflow_path(given: argparse.Namespace) -> int:
    from mvlpt_workflow import SNAKEFILE

    print(SNAKEFILE)
    return 0
