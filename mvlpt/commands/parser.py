"""Parsers of the command line, and the options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mvlpt.commands.numbers import whole, whole0

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
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


class Commands:
    """The sub-commands of a parser."""

    def __init__(self, parser: Parser) -> None:
        self._made = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(self, name: str, help: str, examples: str, run: Run) -> argparse.ArgumentParser:
        """A sub-command's parser; `run` takes what it parsed and returns an exit code."""
        made = self._made.add_parser(name, help=help, description=help, examples=examples)
        made.set_defaults(run=run)
        return made

    @property
    def names(self) -> list[str]:
        return list(self._made.choices)


def one_of(names: Sequence[str]) -> str:
    return f"one of {', '.join(names)}"


def study_options(command: argparse.ArgumentParser) -> None:
    """A study's configuration, and changes of it."""
    command.add_argument("config", help="the study's YAML file, or the name of a shipped one")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the configuration (tuning.steps=100); may be given again",
    )


def label_option(command: argparse.ArgumentParser) -> None:
    """Where a table keeps its labels."""
    command.add_argument(
        "--label-column",
        default="",
        help="of tables or parquet files: which column holds the labels (where one alone can)",
    )


def shots_option(command: argparse.ArgumentParser) -> None:
    """Which of a study's numbers of shots is meant."""
    command.add_argument(
        "--shots", type=whole, help="which of the shots that the study analysed (the first)"
    )


def draws_options(command: argparse.ArgumentParser) -> None:
    """Of tests by permutation."""
    command.add_argument("--permutations", type=whole, default=10_000, help="draws of each test")
    command.add_argument("--seed", type=whole0, default=0, help="seed of all draws")


def top_option(command: argparse.ArgumentParser, default: int, what: str) -> None:
    """How many of a ranking."""
    command.add_argument("--top", type=whole, default=default, help=f"sources {what} ({default})")


def table_option(command: argparse.ArgumentParser) -> None:
    """Where a printed ranking is kept whole."""
    command.add_argument("--out", type=Path, help="also write the whole table (.csv, .parquet)")
