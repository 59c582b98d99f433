"""Getting the copies of tasks that the hub holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.hub import (
    DEFAULT_REVISION,
    Copy,
    fetch_copy,
    find_copy,
    is_fetched,
    named_copy,
)
from mvlpt_core.tasks.open import find_data_root
from mvlpt_workflow.configuration import counted, find_rows

HUB = "hub:"


def fetch_tasks(name: str, tasks: Sequence[str], data_root: str | None, dry_run: bool) -> bool:
    """Fetch the named tasks of a configuration or suite, all of them if none is named, or one data set of
    the hub (`hub:owner/name@revision`), saying first what there is to get; whether all that were asked
    for are there.

    Raises `InputError` for a mistake in what is asked for; what is wrong with a task's copy is one
    sentence on stderr, and the others are fetched.
    """
    if name.startswith(HUB):
        rows, root = [named_copy(name.removeprefix(HUB))], None
    else:
        rows, root = find_rows(name, tasks)
    rows = [row for row in rows if row.kind != "testbed"]
    if not rows:
        print("nothing to fetch: drawn tasks come with the code")
        return True
    folder = find_data_root(data_root or root, rows[0].task)
    copies, complete = [], True
    for row in rows:
        try:
            copies.append(find_copy(row))
        except InputError as error:
            # A folder that the user brought is as good.
            there = not row.repo and (folder / row.location).is_dir()
            complete &= there
            print(f"{row.task}: is there" if there else f"error: {error}", file=sys.stderr)
    left = [copy for copy in copies if not is_fetched(copy, folder / copy.row.location)]
    for copy in copies:
        print(_line(copy, fetched=copy not in left))
    known = [copy.size for copy in left if copy.size is not None]
    more = f", {counted(len(left) - len(known), 'task')} of unknown size" * (len(known) < len(left))
    print(f"to get: {_size(sum(known))}{more}, into {folder}", flush=True)
    for copy in [] if dry_run else left:
        try:
            fetch_copy(copy, folder / copy.row.location)
            print(f"{copy.row.task}: fetched to {folder / copy.row.location}", flush=True)
        except InputError as error:
            complete = False
            print(f"error: {error}", file=sys.stderr)
    return complete


def _line(copy: Copy, fetched: bool) -> str:
    row = copy.row
    size = "of unknown size" if copy.size is None else _size(copy.size)
    files = f"{counted(len(copy.files), 'file')}, {size}"
    revision = row.revision or f"{DEFAULT_REVISION}, the suite pins none"
    state = "is there already" if fetched else files
    return f"{row.task}: {row.repo} at {copy.commit} ({revision}): {state}"


def _size(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
