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

from mvlpt_core import __version__
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import RANDOM
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.contract.tensors import read_tensors, write_tensors

from ..read.finished import Finished, open_finished
from ..read.pairs import read_frame, write_frame
from ..read.study import read_tables
from ..read.tasks import sample_sizes, task_sizes
from .card import Facts, data_card, limits
from .croissant import croissant
from .library import TABLES, Library, sha256

# Of a task's feature files, what similarities are computed from: no test image is among it.
_CLASSES, _SAMPLE = ("class_features", "text_features"), ("train_features", "train_labels")
_OWN = ("format", "digest")  # of a header, what its file alone has


def write_library(
    folder: Path,
    out: Path,
    suite: Mapping[str, TaskRow],
    license: str,
    prove: Callable[[Iterable[str]], None],
) -> Library:
    """Publish the finished study in `folder` as the new folder `out`, whole or not at all.

    `suite` has the row of each of its tasks; `prove` raises for a file of the study that is not what was
    written. The same study gives the same bytes. Raises `InputError` where `out` is there already, and for
    a study that is not finished or not whole.
    """
    if out.exists():
        raise InputError(f"{out} is there already: expected another --out, or remove it")
    done = open_finished(folder, None)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{os.getpid()}.part.{out.name}")
    try:
        _fill(Library(part), done, suite, license, prove)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Library(out)


def _fill(
    library: Library,
    done: Finished,
    suite: Mapping[str, TaskRow],
    license: str,
    prove: Callable[[Iterable[str]], None],
) -> None:
    at, study = done.at, done.study
    tables = {
        **{name: _gathered(at.gathered(name), prove) for name in ("scores", "curves")},
        "gains": _of_shots(study.shots, lambda k: _table(at.table(k, "gains"), prove)),
        "similarity": _of_shots(study.shots, lambda k: _gathered(at.similarity(k), prove)),
    }
    names = [task for task in suite if task in set(tables["gains"]["target"])]
    tables["tasks"] = _tasks(done, {name: suite[name] for name in names}, tables["scores"], prove)
    tables["prompts"] = _copy_prompts(library, done, prove)
    _copy_features(library, done, names, prove)
    prove([at.config])
    shutil.copyfile(at.config, library.config)
    for name in TABLES:
        write_frame(tables[name], library.table(name))
    leaks = read_frame(at.leakage, empty=True)
    facts = Facts(study, tables, license, leaks)
    library.card.write_text(data_card(facts), encoding="utf-8")
    files = {library.name(path): (sha256(path), path.stat().st_size) for path in library.files()}
    described = {
        name: (library.table(name).name, what, pq.read_schema(library.table(name)))
        for name, what in TABLES.items()
    }
    about = croissant(
        f"transfer-grid-{study.study}",
        facts.sentence,
        license,
        __version__,
        described,
        files,
        limits(facts),
    )
    text = json.dumps(about, indent=1, ensure_ascii=False)
    library.croissant.write_text(f"{text}\n", encoding="utf-8")
    lines = [f"{sha256(path)}  {library.name(path)}\n" for path in library.files()]
    library.sums.write_text("".join(lines), encoding="utf-8")


def _gathered(path: str, prove: Callable[[Iterable[str]], None]) -> pd.DataFrame:
    prove([path])
    return read_frame(path, empty=True)


def _table(path: str, prove: Callable[[Iterable[str]], None]) -> pd.DataFrame:
    prove([path])
    return read_tables({"gains": Path(path)})["gains"]


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
    prove: Callable[[Iterable[str]], None],
) -> pd.DataFrame:
    """A row a task: what the study and its suite know of it."""
    at, study = done.at, done.study
    tests = [at.test(task)[0] for task in suite]
    samples = [at.sample(task, k, study.seeds[0])[0] for task in suite for k in study.shots]
    prove([*tests, *samples])
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


def _copy_prompts(
    library: Library, done: Finished, prove: Callable[[Iterable[str]], None]
) -> pd.DataFrame:
    """Copy every prompt that the study kept; their index, a row a file."""
    rows = []
    for method in done.study.methods.by_name():
        kept = Path(done.at.root, "runs", method)
        for path in sorted(kept.glob("shots*/*/*/seed*.safetensors")):
            prove([str(path)])
            header, _ = read_tensors(path, "prompt", ("group", "start", "shots", "seed", "status"))
            run = (method, header["group"], header["start"], header["shots"], header["seed"])
            place = library.prompt(*run)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            rows.append(_prompt_row(library.name(place), header, sha256(place)))
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


def _copy_features(
    library: Library,
    done: Finished,
    names: Sequence[str],
    prove: Callable[[Iterable[str]], None],
) -> None:
    """What a new task is compared with: features of classes and few-shot images, not the test's."""
    at, study = done.at, done.study
    for task in names:
        pairs = {at.test_features(task): (library.test_features(task), _CLASSES)}
        for k in study.shots:
            for seed in study.seeds:
                place = library.sample_features(task, k, seed)
                pairs[at.sample_features(task, k, seed)] = (place, _SAMPLE)
        prove(pairs)
        for path, (place, wanted) in pairs.items():
            header, tensors = read_tensors(path, "task", ("name",))
            about = {key: value for key, value in header.items() if key not in _OWN}
            write_tensors(place, "task", about, {key: tensors[key] for key in wanted})
