"""A finished study: its folder, its settings, and one of its values of shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.settings import Study, read_study

SUMS = "SHA256SUMS"  # of a folder that was published


@dataclass(frozen=True)
class Finished:
    """Where everything lies, what was set, the shots that are looked at, and all that were analysed: those
    at which tasks start from tasks."""

    at: Layout
    study: Study
    shots: int
    analysed: tuple[int, ...]


def open_finished(folder: Path, shots: int | None) -> Finished:
    """The study in `folder` (results/<study>), by default at the first value of shots that it analysed.

    Raises `InputError` where there is none, and for shots that it did not analyse.
    """
    at = Layout(str(folder))
    if (Path(folder) / SUMS).is_file():
        raise InputError(
            f"{folder}: what `mvlpt publish` made: expected a study (`mvlpt recommend --library` reads it)"
        )
    if not Path(at.config).is_file():
        raise InputError(f"{at.config}: no such file: expected the folder of a finished study")
    study = read_study(read_yaml(at.config), where=at.config)
    # By folder, not by file: a table that was lost is for its reader to miss.
    made = [k for k in study.shots if Path(at.table(k, "gains")).parent.is_dir()]
    analysed = tuple(made or study.shots)
    return Finished(at, study, chosen_shots(analysed, shots), analysed)


def chosen_shots(analysed: Sequence[int], shots: int | None) -> int:
    """`shots`, checked to be one of those that a study analysed; without any the first."""
    shots = analysed[0] if shots is None else shots
    if shots not in analysed:
        raise InputError(
            f"--shots is {shots}: expected one of {', '.join(map(str, analysed))}, which the study analysed"
        )
    return shots


def check_method(study: Study, method: str) -> str:
    """The method, checked to be one of the study's."""
    known = study.methods.by_name()
    if method not in known:
        raise InputError(f"--method is '{method}': expected one of {', '.join(known)}")
    return method
