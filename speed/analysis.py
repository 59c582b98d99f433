"""Seconds and memory of each stage of the analysis of a finished study, as the workflow runs them.

    python -m speed.analysis config/testbed.yaml

Runs the stages behind the score rows again, on a copy of results/<study>, and prints what Snakemake measured
of their processes as a Markdown table. Nothing is tuned.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd

from mvlpt.study import environment, study_command
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.settings import read_study
from mvlpt_workflow.configuration import find_configuration

AGAIN = ("gather", "similarity", "statistics", "groups", "figures", "report")


def measured(config: str, cores: str) -> pd.DataFrame:
    """Stage, seconds and peak MB of every analysis job. Raises `InputError` without a finished study."""
    path = Path(find_configuration(config)).resolve()
    at = Layout(f"results/{read_study(read_yaml(path), config).study}")
    if not Path(at.report).is_file():
        raise InputError(f"{at.report}: no such file: expected a finished study")
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(at.root, Path(scratch, at.root))
        # What Snakemake knows of the files goes along: without it all would be made anew.
        shutil.copytree(".snakemake/metadata", Path(scratch, ".snakemake/metadata"))
        for folder in ("config", "mvlpt_core"):  # what shipped configurations name
            Path(scratch, folder).symlink_to(Path(folder).resolve())
        command = study_command(str(path), cores, "default", ["--forcerun", *AGAIN, "--quiet"])
        subprocess.run(command, cwd=scratch, env=environment(), check=True)
        rows = []
        for stage in AGAIN:
            records = Path(scratch, at.benchmarks)
            for file in sorted([*records.glob(f"{stage}.tsv"), *records.glob(f"{stage}/*.tsv")]):
                record = pd.read_csv(file, sep="\t").iloc[-1]
                rows.append(
                    (stage, file.stem if file.stem != stage else "", record["s"], record["max_rss"])
                )
    return pd.DataFrame(rows, columns=["stage", "of", "seconds", "MB"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="the configuration of a finished study")
    parser.add_argument("--cores", default="2")
    given = parser.parse_args()
    table = measured(given.config, given.cores)
    table.loc[len(table)] = ["all", "", table["seconds"].sum(), table["MB"].max()]
    print("| stage | of | seconds | MB |\n| --- | --- | --- | --- |")
    for row in table.itertuples(index=False):
        print(f"| {row.stage} | {row.of} | {row.seconds:.1f} | {row.MB:.0f} |")


if __name__ == "__main__":
    main()
