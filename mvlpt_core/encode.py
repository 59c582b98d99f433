"""Encode a task that was not in a study with the study's backbone, for `analysis recommend`.

    python -m mvlpt_core.encode --study results/testbed --task /data/birds --out birds.safetensors

The task is a WebDataset folder or an image folder (train/<class>/*.jpg, test/<class>/*.jpg). Nothing is
tuned: its images and class names pass the frozen backbone once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.features import extract
from mvlpt_core.tasks.prepare import prepare_task


def describe_folder(folder: Path) -> TaskRow:
    """A suite row for a folder, its kind and metric read off what is in it."""
    if not folder.is_dir():
        raise InputError(f"task folder '{folder}' is not there")
    webdataset = (folder / "train" / "nshards.txt").exists()
    metric = "map_11point" if (folder / "dataset_type.txt").exists() else "accuracy"
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in folder.resolve().name.lower())
    return TaskRow(name.lstrip("_-") or "task", "wds" if webdataset else "folder", ".", metric)


def encode_folder(study: Path, folder: Path, out: Path, device: str = "auto") -> None:
    """Write the features of `folder` as a study's features file; the study's shots and first seed.

    Raises `InputError` for a folder or a study that cannot be used.
    """
    row = describe_folder(folder)
    if not (study / "config.yaml").is_file():
        raise InputError(f"'{study}/config.yaml' is not there; expected a study's folder")
    config = yaml.safe_load((study / "config.yaml").read_text(encoding="utf-8"))
    backbone = study / "backbone"
    if not (backbone / "backbone.json").is_file():
        raise InputError(f"'{backbone}/backbone.json' is not there; run the study first")
    preprocess = json.loads((backbone / "backbone.json").read_text(encoding="utf-8"))["preprocess"]
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "task.safetensors"
        prepare_task(
            row,
            folder,
            preprocess,
            config["shots"],
            config["seeds"][:1],
            config["val_share"],
            config["max_test"],
            prepared,
            "use_all",
        )
        extract(
            backbone,
            [prepared],
            [out],
            [Path(scratch) / "zero_shot.parquet"],
            device=device,
            precision=config["backbone"]["precision"],
            provenance={},
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one sentence on stderr and exit code 2."""
    parser = argparse.ArgumentParser("python -m mvlpt_core.encode", description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="results/<study>")
    parser.add_argument("--task", type=Path, required=True, help="the new task's folder")
    parser.add_argument("--out", type=Path, required=True, help="features file to write")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    try:
        encode_folder(given.study, given.task, given.out, given.device)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
