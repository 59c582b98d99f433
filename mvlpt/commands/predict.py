"""`mvlpt predict`: classes of images by a prompt; what it does is imported when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mvlpt.commands.numbers import whole
from mvlpt.commands.parser import Commands
from mvlpt_core.contract.errors import InputError


def add(commands: Commands) -> argparse.ArgumentParser:
    """`mvlpt predict`, but for the options that all uses of a prompt have."""
    predict = commands.add(
        "predict",
        "name the classes of images by a tuned prompt",
        "  mvlpt predict --prompt birds.safetensors IMAGES --top 3 --out found.csv",
        _run,
    )
    predict.add_argument("images", type=Path, nargs="+", help="image files, or folders of them")
    predict.add_argument("--top", type=whole, default=1, help="classes an image (1)")
    predict.add_argument("--of", help="whose classes, where several tasks were tuned together")
    predict.add_argument("--out", type=Path, help="write .csv or .parquet (CSV to the terminal)")
    return predict


def _run(given: argparse.Namespace) -> int:
    """Predict, and write a row an image and class: file, rank, class, probability."""
    files = _files(given.images)
    print(f"reading {given.prompt}", file=sys.stderr, flush=True)
    import pandas as pd

    from mvlpt_analysis.read.pairs import write_frame
    from mvlpt_core.use.model import load

    if given.out is not None and given.out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {given.out}: expected a name that ends in .csv or .parquet")
    model = load(given.prompt, given.backbone, task=given.of, device=given.device)
    table = pd.DataFrame(model.predict(files, given.top))
    if not model.calibrated:
        note = "note: the probabilities are not calibrated: that takes 20 held-out images and mvlpt tune"
        print(note, file=sys.stderr)
    if given.out is None:
        print(table.to_csv(index=False, float_format="%.6f"), end="")
    else:
        write_frame(table, given.out)
        print(f"{len(files)} images: {given.out}")
    return 0


def _files(paths: Sequence[Path]) -> list[Path]:
    """Image files, those below folders among them, in order; what is passed over there is said."""
    from mvlpt_core.tasks.files import EXTENSIONS, images_in, told

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        below, passed = images_in(path)
        if not below:
            raise InputError(
                f"folder {path} holds no image: expected {', '.join(EXTENSIONS)} files"
            )
        found += below
        if passed:
            print(f"note: {path}: {told(passed)}", file=sys.stderr)
    return found
