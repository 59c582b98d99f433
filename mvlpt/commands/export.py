"""`mvlpt export`: a prompt for another library; what it does is imported when it is called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mvlpt.commands.parser import Commands


def add(commands: Commands) -> argparse.ArgumentParser:
    """`mvlpt export`, but for the options that all uses of a prompt have."""
    export = commands.add(
        "export",
        "write a prompt for open_clip or transformers",
        "  mvlpt export --prompt birds.safetensors --to open_clip",
        _run,
    )
    export.add_argument("--to", required=True, help="open_clip or transformers")
    export.add_argument("--of", help="whose classes, where several tasks were tuned together")
    export.add_argument(
        "--out", type=Path, help="the tensor file to write (<prompt>_<to>.safetensors here)"
    )
    return export


def _run(given: argparse.Namespace) -> int:
    """Export, and say which files were written."""
    print(f"reading {given.prompt}", file=sys.stderr, flush=True)
    from mvlpt_core.use.export import export
    from mvlpt_core.use.model import load

    out = given.out or Path(f"{given.prompt.stem}_{given.to}.safetensors")
    # In full precision, whatever it was tuned in: what is written is compared with it.
    options = {"device": given.device, "precision": "fp32"}
    model = load(given.prompt, given.backbone, task=given.of, **options)
    print(*export(model, given.to, out), sep="\n")
    return 0
