"""What a finished study suggests, as tables that another configuration takes: groups to tune together, and
the sources to take the mean of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mvlpt_analysis.choice.choices import CHOICE_COLUMNS, chosen_sources
from mvlpt_analysis.read.finished import Finished, check_method, open_finished
from mvlpt_analysis.read.pairs import read_frame
from mvlpt_analysis.read.study import of_method, read_tables
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import write_atomic
from mvlpt_core.contract.provenance import config_digest
from mvlpt_core.contract.suite import FOUND
from mvlpt_workflow.configuration import counted


def write_groups(folder: Path, method: str, shots: int | None, out: Path) -> str:
    """Write the groups that the study in `folder` found for `method` (TSV: group, task, and where they come
    from), those of two tasks and more; what was written, in words.

    Raises `InputError` for a study that is not finished, and where no two tasks gain from one another.
    """
    found = open_finished(folder, shots)
    table = read_tables({"groups": Path(found.at.table(found.shots, "groups"))})["groups"]
    table = table[(table["method"] == check_method(found.study, method)) & (table["size"] > 1)]
    if table.empty:
        raise InputError(
            f"{found.at.table(found.shots, 'groups')}: no group of two tasks or more for {method}: "
            "expected one (no two tasks promise to gain from being tuned together)"
        )
    number = table["group"].rank(method="dense").astype(int).astype(str)
    rows = pd.DataFrame({"group": f"{method}_" + number, "task": table["task"]})
    _write(rows, found, method, out)
    return f"{counted(rows['group'].nunique(), 'group')} of {len(rows)} tasks: {out}"


def write_choices(folder: Path, method: str, shots: int | None, top: int, out: Path) -> str:
    """Write the `top` sources that the study in `folder` recommends for each of its tasks (TSV: task, source,
    and where they come from), by what it knows without the task; what was written, in words.

    Raises `InputError` for a study that is not finished, or without gains between its tasks.
    """
    found = open_finished(folder, shots)
    check_method(found.study, method)
    gains = read_tables({"gains": Path(found.at.table(found.shots, "gains"))})["gains"]
    similarity = read_frame(found.at.similarity(found.shots))
    known = set(gains["target"])
    gains = gains[(gains["method"] == method) & gains["source"].isin(known)]
    if gains.empty:
        raise InputError(f"{folder}: no gains of {method} between tasks: expected a transfer study")
    rows = chosen_sources(gains, of_method(similarity, method), top)
    _write(rows[list(CHOICE_COLUMNS)], found, method, out)
    # There may be fewer than were asked for.
    most = int(rows.groupby("task").size().max())
    return f"{counted(most, 'source')} for each of {counted(rows['task'].nunique(), 'task')}: {out}"


def _write(rows: pd.DataFrame, found: Finished, method: str, out: Path) -> None:
    seeds = ",".join(map(str, found.study.seeds))
    origin = (method, found.study.study, config_digest(found.study.resolved()), seeds)
    table = rows.assign(**dict(zip(FOUND, origin, strict=True)))
    write_atomic(out, table.to_csv(sep="\t", index=False, lineterminator="\n"))
