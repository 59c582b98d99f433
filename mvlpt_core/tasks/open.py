"""Tasks: labels and images from the built-in testbed or from a folder of one of the known kinds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.metrics import check_metric
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.contract.templates import read_templates
from mvlpt_core.tasks import coop, drawn, folder, memes, npz, parquet, table, webdataset
from mvlpt_core.tasks.archive import is_archive, told_of, unpacked
from mvlpt_core.tasks.base import DEFAULT_TEMPLATES, TaskSource
from mvlpt_core.tasks.decode import Decoding
from mvlpt_core.tasks.files import content_root
from mvlpt_core.tasks.names import check_visible

# With splits of their own.
READERS = {
    "wds": webdataset.open_webdataset,
    "coop": coop.open_coop,
    "hateful_memes": memes.open_memes,
}
# Of data in any parts; a reader is told where they come from and what is to be the test.
PARTED = {"folder": folder.open_folder, "npz": npz.open_npz}
# Of those with columns, too; a reader is also told which holds the labels.
COLUMNED = {"table": table.open_table, "parquet": parquet.open_parquet}
DATA_ROOT_VARIABLE = "MVLPT_DATA_ROOT"


def find_data_root(data_root: str | Path | None, task: str) -> Path:
    """The folder below which tasks lie: the setting, or where it is empty the environment's.

    Raises `InputError`, naming `task`, setting and variable, if neither is set or the folder is
    not there.
    """
    value = data_root or os.environ.get(DATA_ROOT_VARIABLE)
    if not value:
        raise InputError(
            f"task {task} is read from disk, but neither the setting data_root nor the environment "
            f"variable {DATA_ROOT_VARIABLE} names the folder that holds it"
        )
    root = Path(value).expanduser()
    if not root.is_dir():
        raise InputError(
            f"data root {root} is not a folder: expected the setting data_root, or the environment "
            f"variable {DATA_ROOT_VARIABLE}, to name the folder that holds task {task}"
        )
    return root


def open_source(
    task: str,
    kind: str,
    location: str,
    data_root: str | Path | None = None,
    label_column: str = "",
    orientation: str = "",
    grey_bits: int | None = None,
    test_split: str = "",
) -> TaskSource:
    """Open a task's data; no image is decoded, and no split read, before it is asked.

    The last four are the suite's. An archive is unpacked once, whatever the
    kind of data in it. Raises `InputError` for data that is absent or malformed.
    """
    if label_column and kind not in COLUMNED:
        raise InputError(
            f"label_column {label_column!r} of task {task}: kind {kind} has no columns of labels: expected "
            "nothing"
        )
    if test_split and kind not in PARTED and kind not in COLUMNED:
        raise InputError(
            f"test {test_split!r} of task {task}: kind {kind} has a test split of its own: expected nothing"
        )
    if kind == "testbed":
        return drawn.open_drawn(task, location)
    home = find_data_root(data_root, task) / location
    path = content_root(unpacked(home) if is_archive(home) else home)
    with told_of(home, path):
        if kind in COLUMNED:
            source = COLUMNED[kind](task, path, home, test_split, label_column)
        elif kind in PARTED:
            source = PARTED[kind](task, path, home, test_split)
        else:
            source = READERS[kind](task, path)
    return replace(source, decoding=Decoding(orientation == "exif", grey_bits or 0))


def open_data(row: TaskRow, data_root: str | Path | None = None) -> TaskSource:
    """Open the data of a suite's row as they are: with their own names and templates, whatever is scored."""
    return open_source(row.task, row.kind, row.location, data_root, **row.reading)


def open_task(row: TaskRow, data_root: str | Path | None = None) -> TaskSource:
    """Open the task of a suite's row, with the templates, class names and the metric that it names.

    Templates are the row's own, else the data's, else "a photo of a {c}."; class names the row's, else the
    data's. Raises `InputError` as `open_source`, for templates in an unknown form, names that are not one
    a class, and for a metric that does not fit the labels.
    """
    source = open_data(row, data_root)
    own = read_templates("\n".join(source.templates), f"task {row.task}")
    templates = row.templates or own or DEFAULT_TEMPLATES
    names = row.names or source.classnames
    if len(names) != len(source.classnames):
        raise InputError(
            f"task {row.task} has {len(names)} names in the suite and {len(source.classnames)} classes: "
            f"expected one name a class, in the order of {', '.join(source.classnames[:3])}, ..."
        )
    check_visible(names, f"task {row.task}")
    check_metric(row.metric, len(source.classnames), source.multilabel, f"task {row.task}")
    return replace(source, classnames=names, templates=templates)
