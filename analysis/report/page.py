"""The report: one HTML page that needs nothing else, opening with the answers."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, write_atomic
from mvlpt_core.contract.registered import read_registered

from ..catalogue import BENCHMARKS, STUDY_TABLES, TABLES
from ..read.study import without_rows
from ..view import View
from ..vocabulary import NOTHING
from . import answers
from .apart import taken_apart
from .glance import glance
from .inline import inline, raster
from .protocol import mixtures, origins, plain
from .registered import NOT_REGISTERED, registered_plan
from .rules import against_bar
from .screened import what_screening_tells
from .tasks import overview
from .unmeasured import what_is_told
from .variance import headline, where_variance_lies
from .words import records
from .words_of_agreement import do_they_agree, methods_beside

WIDE = 640  # pixels: a figure that is wider scrolls in its own box on a phone
SHOWN = 140 / 72  # pixels of the page for a point of a figure, so that text has one size in all
MANY = 150_000  # bytes of a drawing that may be smaller as PNG
UNMEASURED = "What need not be measured?"
HEADINGS = (
    ("Where does the variance lie?", where_variance_lies),
    ("Which tasks help which?", answers.which_help),
    ("Do the {heads}s agree?", do_they_agree),
    ("How certain is that?", answers.how_certain),
    ("What explains it?", answers.what_explains),
    ("What to do?", answers.what_to_do),
    (UNMEASURED, what_is_told),
    ("What does screening tell?", what_screening_tells),
)


@dataclass(frozen=True)
class Part:
    """What the page shows of one value of shots.

    frames: the tables by name, which the page holds for saving, with similarity and, of a study,
    curves, transfer, replicates and samples (`read.tasks.sample_sizes`); captions: name, title, caption
    of the figures; figures: the PNG file of each (an SVG file lies beside it).
    """

    frames: Mapping[str, pd.DataFrame]
    captions: pd.DataFrame
    figures: Mapping[str, Path]


def write_report(
    path: Path,
    name: str,
    parts: Mapping[Any, Part],
    view: View,
    protocol: Mapping[str, Any],
    benchmarks: Sequence[Path] = (),
    shared: Sequence[str] = (),
    plan: str | Path | None = None,
    configuration: str | None = None,
    sizes: pd.DataFrame | None = None,
    made: str = "",
    prompts: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of the study `name`, whole or not at all.

    `parts`: what to show by value of shots; with several, the page has a part for each.
    `protocol`: what of the configuration is shown, name -> setting. `benchmarks`: the JSON files of
    `benchmark.make`, beside their figures; `shared`: what is said of images that tasks share; `plan`: the
    file of the registered plan, if there is one; `configuration`: digest of the study as it is, None
    where plans are not registered; `sizes`: `read.tasks.task_sizes`, for the table of a study's tasks;
    `made`: when and by what the page was made; `prompts`: `play.data.kept_prompts`. Raises InputError for a
    table or a figure that is missing.
    """
    # Altair is slow to import, and nothing but the page needs it.
    from ..play.section import playable

    path = Path(path)
    several = len(parts) > 1
    shown = {shots: _completed(part.frames, view) for shots, part in parts.items()}
    page = _template().render(
        play=playable(view, shown, prompts),
        title=f"{view.wording.title}: {name}",
        lead=_lead(view, parts),
        made=made,
        headline=_headline(view, shown),
        wide=WIDE,
        warnings=[*_warnings(parts), *shared],
        protocol=_protocol(view, parts, protocol),
        registered=_registered(view, parts, plan, configuration),
        parts=[
            _part(view, part, f"{shots}" if several else "", sizes) for shots, part in parts.items()
        ],
        benchmarks=[_benchmark(Path(benchmark)) for benchmark in benchmarks],
    )
    write_atomic(path, page)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2")


def _part(view: View, part: Part, shots: str, sizes: pd.DataFrame | None) -> dict[str, Any]:
    frames = _completed(part.frames, view)
    shown = records(part.captions)
    drawn = [row for row in shown if not str(row["caption"]).startswith(NOTHING)]
    tasks = None
    if sizes is not None:
        tasks = overview(view, sizes, frames["samples"], frames["transfer"], frames["gains"])
    return {
        "shots": shots,
        "tasks": tasks,
        "glance": glance(view, frames),
        "closer": [
            table
            for made in (methods_beside, taken_apart, against_bar)
            if (table := made(view, frames))
        ],
        "answers": [
            (
                heading.format(heads=view.wording.heads_name),
                [_by_method(sentence, view.methods) for sentence in made(view, frames)],
                [_figure(part, row, shots) for row in drawn if _section(row) == heading],
            )
            for heading, made in HEADINGS
        ],
        "figures": [_figure(part, row, shots) for row in drawn if not _section(row)],
        "left_out": [
            (row["title"], str(row["caption"]).removeprefix(NOTHING))
            for row in shown
            if row not in drawn
        ],
        "tables": [_table(name, part.frames[name]) for name in TABLES if name in part.frames],
    }


def _section(row: Mapping[str, Any]) -> str:
    """The heading of the answers that a figure stands with; "" for a figure among all others."""
    return UNMEASURED if str(row["name"]).startswith("completed_") else ""


def _completed(frames: Mapping[str, pd.DataFrame], view: View) -> dict[str, pd.DataFrame]:
    """The frames, with a header for the tables that this kind of analysis does not have."""
    needed = (*STUDY_TABLES, "similarity", "curves") if view.wording.baseline else ("gains",)
    for name in needed:
        if name not in frames:
            raise InputError(f"report: table '{name}' is missing: expected it")
    others = {name: without_rows(name) for name in TABLES if name not in frames}
    return {"curves": pd.DataFrame(), "similarity": pd.DataFrame(), **others, **frames}


def _lead(view: View, parts: Mapping[Any, Part]) -> str:
    gains = pd.concat([part.frames["gains"] for part in parts.values()])
    single = gains[gains["source"].isin(view.givers)]
    own = single["source"] == single["target"]
    sources, targets = single["source"].nunique(), gains["target"].nunique()
    pairs = len(single.loc[~own, ["source", "target"]].drop_duplicates())
    control = f", and {own.sum():,} of a task with itself" if own.any() else ""
    count = len(view.methods)
    noun = view.wording.noun + ("" if count == 1 else "s")
    over = f", {(~own).sum():,} gains over all {noun}" if count > 1 or len(parts) > 1 else ""
    text = (
        f"{sources} sources and {targets} target tasks, {count} {noun} ({', '.join(view.methods)}). "
        f"{pairs:,} pairs of two tasks were measured{over}{control}."
    )
    if several := len(gains) - len(single):
        text += f" {several:,} more gains are those of prompts of several tasks."
    return text


def _headline(view: View, shown: Mapping[Any, Mapping[str, pd.DataFrame]]) -> str:
    """The first answer of the page, of the first value of shots."""
    shots, frames = next(iter(shown.items()))
    text = headline(view, frames)
    return f"At {shots} shots: {text[:1].lower()}{text[1:]}" if text and len(shown) > 1 else text


def _by_method(sentence: str, methods: Sequence[str]) -> tuple[str, str]:
    """The method a sentence opens with, to be set off, and the rest."""
    for method in sorted(methods, key=len, reverse=True):
        if sentence.startswith(f"{method}: "):
            rest = sentence[len(method) + 2 :]
            return method, rest[:1].upper() + rest[1:]
    return "", sentence


def _registered(
    view: View, parts: Mapping[Any, Part], plan: str | Path | None, configuration: str | None
) -> dict[str, Any]:
    """The section of the registered plan, or the line that there is none."""
    without = {"none": "", "about": "", "warnings": [], "results": []}
    if configuration is None:
        return without
    if plan is None:
        return without | {"none": NOT_REGISTERED}
    frames = {shots: _completed(part.frames, view) for shots, part in parts.items()}
    return without | registered_plan(*read_registered(plan), configuration, view.methods, frames)


def _warnings(parts: Mapping[Any, Part]) -> list[str]:
    found = [mixtures(rows) for rows in _runs(parts)]
    return list(dict.fromkeys(sentence for sentences in found for sentence in sentences))


def _runs(parts: Mapping[Any, Part]) -> list[pd.DataFrame]:
    """The runs behind each part: those of the gains, and those that tell of their seed noise."""
    names = ("transfer", "replicates")
    found = [
        [part.frames[name] for name in names if len(part.frames.get(name, ()))]
        for part in parts.values()
    ]
    return [pd.concat(tables, ignore_index=True) for tables in found if tables]


def _protocol(
    view: View, parts: Mapping[Any, Part], given: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """What the numbers rest on: (name, value) rows."""
    rows = [(name, plain(value)) for name, value in given.items()]
    every = [part.frames for part in parts.values()]
    metrics = {m for frames in every for m in frames["gains"].get("metric", pd.Series()).dropna()}
    if metrics:
        rows.append(("metrics", ", ".join(sorted(metrics))))
    if view.wording.definition:
        rows.append(("gains", view.wording.definition))
    counts = [
        f["correlations"]["permutations"].max() for f in every if len(f.get("correlations", ()))
    ]
    if counts:
        rows.append(
            (
                "tests",
                f"{int(max(counts)):,} permutations of tasks (rows and columns together); q by "
                "Benjamini-Hochberg; the diagonal is left out",
            )
        )
    made = origins(_runs(parts))
    if made:
        rows.append(("rows come from", " | ".join(made)))
    return rows


def _benchmark(path: Path) -> dict[str, Any]:
    """Tables of words and figures of a benchmark; the first two tables stand open."""
    try:
        shown = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: expected a benchmark") from None
    except ValueError as error:
        raise InputError(f"{path}: not what a benchmark writes ({first_line(error)})") from None
    bold = [{tuple(cell) for cell in grid["bold"]} for grid in shown["grids"]]
    return {
        "name": path.stem,
        "about": BENCHMARKS[path.stem].about,
        "grids": [grid | {"bold": cells} for grid, cells in zip(shown["grids"], bold, strict=True)],
        "figures": [
            _shown(path.with_name(f"{row['name']}.png"), row, f"{path.stem}-{row['name']}")
            for row in shown["figures"]
        ],
    }


def _figure(part: Part, row: Mapping[str, Any], shots: str) -> dict[str, Any]:
    name = str(row["name"])
    if name not in part.figures:
        raise InputError(f"report: figure '{name}' is missing: expected its PNG file")
    return _shown(Path(part.figures[name]), row, f"{name}-{shots}")


def _shown(png: Path, row: Mapping[str, Any], own: str) -> dict[str, Any]:
    """A figure, inside the page, with its title and caption: as SVG, or as PNG where that is smaller.
    `own`: what tells the names inside it from those of other figures."""
    svg = png.with_suffix(".svg")
    for path in (png, svg):
        if not path.is_file():
            raise InputError(f"{path}: no such file: expected a figure")
    drawn, width = inline(svg.read_text(encoding="utf-8"), own, str(row["title"]), SHOWN, WIDE)
    # A picture of few shapes is never smaller as PNG.
    image = _encoded(raster(png, width)) if len(drawn) > MANY else ""
    if len(image) > len(drawn):
        image = ""
    return {**row, "svg": "" if image else drawn, "png": image, "width": width}


def _table(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    packed = gzip.compress(frame.to_csv(index=False).encode(), mtime=0)
    data = _encoded(packed)
    return {"name": name, "rows": len(frame), "about": TABLES[name].about, "data": data}


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
