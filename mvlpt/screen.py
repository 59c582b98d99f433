"""Pairs ranked before any transfer run: the runs of the sources, a pass at each prompt, and the ranking."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from mvlpt.study import environment, study_command
from mvlpt_analysis.choice.screen import screen_table, share_of_runs
from mvlpt_analysis.read.pairs import write_frame
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.rows import SCREEN, read_rows
from mvlpt_workflow.configuration import Checked, check_study, read_configuration
from mvlpt_workflow.jobs import analysed, screened

_ON = "screen=true"


def run_screening(
    config: str,
    top: int,
    out: Path | None,
    cores: str | None,
    profile: str,
    dry_run: bool,
    changes: Sequence[str] = (),
) -> int:
    """Run what the ranking of all pairs needs, print each target's best `top` sources, and write the whole
    table to `out`; the exit code is Snakemake's.

    Raises `InputError` for whatever is wrong with the configuration, and where it tunes no task alone.
    """
    changes = [*changes, _ON]
    checked = check_study(read_configuration(config, changes), config)
    shots = [k for k in analysed(checked) if screened(checked, k)]
    if not shots:
        raise InputError(
            f"{config}: its runs tune no task alone from random: expected some under the key 'runs'"
        )
    options = [*(["--dry-run"] * dry_run), "--", "screen"]  # a rule's name is a target
    done = subprocess.run(
        study_command(config, cores, profile, options, changes), env=environment(), check=False
    )
    if done.returncode == 0 and not dry_run:
        tables = {k: screen_table(_rows(checked, k)) for k in shots}
        for k, table in tables.items():
            for lines in _shown(table, top, f"{k} shots"):
                print(lines)
        if out is not None:
            parts = [table.assign(shots=k) for k, table in tables.items()]
            write_frame(pd.concat(parts, ignore_index=True), out)
    return done.returncode


def _rows(checked: Checked, shots: int) -> pd.DataFrame:
    at, study = Layout(f"results/{checked.study.study}"), checked.study
    paths = [
        at.screen(method, task, shots, seed)
        for method in study.methods.by_name()
        for task in checked.suite
        for seed in study.seeds
    ]
    return read_rows(paths, SCREEN).to_pandas()


def _shown(table: pd.DataFrame, top: int, shots: str) -> Iterator[str]:
    """A heading a method, and a line a target: its best sources with the loss at their prompts."""
    for method, own in table.groupby("method", sort=False):
        ranked = own[own["rank"].notna()].sort_values("rank", kind="stable")
        yield (
            f"\n{method}, {shots}: {len(ranked):,} pairs ranked with {100 * share_of_runs(own):.1f} % of the "
            "operations of tuning their runs (scoring left out)\n"
            "  target: sources, and the loss of the target's sample at their prompts"
        )
        width = max(map(len, own["target"]))
        for target in own["target"].unique():
            best = ranked[ranked["target"] == target].head(top)
            listed = [f"{s} {v:.2f}" for s, v in zip(best["source"], best["loss"], strict=True)]
            begin = own.loc[own["target"] == target, "start_loss"].iloc[0]
            yield f"  {target:{width}}  {', '.join(listed)} (random start {begin:.2f})"
