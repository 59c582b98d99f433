"""A study's configuration with all that it names: found, checked and put together before any job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.runs import Pair, expand
from mvlpt_core.contract.settings import Study, read_study
from mvlpt_core.contract.suite import TaskRow, read_groups, read_suite
from mvlpt_core.tasks.check import check_tasks
from mvlpt_workflow import located


@dataclass(frozen=True)
class Checked:
    """Settings; suite rows by task; members of each named group; the (group, start) pairs."""

    study: Study
    suite: dict[str, TaskRow]
    groups: dict[str, tuple[str, ...]]
    pairs: list[Pair]

    def summary(self) -> str:
        """How large the study is, in words."""
        axes = (
            counted(len(self.pairs), "pair") + " of group and start",
            counted(len(self.study.methods.by_name()), "method"),
            f"{len(self.study.shots)} shots",
            counted(len(self.study.seeds), "seed"),
        )
        runs = len(self.pairs) * len(self.study.methods.by_name())
        runs *= len(self.study.shots) * len(self.study.seeds)
        return f"Study {self.study.study}: {counted(runs, 'run')} ({' x '.join(axes)})"


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 run, 1,200 runs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def find_configuration(name: str) -> str:
    """The file that `name` means: a path, or a shipped configuration by path or by name.

    Raises `InputError` where there is none.
    """
    for path in (located(name), located(f"config/{name}.yaml")):
        if Path(path).is_file():
            return path
    shipped = Path(located("config/testbed.yaml")).parent.glob("*.yaml")
    known = ", ".join(sorted(path.stem for path in shipped))
    raise InputError(f"{name}: no such file: expected a configuration in YAML, or one of {known}")


def check_study(config: Mapping[str, Any], where: str) -> Checked:
    """Settings, tasks, groups and runs of a configuration; paths as `located` finds them.

    `where` names the configuration in messages. Raises `InputError`, one sentence, for the first
    mistake in keys and values, suite, groups, runs or the tasks' data.
    """
    study = read_study(config, where=where)
    rows = read_suite(located(study.suite))
    tasks = [row.task for row in rows]
    groups = read_groups(located(study.groups), tasks) if study.groups else {}
    pairs = expand(study.runs, tasks, groups)
    check_tasks(rows, study.data_root)
    return Checked(study, {row.task: row for row in rows}, groups, pairs)
