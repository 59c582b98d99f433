"""A finished study: its folder, its settings, and one of its values of shots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.settings import Study, read_study


@dataclass(frozen=True)
class Finished:
    """Where everything lies, what was set, and the shots that are looked at."""

    at: Layout
    study: Study
    shots: int


def open_finished(folder: Path, shots: int | None) -> Finished:
    """The study in `folder` (results/<study>), by default at its first value of shots.

    Raises `InputError` where there is none, and for shots that it does not have.
    """
    at = Layout(str(folder))
    if (Path(folder) / "SHA256SUMS").is_file():
        raise InputError(
            f"{folder}: what `mvlpt publish` made: expected a study (`mvlpt recommend --library` reads it)"
        )
    if not Path(at.config).is_file():
        raise InputError(f"{at.config}: no such file: expected the folder of a finished study")
    study = read_study(read_yaml(at.config), where=at.config)
    return Finished(at, study, chosen_shots(study, shots))


def chosen_shots(study: Study, shots: int | None) -> int:
    """`shots`, checked to be one of the study's; without any the first."""
    shots = study.shots[0] if shots is None else shots
    if shots not in study.shots:
        raise InputError(f"--shots is {shots}: expected one of {', '.join(map(str, study.shots))}")
    return shots


def check_method(study: Study, method: str) -> str:
    """The method, checked to be one of the study's."""
    known = study.methods.by_name()
    if method not in known:
        raise InputError(f"--method is '{method}': expected one of {', '.join(known)}")
    return method
