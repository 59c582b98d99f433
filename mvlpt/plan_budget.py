"""The part of a study's grid that fits into some hours, as the fraction to write into its configuration.

A budget is no setting: which runs a study has must not depend on the machine that asks. What is written
down is the fraction, which means the same runs everywhere.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from mvlpt.plan import Cost, measured, study_cost, study_counter, time_text
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.settings import TRANSFER
from mvlpt_core.planning.forecast import Machine
from mvlpt_workflow.configuration import Checked, check_study, counted, read_configuration

_STEPS = 100  # fractions are whole hundredths
_GRIDS = {"tasks", "sources"}  # starts whose pairs are a grid of tasks


class Budget:
    """Forecasts of a study at fractions of its lists of runs that start from tasks."""

    def __init__(self, config: str, changes: Sequence[str], cores: int) -> None:
        self.config, self.cores = config, cores
        self.values = read_configuration(config, changes)
        self.values.setdefault("runs", copy.deepcopy(TRANSFER))
        self.whole = self._checked(self.values)
        self.lists = {
            name: own
            for name, own in self.whole.study.runs.items()
            if any(_GRIDS & {*pattern.start} for pattern in own)
        }
        if not self.lists:
            raise InputError(
                f"{config} has no list of runs that start from tasks: expected one, for a budget says which "
                "part of its pairs to measure"
            )

    def _checked(self, values: dict[str, Any]) -> Checked:
        return check_study(values, self.config, open_tasks=False)

    def machine(self, rate: float | None, device: str | None) -> Machine:
        """That of a `rate` in TFLOP/s, or this one, timed."""
        if rate is not None:
            return Machine.of_rate(1e12 * rate, self.whole.study.methods.by_name())
        return measured(self.whole, study_counter(self.whole), device or self.whole.study.device)

    def runs(self, name: str, hundredths: int) -> list[dict[str, Any]]:
        """A list of runs with a fraction, as its configuration writes it."""
        found = []
        for pattern, given in zip(self.lists[name], self.values["runs"][name], strict=True):
            fraction = {"fraction": hundredths / _STEPS} if hundredths < _STEPS else {}
            kept = {key: value for key, value in given.items() if key != "fraction"}
            found.append(kept | fraction if _GRIDS & {*pattern.start} else given)
        return found

    def seconds(self, machine: Machine, hundredths: int) -> float:
        """How long the study takes with that fraction of its grids."""
        runs = self.values["runs"] | {name: self.runs(name, hundredths) for name in self.lists}
        checked = self._checked(self.values | {"runs": runs})
        cost: Cost = study_cost(checked, study_counter(checked), machine)
        return cost.taken(self.cores, checked.study.threads, machine.on_gpu)

    def fitting(self, machine: Machine, hours: float) -> tuple[int, float]:
        """The largest fraction, in hundredths, that fits, and its seconds. Raises `InputError` where the
        smallest does not."""
        most = 3600 * hours
        least = self.seconds(machine, 1)
        if least > most:
            raise InputError(
                f"--budget is {hours:g} hours: expected at least {time_text(least)}, which the smallest part "
                "of the grid takes with all that is measured in any case"
            )
        low, high, found = 1, _STEPS + 1, least
        while high - low > 1:
            middle = (low + high) // 2
            seconds = self.seconds(machine, middle)
            if seconds <= most:
                low, found = middle, seconds
            else:
                high = middle
        return low, found


def budget_lines(
    config: str,
    hours: float,
    rate: float | None,
    device: str | None,
    cores: int,
    changes: Sequence[str] = (),
) -> Iterator[str]:
    """What to write so that the study takes `hours` at most, in lines."""
    budget = Budget(config, changes, cores)
    machine = budget.machine(rate, device)
    hundredths, seconds = budget.fitting(machine, hours)
    where = "the GPU and cores" if machine.on_gpu else counted(cores, "core")
    whole = budget.seconds(machine, _STEPS)
    yield f"budget     {hours:g} h on {where}; the whole grid takes {time_text(whole)}"
    if hundredths == _STEPS:
        yield "fraction   1: all of it fits"
    else:
        yield f"fraction   {hundredths / _STEPS:g}, which takes {time_text(seconds)}; in the configuration"
        runs = {name: budget.runs(name, hundredths) for name in budget.lists}
        for line in yaml.safe_dump(
            {"runs": runs}, sort_keys=False, default_flow_style=None
        ).splitlines():
            yield f"  {line}"
        yield "or beside the command"
        for name, own in runs.items():
            flow = yaml.safe_dump(
                own, sort_keys=False, default_flow_style=True, width=10_000
            ).strip()
            yield f"  --set 'runs.{name}={flow}'"
