"""The command `mvlpt`: what was typed is read, run, and its mistakes told in one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from mvlpt.commands import data, library, prompts, studies, tables
from mvlpt.commands.parser import Commands, Parser, Run, one_of
from mvlpt_core import __version__
from mvlpt_core.contract.errors import InputError, lack_of_the_machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; a user's mistake is one sentence on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What follows "--" is for Snakemake and none of the parser's business.
    end = given.index("--") if "--" in given else len(given)
    own, passed = given[:end], given[end + 1 :]
    parser, commands = _parser()
    if not own:
        parser.print_help(sys.stderr)
        return 2
    first = [*commands.names, "--help", "--version"]
    if own[0] not in [*first, "-h"]:
        near = get_close_matches(own[0], first, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        parser.exit(2, f"error: unknown command '{own[0]}'{hint}: expected {one_of(first)}\n")
    settings = parser.parse_args(own)
    if passed and own[0] != "study":
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


def _parser() -> tuple[Parser, Commands]:
    parser = Parser(
        "mvlpt",
        description="Task transferability of vision-language prompt tuning.",
        examples="  mvlpt study config/testbed.yaml\n"
        "  mvlpt recommend --study results/testbed --task /data/birds\n"
        "  mvlpt study --help",
    )
    parser.add_argument("--version", action="version", version=f"mvlpt {__version__}")
    commands = Commands(parser)
    for theme in (studies, library, prompts, tables, data):
        theme.add(commands)
    return parser, commands
