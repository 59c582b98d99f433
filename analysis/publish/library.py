"""Where everything of a published study (a library) lies, and reading it back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import file_digest, read_yaml
from mvlpt_core.contract.settings import Study, read_study

from ..read.finished import SUMS
from ..read.pairs import read_frame

# The tables, and what a row of each is.
TABLES = {
    "gains": "a method, source, target and shots: gain over scratch with its interval and verdict",
    "scores": "a run and task scored: method, group, start, shots, seed, target",
    "curves": "an evaluation while a run was tuned",
    "similarity": "a measure, source, target and shots: how alike two tasks are (higher is more alike)",
    "tasks": "a task: size, chance level, zero-shot score, origin, licence",
    "prompts": "a prompt file: what it was tuned on and started from, its score, its digest",
}


@dataclass
class Library:
    """The paths of the library in the folder `root`."""

    root: Path

    @property
    def card(self) -> Path:
        return self.root / "README.md"

    @property
    def croissant(self) -> Path:
        return self.root / "croissant.json"

    @property
    def sums(self) -> Path:
        """SHA-256 of every other file, as `sha256sum -c` reads them."""
        return self.root / SUMS

    @property
    def config(self) -> Path:
        """The study's configuration with every default."""
        return self.root / "config.yaml"

    def table(self, name: str) -> Path:
        """One of `TABLES`."""
        return self.root / f"{name}.parquet"

    def prompt(self, method: str, group: str, start: str, shots: int, seed: int) -> Path:
        return self.root / f"prompts/{method}/shots{shots}/{group}/{start}/seed{seed}.safetensors"

    def test_features(self, task: str) -> Path:
        """What the backbone makes of a task's class names; no image of the test split is in it."""
        return self.root / f"features/{task}/classes.safetensors"

    def sample_features(self, task: str, shots: int, seed: int) -> Path:
        """What the backbone makes of a few-shot sample's images."""
        return self.root / f"features/{task}/shots{shots}_seed{seed}.safetensors"

    def files(self) -> list[Path]:
        """Every file but the sums, by name."""
        found = (path for path in self.root.rglob("*") if path.is_file() and path != self.sums)
        return sorted(found, key=self.name)

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


class OpenLibrary(Library):
    """A library that is there, whose files are compared with their sums when they are used."""

    def __init__(self, root: Path) -> None:
        """Raises `InputError` for a folder that is no library, or whose configuration was changed."""
        super().__init__(root)
        self.known = self._read_sums()
        self.check([self.config])
        self.study: Study = read_study(read_yaml(self.config), str(self.config))

    def check(self, paths: Iterable[Path]) -> None:
        """Raise `InputError` for the first file that is missing, not in the sums, or has another sum."""
        for path in paths:
            name = self.name(path)
            if not path.is_file():
                raise InputError(f"{path}: no such file: expected the library's: get it again")
            if self.known.get(name) != file_digest(path):
                raise InputError(
                    f"{path}: not the file that {self.sums.name} says: expected the library's: get it again"
                )

    def read(self, name: str) -> pd.DataFrame:
        """One of `TABLES`, checked."""
        self.check([self.table(name)])
        return read_frame(self.table(name))

    def _read_sums(self) -> dict[str, str]:
        try:
            lines = self.sums.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise InputError(
                f"{self.root}: no {self.sums.name} in it: expected a folder that `mvlpt publish` made"
            ) from None
        found = {}
        for number, line in enumerate(lines, 1):
            digest, gap, name = line.partition("  ")
            if len(digest) != 64 or not gap or not name:
                raise InputError(
                    f"{self.sums}, line {number}: expected a SHA-256, two blanks, a name"
                )
            found[name] = digest
        return found
