"""Writing a library: tables, prompts and features of a finished study, a data card, metadata, sums."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import file_digest
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.contract.tensors import read_tensors, write_tensors

from ..read.finished import Finished, open_finished
from ..read.pairs import read_frame, write_frame
from ..read.study import read_tables
from ..read.tasks import sample_sizes, task_sizes
from .card import Facts, data_card, limits
from .croissant import croissant
from .library import TABLES, Library

# Of a task's feature files, what similarities are computed from: no test image is among it.
_CLASSES, _SAMPLE = ("class_features", "text_features"), ("train_features", "train_labels")
_OWN = ("format", "digest")  # of a header, what its file alone has

# From the path of a file of the study to the same path, raising for one that is not what was written.
Proven = Callable[[str], str]


def write_library(
    folder: Path,
    out: Path,
    suite: Mapping[str, TaskRow],
    license: str,
    version: str,
    proven: Proven,
) -> Library:
    """Publish the finished study in `folder` as the new folder `out`, whole or not at all.

    `suite` has the row of each of its tasks; `version` is this package's. The same study gives the same
    bytes. Raises `InputError` where `out` is there already, and for
    a study that is not finished or not whole.
    """
    if out.exists():
        raise InputError(f"{out} is there already: expected another --out, or remove it")
    done = open_finished(folder, None)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{os.getpid()}.part.{out.name}")
    try:
        library = Library(part)
        facts = _copy(library, done, suite, license, version, proven)
        _describe(library, facts)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Library(out)


def _copy(
    library: Library,
    done: Finished,
    suite: Mapping[str, TaskRow],
    license: str,
    version: str,
    proven: Proven,
) -> Facts:
    """Write what the study has: tables, prompts, features, configuration; what is to be said of it."""
    at, study = done.at, done.study
    tables = {
        **{
            name: read_frame(proven(at.gathered(name)), empty=True) for name in ("scores", "curves")
        },
        "gains": _of_shots(
            done.analysed,
            lambda k: read_tables({"gains": Path(proven(at.table(k, "gains")))})["gains"],
        ),
        "similarity": _of_shots(
            done.analysed, lambda k: read_frame(proven(at.similarity(k)), empty=True)
        ),
    }
    named = set(tables["gains"]["target"])
    suite = {task: row for task, row in suite.items() if task in named}
    tables["tasks"] = _tasks(done, suite, tables["scores"], proven)
    tables["prompts"] = _copy_prompts(library, done, proven)
    _copy_features(library, done, suite, proven)
    shutil.copyfile(proven(at.config), library.config)
    for name in TABLES:
        write_frame(tables[name], library.table(name))
    leaks = read_frame(proven(at.leakage), empty=True)
    return Facts(study, tables, license, version, leaks)


def _describe(library: Library, facts: Facts) -> None:
    """Write card, metadata and sums of what is there."""
    library.card.write_text(data_card(facts), encoding="utf-8")
    sums = {library.name(path): file_digest(path) for path in library.files()}
    files = {name: (digest, (library.root / name).stat().st_size) for name, digest in sums.items()}
    described = {
        name: (library.table(name).name, what, pq.read_schema(library.table(name)))
        for name, what in TABLES.items()
    }
    about = croissant(
        f"transfer-grid-{facts.study.study}",
        facts.sentence,
        facts.license,
        facts.version,
        described,
        files,
        limits(facts),
    )
    text = json.dumps(about, indent=1, ensure_ascii=False)
    library.croissant.write_text(f"{text}\n", encoding="utf-8")
    sums[library.name(library.croissant)] = file_digest(library.croissant)
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    library.sums.write_text("".join(lines), encoding="utf-8")


def _of_shots(shots: Sequence[int], read: Callable[[int], pd.DataFrame]) -> pd.DataFrame:
    frames = []
    for k in shots:
        frame = read(k)
        frame.insert(min(3, len(frame.columns)), "shots", k)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _tasks(
    done: Finished,
    suite: Mapping[str, TaskRow],
    scores: pd.DataFrame,
    proven: Proven,
) -> pd.DataFrame:
    """A row a task: what the study and its suite know of it."""
    at, study = done.at, done.study
    tests = [proven(at.test(task)[0]) for task in suite]
    samples = [proven(at.sample(task, k, study.seeds[0])[0]) for task in suite for k in study.shots]
    sizes = task_sizes(tests).set_index("task")
    train = sample_sizes(samples).groupby("task")[["train", "val"]].sum().sum(axis=1)
    zero = scores.groupby("target")["zero_shot"].first()
    rows = [
        {
            "task": task,
            "kind": row.kind,
            **sizes.loc[task].to_dict(),
            "few_shot_images": int(train[task]),
            "zero_shot": float(zero.get(task, float("nan"))),
            "repo": row.repo,
            "revision": row.revision,
            "license": row.license,
            "note": row.note,
            **row.factors,
        }
        for task, row in suite.items()
    ]
    return pd.DataFrame(rows)


def _copy_prompts(library: Library, done: Finished, proven: Proven) -> pd.DataFrame:
    """Copy every prompt that the study kept; their index, a row a file."""
    rows = []
    for method in done.study.methods.by_name():
        kept = Path(done.at.root, "runs", method)
        for path in sorted(kept.glob("shots*/*/*/seed*.safetensors")):
            header, _ = read_tensors(
                proven(str(path)), "prompt", ("group", "start", "shots", "seed", "status")
            )
            run = (method, header["group"], header["start"], header["shots"], header["seed"])
            place = library.prompt(*run)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            rows.append(_prompt_row(library.name(place), header, file_digest(place)))
    if not rows:
        raise InputError(f"{done.at.root} keeps no prompts: expected keep_prompts other than none")
    return pd.DataFrame(rows)


def _prompt_row(file: str, header: Mapping[str, Any], digest: str) -> dict[str, Any]:
    keys = ("method", "group", "start", "shots", "seed", "step", "status")
    scores = {task: score for task, score in header["score"].items() if score is not None}
    own = list(scores.values())
    return {
        "file": file,
        **{key: header[key] for key in keys},
        "tasks": ", ".join(header["tasks"]),
        "source": header["start"] == RANDOM,
        "score": sum(own) / len(own) if own else float("nan"),
        "settings": json.dumps(header["settings"], sort_keys=True),
        "backbone": header["backbone"],
        "backbone_digest": header["backbone_digest"],
        "config_digest": header["config_digest"],
        "code_digest": header["code_digest"],
        "sha256": digest,
    }


def _copy_features(library: Library, done: Finished, names: Iterable[str], proven: Proven) -> None:
    """What a new task is compared with: features of classes and few-shot images, not the test's."""
    at, study = done.at, done.study
    for task in names:
        _copy_tensors(proven(at.test_features(task)), library.test_features(task), _CLASSES)
        for k in study.shots:
            for seed in study.seeds:
                path = proven(at.sample_features(task, k, seed))
                _copy_tensors(path, library.sample_features(task, k, seed), _SAMPLE)


def _copy_tensors(path: str, place: Path, wanted: Sequence[str]) -> None:
    """Write the `wanted` tensors of a task's feature file, under its header, as `place`."""
    header, tensors = read_tensors(path, "task", ("name",))
    about = {key: value for key, value in header.items() if key not in _OWN}
    write_tensors(place, "task", about, {key: tensors[key] for key in wanted})
