"""A study's configuration with all that it names: found, checked and put together before any job."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from mvlpt_core.backbone.named import (
    check_named,
    image_settings,
    located_backbone,
    text_settings,
)
from mvlpt_core.backbone.tokens import LOWER
from mvlpt_core.contract import registered
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import load_yaml, read_yaml
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.methods import TextMethod
from mvlpt_core.contract.runs import Runs, expand
from mvlpt_core.contract.settings import Study, read_study
from mvlpt_core.contract.suite import (
    EXPECTED,
    Groups,
    TaskRow,
    read_choices,
    read_groups,
    read_suite,
)
from mvlpt_core.tasks.check import check_tasks
from mvlpt_core.tasks.kind import describe, is_data, kind_of
from mvlpt_core.tasks.names import Room
from mvlpt_core.tasks.prepare import read_preprocess
from mvlpt_workflow import located

CONTEXT_LENGTH = 77  # of a text tower whose configuration does not say


@dataclass(frozen=True)
class Checked:
    """Settings; suite rows by task, of the studied ones and of the `sources` beside them; the named
    groups; the runs; what is legal but worth a second look, a sentence each."""

    study: Study
    suite: dict[str, TaskRow]
    sources: dict[str, TaskRow]
    groups: Groups
    runs: Runs
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """How large the study is, in words."""
        methods, seeds = len(self.study.methods.by_name()), len(self.study.seeds)
        by_shots = {shots: len(pairs) for shots, pairs in self.runs.pairs.items()}
        again = methods * sum(map(len, self.runs.replicates.values()))
        total = sum(by_shots.values()) * methods * seeds + again
        if len(set(by_shots.values())) == 1:
            pairs = f"{counted(by_shots.popitem()[1], 'pair')} of group and start"
            parts = [pairs, counted(methods, "method"), f"{len(self.study.shots)} shots"]
        else:
            listed = ", ".join(f"{n:,} at {shots}" for shots, n in by_shots.items())
            parts = [f"pairs of group and start ({listed} shots)", counted(methods, "method")]
        parts.append(counted(seeds, "seed"))
        made = " x ".join(parts) + f", {again:,} again with seed {self.study.second_seed}" * bool(
            again
        )
        return f"Study {self.study.study}: {counted(total, 'run')} ({made})"


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 run, 1,200 runs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def find_configuration(name: str, expected: str = "a configuration in YAML") -> str:
    """The file that `name` means: a path, or a shipped configuration by path or by name.

    Raises `InputError` where there is none.
    """
    for path in (located(name), located(f"config/{name}.yaml")):
        if Path(path).is_file():
            return path
    shipped = Path(located("config/testbed.yaml")).parent.glob("*.yaml")
    known = ", ".join(sorted(path.stem for path in shipped))
    raise InputError(f"{name}: no such file: expected {expected}, or one of {known}")


def read_configuration(name: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration that `name` means, with `changes`: key=value, the key dotted, the value YAML.

    Raises `InputError` for a file that is none, and for a change that is none.
    """
    return _merged(read_yaml(find_configuration(name)), nested(changes))


def tell_folder(name: str) -> None:
    """Print the folder of a configuration's study, for the Makefile; a mistake ends in its one sentence."""
    try:
        print(Layout(f"results/{read_study(read_configuration(name), name).study}").root)
    except InputError as error:
        sys.exit(f"error: {error}")


def nested(changes: Sequence[str]) -> dict[str, Any]:
    """`tuning.steps=5` as {tuning: {steps: 5}}, several together; `InputError` for one that is none."""
    found: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise InputError(f"--set {change}: expected key=value, such as tuning.steps=100")
        try:
            value = load_yaml(text)
        except (yaml.YAMLError, ValueError):
            raise InputError(f"--set {change}: expected a value as in YAML") from None
        for part in reversed(parts):
            value = {part: value}
        found = _merged(found, value)
    return found


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings within mappings together; `changes` win, as Snakemake's --config does."""
    merged = dict(values)
    for key, value in changes.items():
        mine = merged.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            value = _merged(mine, value)
        merged[key] = value
    return merged


def find_rows(
    name: str, tasks: Collection[str] = (), label_column: str = ""
) -> tuple[list[TaskRow], str | None]:
    """The tasks of a configuration, of both its suites, of a suite (a TSV, or a shipped one's name) or the
    one in a folder or file of images, `tasks` of them where some are named; and the data root that the
    configuration names.

    A suite's data need not be there; `label_column` says where the labels of those in a folder or file are.
    Raises `InputError` for a name that is none, of a file or of a task, and for a mistake in the file.
    """
    shipped = located(f"config/suites/{name}.tsv")
    root: str | None = None
    if name.endswith(".tsv"):
        rows = read_suite(located(name))
    elif is_data(Path(name)) and not Path(shipped).is_file():
        row, folder = describe(Path(name), label_column)
        if tasks:
            raise InputError(
                f"--task {' '.join(tasks)}: {name} is one task's data: expected no --task"
            )
        return [row], str(folder)
    elif Path(shipped).is_file() and not Path(located(f"config/{name}.yaml")).is_file():
        rows = read_suite(shipped)
    else:
        path = Path(find_configuration(name, "a configuration in YAML, a suite or a task's data"))
        if path.suffix.lower() not in (".yaml", ".yml"):
            kind_of(path)  # says what it is, and what data could be
        study = read_study(read_yaml(path), where=name)
        suites = [study.suite, *filter(None, [study.source_suite])]
        rows = [row for suite in suites for row in read_suite(located(suite))]
        root = study.data_root
    if label_column:
        raise InputError(
            f"--label-column {label_column}: {name} is no task's data: expected label_column in its suite"
        )
    known = [row.task for row in rows]
    for task in tasks:
        if task not in known:
            raise InputError(f"--task {task}: {name} has no such task: expected {', '.join(known)}")
    return [row for row in rows if not tasks or row.task in tasks], root


def find_backbone(name: str) -> tuple[dict[str, Any], Room]:
    """How the backbone of a configuration sees images, and what room class names have: as converted by its
    study if it is there, else by open_clip's configuration; CLIP's own, beside the default's context vectors,
    for what is no configuration."""
    default = Room(CONTEXT_LENGTH, TextMethod().n_ctx, "methods.text.n_ctx")
    try:
        path = find_configuration(name)
    except InputError:
        return image_settings(""), default
    if path.endswith(".tsv") or is_data(Path(path)):
        return image_settings(""), default
    study = read_study(read_yaml(path), where=name)
    converted = Path(Layout(f"results/{study.study}").backbone)
    if converted.is_file():
        return read_preprocess(converted), _room(study)
    return image_settings(located_backbone(study.backbone.name)), _room(study)


def check_study(config: Mapping[str, Any], where: str, open_tasks: bool = True) -> Checked:
    """Settings, tasks, groups and runs of a configuration; paths as `located` finds them.

    `where` names the configuration in messages. Without `open_tasks` the data may be elsewhere. Raises
    `InputError`, one sentence, for the first mistake in keys and values, suite, groups, runs or the
    tasks' data.
    """
    study = read_study(config, where=where)
    suite = {row.task: row for row in read_suite(located(study.suite))}
    sources: dict[str, TaskRow] = {}
    if study.source_suite:
        sources = {row.task: row for row in read_suite(located(study.source_suite))}
        for task in filter(suite.__contains__, sources):
            raise InputError(
                f"source_suite {study.source_suite}: task {task!r} is in {study.suite} too: expected "
                "a name of its own"
            )
    _check_alike(study, suite, sources)
    known = [*suite, *sources]
    groups = read_groups(map(located, study.groups), known)
    chosen = {
        name: read_choices(located(mean.table), known)
        for name, mean in study.means.items()
        if mean.table
    }
    runs = expand(study, list(suite), groups.members, list(sources), chosen)
    warnings: list[str] = []
    if open_tasks:
        rows = [*suite.values(), *sources.values()]
        _check_shots(study, rows)
        if not _is_converted(study):  # else it is not looked for again
            pretrained = study.backbone.pretrained or ""
            warnings += check_named(located_backbone(study.backbone.name), pretrained)
        warnings += check_tasks(
            rows, study.data_root, max(study.shots), study.short_classes, _room(study)
        )
    return Checked(study, suite, sources, groups, runs, tuple(warnings))


def _is_converted(study: Study) -> bool:
    """Whether the study's folder holds this very backbone, converted."""
    try:
        about = json.loads(Path(Layout(f"results/{study.study}").backbone).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    said = {"name": study.backbone.name, "pretrained": study.backbone.pretrained or ""}
    return isinstance(about, dict) and about.get("open_clip") == said


def _room(study: Study) -> Room:
    """What a class name has room for in the text tower, beside the most context vectors of a method."""
    found = text_settings(located_backbone(study.backbone.name))
    clean = (found.get("tokenizer_kwargs") or {}).get("clean", LOWER)
    name, most = max(study.methods.by_name().items(), key=lambda item: item[1].text_ctx)
    key = "n_ctx" if name == "text" else "n_ctx_text"
    length = found.get("context_length", CONTEXT_LENGTH) if found else 0
    return Room(length, most.text_ctx, f"methods.{name}.{key}", clean)


def _check_alike(
    study: Study, suite: Mapping[str, TaskRow], sources: Mapping[str, TaskRow]
) -> None:
    """Raise `InputError` where two suites' tasks are one, and where a task has no other to start from."""
    places = {row.place: task for task, row in suite.items()}
    for task, row in sources.items():
        if row.place in places:
            raise InputError(
                f"source_suite {study.source_suite}: task {task!r} has the location of "
                f"{places[row.place]!r} in {study.suite}: expected other images"
            )
    patterns = [pattern for listed in study.runs.values() for pattern in listed]
    if len(suite) == 1 and any({"tasks"} == {*p.group, *p.start} for p in patterns):
        raise InputError(
            f"suite {study.suite} has one task, and the runs start tasks from tasks: expected two or more"
        )


def _check_shots(study: Study, rows: Collection[TaskRow]) -> None:
    """Raise `InputError` where a suite says that a task has too few images for the most shots."""
    shots = max(study.shots)
    for row in rows:
        if study.short_classes == "use_all" or row.metric == "map_11point":
            continue
        if row.train and row.classes and row.train < shots * row.classes:
            raise InputError(
                f"task {row.task}: {row.train} training images of {row.classes} classes are too few "
                f"for {shots} shots: expected fewer, or short_classes: use_all"
            )


def study_digest(checked: Checked) -> str:
    """Digest of what a study's results depend on: settings, rows of the suites, list of runs."""
    # Where a copy is fetched from and what is noted of it changes no result.
    rows = [
        {key: value for key, value in asdict(row).items() if key not in EXPECTED}
        for row in [*checked.suite.values(), *checked.sources.values()]
    ]
    runs = checked.runs
    # Tables of groups and choices are named in the settings; what they hold is not.
    behind = runs.groups | {
        f"{start} for {group}": origin.groups
        for (group, start), origin in runs.origins.items()
        if start in checked.study.means
    }
    return registered.study_digest(checked.study.resolved(), rows, runs.pairs, behind)
