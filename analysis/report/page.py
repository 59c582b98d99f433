"""The report: one HTML page that needs nothing else, opening with the answers."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from mvlpt_core.contract.errors import InputError

from ..read import pairs
from ..read.study import Frames, load_frames, read_config
from . import answers

ABOUT = {
    "gains": "gain of every pair with intervals, p and q",
    "correlations": "correlation of gain with each similarity, tests by permutation of tasks",
    "partial": "correlation with one similarity given the other",
    "regression": "multiple regression of gain on similarities, tests by permutation of tasks",
    "ranking": "quality of each way to choose sources, means over targets",
    "ranking_by_target": "quality of each way to choose sources, target by target",
    "groups": "groups for joint tuning with expected gain and stability",
    "clusters": "sources in clusters that help the same targets",
    "givers": "what each task gives and takes, established pairs counted",
    "task_effects": "mean gain of each task as source and as target",
    "relations": "mean gain by relation of source and target",
    "effects": "what the same family and the same style add",
    "asymmetry": "how far gains differ between the two directions of a pair",
    "diagonal": "control: tuning on from a task's own prompt",
    "measures": "what each similarity is and which values it takes",
    "measure_correlations": "how similarities correlate with one another",
    "agreement": "agreement of the given tables with one another",
}
DEFINITION = (
    "gain = score from the source's prompt - score from scratch (same method, target, seed, "
    "budget and data order), in points; relative error reduction = gain / (1 - scratch); ceiling "
    "gain = gain / (best score seen on the target - scratch)"
)


def write_report(study_dir: Path, suite: Path | None = None) -> Path:
    """Stage: tables, figures and config.yaml -> report.html (written in one step).

    Errors: statistics or figures that are not there yet.
    """
    study_dir = Path(study_dir)
    data = load_frames(study_dir, suite)
    captions = study_dir / "figures" / "captions.csv"
    if not captions.exists():
        raise InputError(f"{captions}: missing: run the figures stage first")
    config = read_config(study_dir)
    name = str(config.get("study", study_dir.resolve().name))
    page = _template().render(
        title=f"{'Transfer table' if data.foreign else 'Transferability study'}: {name}",
        lead=_lead(data),
        glance=answers.glance(data),
        answers=[
            (heading, [_by_method(sentence, data.methods) for sentence in sentences])
            for heading, sentences in (
                ("Which tasks help which?", answers.which_help(data)),
                ("How certain is that?", answers.how_certain(data)),
                ("What explains it?", answers.what_explains(data)),
                ("What to do?", answers.what_to_do(data)),
            )
        ],
        protocol=protocol(data, config),
        figures=[
            _figure(study_dir / "figures", row)
            for row in answers.records(pairs.read_frame(captions))
        ],
        tables=_tables(study_dir),
    )
    path = study_dir / "report.html"
    part = path.with_name(f".{path.name}.part")
    part.write_text(page, encoding="utf-8")
    part.replace(path)
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2")


def _lead(data: Frames) -> str:
    sources, targets = data.gains["source"].nunique(), data.gains["target"].nunique()
    noun = "table" if data.foreign else "prompt method"
    count = len(data.methods)
    return (
        f"{sources} source and {targets} target tasks, {count} {noun}{'' if count == 1 else 's'} "
        f"({', '.join(data.methods)}), {len(data.gains):,} pairs."
    )


def _by_method(sentence: str, methods: list[str]) -> tuple[str, str]:
    """The method a sentence opens with, to be set off, and the rest."""
    for method in methods:
        if sentence.startswith(f"{method}: "):
            rest = sentence[len(method) + 2 :]
            return method, rest[:1].upper() + rest[1:]
    return "", sentence


def protocol(data: Frames, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the numbers rest on, from the resolved configuration: (name, value) rows."""
    rows = []
    if config:
        backbone = config.get("backbone", {})
        if isinstance(backbone, dict):
            name = " ".join(str(backbone[k]) for k in ("name", "pretrained") if backbone.get(k))
            precision = f", {backbone['precision']}" if backbone.get("precision") else ""
            rows.append(("backbone", f"{name} (frozen{precision})"))
        for key, title in (
            ("suite", "suite"),
            ("shots", "images a class"),
            ("seeds", "seeds"),
            ("val_share", "share held out to choose checkpoints"),
            ("max_test", "most test images a task"),
        ):
            if config.get(key) is not None:
                rows.append((title, _plain(config[key])))
        for method, settings in dict(config.get("methods", {})).items():
            rows.append((f"{method} prompts", _plain(settings)))
        if "tuning" in config:
            rows.append(("budget", _plain(config["tuning"])))
    if "n_seeds" in data.gains:
        metrics = ", ".join(sorted(set(data.gains["metric"].dropna())))
        rows.append(("metrics", metrics))
    if data.foreign:
        rows.append(("what is analysed", f"{data.score_name}, in {data.unit}"))
        if data.left_out:
            rows.append(("sources left out, as no tasks", ", ".join(data.left_out)))
    else:
        rows.append(("gains", DEFINITION))
    if len(data.correlations):
        count = int(data.correlations["permutations"].max())
        rows.append(
            (
                "tests",
                f"{count:,} permutations of tasks (rows and columns together); q by "
                "Benjamini-Hochberg; the diagonal is left out",
            )
        )
    if config:
        text = json.dumps(config, sort_keys=True, separators=(",", ":"), default=str)
        rows.append(("digest of the configuration", hashlib.sha256(text.encode()).hexdigest()[:12]))
    return rows


def _plain(value: Any) -> str:
    """A setting as words: `a 1, b 2` for mappings, `1, 2` for lists."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _figure(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    path = folder / f"{row['name']}.png"
    if not path.exists():
        raise InputError(f"{path}: missing: run the figures stage again")
    content = path.read_bytes()
    pixels = struct.unpack(">I", content[16:20])[0]  # the width in a PNG's header
    # Shown at about 115 dots an inch, so that text has one size in all figures.
    return {**row, "png": base64.b64encode(content).decode(), "width": round(pixels * 115 / 170)}


def _tables(study_dir: Path) -> list[dict[str, Any]]:
    paths = [study_dir / "tables" / f"{name}.csv" for name in ABOUT]
    out = []
    for path in (path for path in paths if path.exists()):
        content = path.read_bytes()
        out.append(
            {
                "name": path.stem,
                "rows": len(pd.read_csv(path, usecols=[0])),
                "about": ABOUT[path.stem],
                "data": base64.b64encode(content).decode(),
            }
        )
    return out
