"""The plan of a study that was registered before its first run: one file that says when and what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, write_atomic
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.provenance import config_digest

GAINS = {"absolute": "gain", "relative": "relative_error_reduction", "ceiling": "ceiling_gain"}
# Settings that say where and how fast, and change no result.
MACHINE = (
    *("device", "threads", "pack", "tasks_per_job", "packs_per_device", "gpu_step", "memory_gb"),
    *("mem_mb", "runtime", "keep_prompts", "data_root"),
)
_OWN = "digest"


@dataclass(frozen=True)
class Registered:
    """What is claimed beforehand: one method, one gain (a key of `GAINS`), one similarity, the margin in
    points below which a gain counts as none, the seeds and shots; `configuration` is
    `study_digest`, `date` the day in ISO form (UTC)."""

    study: str
    method: str
    gain: str
    similarity: str
    margin: float
    seeds: tuple[int, ...]
    shots: tuple[int, ...]
    configuration: str
    date: str

    @property
    def digest(self) -> str:
        """Digest of the plan: what to quote where it is announced."""
        return config_digest({**asdict(self), "seeds": [*self.seeds], "shots": [*self.shots]})


def study_digest(
    resolved: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    pairs: Mapping[int, Sequence[tuple[str, str]]],
    behind: Mapping[str, Sequence[str]],
) -> str:
    """Digest of all that a study's results depend on: settings, rows of the suite, list of runs, and what
    stands `behind` their names: the members of each group, the sources of each mean."""
    settings = {key: value for key, value in resolved.items() if key not in MACHINE}
    runs = {str(shots): [list(pair) for pair in some] for shots, some in pairs.items()}
    found = {"settings": settings, "tasks": [*tasks], "runs": runs}
    if behind:
        found["behind"] = {name: list(parts) for name, parts in behind.items()}
    return config_digest(found)


def register(plan: Registered, root: str | Path) -> Path:
    """Write the plan below the study's folder `root`, once and before the first run.

    Raises `InputError` where a plan or a run is there already.
    """
    at = Layout(str(root))
    path = Path(at.plan)
    if path.exists():
        raise InputError(
            f"{path}: a plan is registered already: expected none, for a registered plan stays"
        )
    ran = next(Path(root, "runs").rglob("*.parquet"), None)
    if ran is not None:
        raise InputError(
            f"{ran}: the study has runs already: expected none, for a plan is registered before them"
        )
    write_atomic(path, json.dumps({**asdict(plan), _OWN: plan.digest}, indent=1) + "\n")
    return path


def read_registered(path: str | Path) -> tuple[Registered, bool]:
    """The plan in a file, and whether it still is what was written (by its own digest).

    Raises `InputError`, naming the file, for one that is no plan.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        digest = values.pop(_OWN)
        for name in ("seeds", "shots"):
            values[name] = tuple(map(int, values[name]))
        plan = Registered(**values)
        if plan.gain not in GAINS or not isinstance(plan.margin, int | float):
            raise ValueError(f"gain is {plan.gain!r}, margin {plan.margin!r}")
        return plan, digest == plan.digest
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a registered plan ({first_line(error)}): expected what mvlpt plan "
            "--register wrote"
        ) from None
