"""Running and planning the workflow from tests."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import mvlpt_workflow


def command(folder: Path, *arguments: str) -> list[str]:
    """The command line of Snakemake on the workflow, with results below `folder`."""
    workflow = Path(mvlpt_workflow.SNAKEFILE)
    return [
        sys.executable,
        "-m",
        "snakemake",
        *("--snakefile", str(workflow)),
        *("--directory", str(folder)),
        *("--cores", "2", "--nocolor"),
        *("--workflow-profile", str(workflow.parent / "profiles/default")),
        *arguments,
    ]


def run(arguments: list[str]) -> str:
    """Run to the end; what Snakemake said. A failure shows it."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def job_counts(plan: str) -> dict[str, int]:
    """{rule: number of jobs} of the first job table in Snakemake's words; empty without one."""
    table = re.search(r"^job +count\n[- ]+\n((?:\S+ +\d+\n)+)", plan, re.MULTILINE)
    return {name: int(n) for name, n in map(str.split, table[1].splitlines())} if table else {}


def plan(folder: Path, *arguments: str) -> dict[str, int]:
    """{rule: number of jobs} that a run would do now, without `all`; nothing to do: empty.

    Planned in a fork of this process, where Snakemake and the packages are imported already.
    """
    import pandas  # noqa: F401 (of Snakemake's; imported here once and not in every fork)
    from snakemake.cli import main

    import mvlpt_workflow.configuration  # noqa: F401

    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:  # pragma: no cover (another process)
            code = 1
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                # pytest has put its own streams in their place.
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                main([*command(folder, *arguments)[3:], "--dry-run"])
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
                if isinstance(end.code, str):
                    print(end.code)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code or 0)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        text = said.read().decode()
    assert status == 0, text
    counts = job_counts(text)
    assert counts or "Nothing to be done" in text, text
    counts.pop("all", None)
    counts.pop("total", None)
    return counts
