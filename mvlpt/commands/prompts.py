"""Prompts: tuned for one task, used, and exported."""

from __future__ import annotations

from pathlib import Path

from mvlpt.commands import evaluate, export, predict, tune
from mvlpt.commands.parser import Commands


def add(commands: Commands) -> None:
    """tune, predict, evaluate, export."""
    tune.add(commands)
    for made in (predict.add(commands), evaluate.add(commands), export.add(commands)):
        made.add_argument("--prompt", type=Path, required=True, help="a prompt file")
        made.add_argument(
            "--backbone", help="its backbone, converted (found by the prompt's place or name)"
        )
        made.add_argument("--device", default="auto", help="where to compute (auto)")
