"""Which of a study's prompts should a task that was not in it start from?"""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import pandas as pd

from mvlpt.finished import open_finished
from mvlpt_analysis.new_task import recommend_start
from mvlpt_analysis.read.features import read_tasks
from mvlpt_analysis.read.pairs import read_frame, write_frame
from mvlpt_analysis.read.study import read_tables
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM, Layout
from mvlpt_core.contract.settings import Study
from mvlpt_core.contract.suite import TaskRow


def recommend_folder(
    folder: Path, task: Path, shots: int | None, top: int, out: Path | None, device: str
) -> str:
    """The best starts for the task in `task`, of the study in `folder`, as text.

    The task passes the frozen backbone once; nothing is tuned. Raises `InputError`, naming the file
    or folder, for a study that is not finished and a task that cannot be read.
    """
    row = describe_folder(task)
    found = open_finished(folder, shots)
    at, study, shots = found.at, found.study, found.shots
    gains = read_tables({"gains": Path(at.table(shots, "gains"))})["gains"]
    # The study's tasks as its own table names them: none may be missing.
    names = sorted(gains["target"].unique())
    tasks = read_tasks(
        [at.test_features(name) for name in names],
        [at.sample_features(name, shots, seed) for name in names for seed in study.seeds],
    )
    prompts = {
        (method, name): at.prompt(method, name, RANDOM, shots, study.seeds[0])
        for method in study.methods.by_name()
        for name in names
    }
    for path in prompts.values():
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file: expected the study's prompt; run it again")
    similarity = read_frame(at.similarity(shots))
    with tempfile.TemporaryDirectory() as scratch:
        new = read_tasks(*_encoded(row, task, study, at, shots, Path(scratch), device))[0]
    advice = recommend_start(new, tasks, gains, similarity, prompts, study.analysis.seed)
    if out is not None:
        write_frame(advice.table, out)
    lines = []
    for method, table in advice.table.groupby("method", sort=False):
        shown = table.head(top)
        points = pd.DataFrame(
            {
                "rank": shown["rank"],
                "source": shown["source"],
                "gain": [f"{100 * v:+.1f}" for v in shown["expected_gain"]],
                "95% interval": [
                    f"{100 * a:+.1f} to {100 * b:+.1f}" if pd.notna(a) else "unknown"
                    for a, b in zip(shown["low"], shown["high"], strict=True)
                ],
                "why": [_main_reasons(why) for why in shown["why"]],
                "prompt": shown["prompt"],
            }
        )
        lines += [f"{method} (gains in points over scratch)", points.to_string(index=False), ""]
    return "\n".join(lines + advice.statements)


def describe_folder(folder: Path) -> TaskRow:
    """A suite row for a folder, its kind and metric read off what is in it."""
    if not folder.is_dir():
        raise InputError(f"task folder '{folder}' is not there: expected a folder of images")
    webdataset = (folder / "train" / "nshards.txt").exists()
    kind = folder / "dataset_type.txt"
    multilabel = kind.is_file() and "multilabel" in kind.read_text(encoding="utf-8").lower()
    plain = unicodedata.normalize("NFKD", folder.resolve().name).encode("ascii", "ignore").decode()
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in plain.lower()).lstrip("_-")
    return TaskRow(
        f"new_{name or 'task'}",
        "wds" if webdataset else "folder",
        ".",
        "map_11point" if multilabel else "accuracy",
    )


def _encoded(
    row: TaskRow, task: Path, study: Study, at: Layout, shots: int, scratch: Path, device: str
) -> tuple[list[Path], list[Path]]:
    """Feature files of the new task's test images and of a few-shot sample, made in `scratch`."""
    from mvlpt_core.features import encode_sample, encode_test  # torch: slow to import
    from mvlpt_core.tasks.prepare import prepare_sample, prepare_test, read_preprocess

    preprocess = read_preprocess(at.backbone)
    test, sample = scratch / "test.safetensors", scratch / "sample.safetensors"
    prepare_test(row, task, preprocess, max_test=study.max_test, out=test)
    prepare_sample(
        row.task,
        row.kind,
        row.location,
        task,
        preprocess,
        shots=shots,
        seed=study.seeds[0],
        val_share=study.val_share,
        short_classes="use_all",
        out=sample,
    )
    outputs = scratch / "test_features.safetensors", scratch / "sample_features.safetensors"
    options = {"device": device, "precision": study.backbone.precision}
    encode_test(at.backbone, [test], [outputs[0]], **options)  # type: ignore[arg-type]
    encode_sample(at.backbone, [sample], [outputs[1]], **options)
    return [outputs[0]], [outputs[1]]


def _main_reasons(why: str) -> str:
    """The visual and the label similarity of a source; the table written by --out gives all."""
    parts = [p for p in why.split(", ") if p.startswith(("visual_cosine", "label_cosine"))]
    return ", ".join(parts).replace(" of the study's pairs", "") or why
