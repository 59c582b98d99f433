"""Which of a study's prompts should a task that was not in it start from?"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from textwrap import fill

import pandas as pd

from mvlpt.sources import Sources
from mvlpt_analysis.new_task import recommend_start
from mvlpt_analysis.read.features import read_tasks
from mvlpt_analysis.read.pairs import write_frame
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.kind import check_there, describe

# Similarities that the printed table shows; the table written by --out gives all.
_SHOWN = {"visual_cosine": "images", "label_cosine": "names"}
WIDTH = 80


def recommend_folder(
    open_sources: Callable[[], Sources],
    task: Path,
    top: int,
    out: Path | None,
    device: str,
    label_column: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> str:
    """The best starts for the task in `task`, of a study or a library, as text: advice, tables, next
    commands.

    The task passes the frozen backbone once; nothing is tuned; `say` is told how far it is. Raises
    `InputError`, naming the file or folder, for sources that are not whole and a task that cannot be read.
    """
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {out}: expected a name that ends in .csv or .parquet")
    check_there(task)
    found = open_sources()
    row, root = describe(task, label_column)
    say(f"passing the images of {task} through the backbone")
    with tempfile.TemporaryDirectory() as scratch:
        new = read_tasks(*_encoded(row, root, found, Path(scratch), device))[0]
    say(f"comparing it with the {len(found.tasks)} tasks of the study")
    advice = recommend_start(
        new, found.tasks, found.gains, found.similarity, found.prompts, found.study.analysis.seed
    )
    if out is not None:
        write_frame(advice.table, out)
    parts = [fill(line, WIDTH, break_on_hyphens=False) for line in advice.statements]
    parts += [
        _shown(str(m), table.head(top)) for m, table in advice.table.groupby("method", sort=False)
    ]
    return "\n\n".join([*parts, *_next(advice.table, task, found.given)])


def _shown(method: str, table: pd.DataFrame) -> str:
    """A method's best sources, within the width of a terminal."""
    shown = pd.DataFrame(
        {
            "rank": table["rank"],
            "source": [shorten_name(source) for source in table["source"]],
            "gain": [f"{100 * v:+.1f}" for v in table["expected_gain"]],
            "95% interval": [
                f"{100 * a:+.1f} to {100 * b:+.1f}" if pd.notna(a) else "unknown"
                for a, b in zip(table["low"], table["high"], strict=True)
            ],
            **{
                f"alike by {what}": [
                    f"{value:.2f} ({share:.0f} %)" if pd.notna(value) else "-"
                    for value, share in zip(table[m], table[f"{m}_percentile"], strict=True)
                ]
                for m, what in _SHOWN.items()
                if m in table
            },
        }
    )
    head = f"{method} (gains in points over scratch; in brackets, pairs less alike)"
    return f"{head}\n{shown.to_string(index=False)}{_on_like(table)}"


def _on_like(table: pd.DataFrame) -> str:
    """What the shown sources gained on the most alike task, as measured and shrunk; "" where unknown."""
    parts = []
    for _, row in table.dropna(subset=["gain_on_like"]).iterrows():
        shrunk = row["gain_shrunk_on_like"]
        more = f" (shrunk {100 * shrunk:+.1f})" if pd.notna(shrunk) else ""
        parts.append(f"{row['source']} {100 * row['gain_on_like']:+.1f}{more}")
    if not parts:
        return ""
    text = f"measured on {table['like'].iloc[0]}, the most alike task: {', '.join(parts)}"
    return "\n" + fill(text, WIDTH, break_on_hyphens=False)


def shorten_name(name: str, most: int = 18) -> str:
    """A name for a table's column, with dots where it is cut."""
    return name if len(name) <= most else name[: most - 2] + ".."


def _next(table: pd.DataFrame, task: Path, backbone: str) -> list[str]:
    """The commands that follow: each method's best start, and scratch beside it where the gain is in
    doubt."""
    lines = []
    doubt = False
    for _, own in table.groupby("method", sort=False):
        best = own.iloc[0]
        if best["expected_gain"] > 0:
            lines.append(_command(task, shlex.quote(best["prompt"]), backbone))
        if not best["low"] > 0:
            doubt = True
            like = f"{RANDOM} \\\n    --like {shlex.quote(best['prompt'])}"
            lines.append(_command(task, like, backbone))
    if not lines:
        return []
    what = "to find out, tune from both and compare:" if doubt else "next:"
    return ["\n".join([what, *lines])]


def _command(task: Path, start: str, backbone: str) -> str:
    more = f" \\\n    --backbone {shlex.quote(backbone)}" if backbone else ""
    return f"  mvlpt tune --task {shlex.quote(str(task))} \\\n    --start {start}{more}"


def _encoded(
    row: TaskRow, root: Path, found: Sources, scratch: Path, device: str
) -> tuple[list[Path], list[Path]]:
    """Feature files of the new task's test images and of a few-shot sample, made in `scratch`."""
    from mvlpt_core.features import encode_sample, encode_test  # torch: slow to import
    from mvlpt_core.tasks.prepare import prepare_sample, prepare_test, read_preprocess

    study = found.study
    preprocess = read_preprocess(found.backbone)
    test, sample = scratch / "test.safetensors", scratch / "sample.safetensors"
    prepare_test(row, root, preprocess, max_test=study.max_test, out=test)
    prepare_sample(
        row.task,
        row.kind,
        row.location,
        root,
        preprocess,
        shots=found.shots,
        seed=study.seeds[0],
        val_share=study.val_share,
        short_classes="use_all",
        out=sample,
        **row.reading,
    )
    outputs = scratch / "test_features.safetensors", scratch / "sample_features.safetensors"
    options = {"device": device, "precision": study.backbone.precision}
    encode_test(found.backbone, [test], [outputs[0]], **options)  # type: ignore[arg-type]
    encode_sample(found.backbone, [sample], [outputs[1]], **options)
    return [outputs[0]], [outputs[1]]
