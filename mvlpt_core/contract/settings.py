"""Check a study's configuration and fill in its defaults, before anything runs.

The legal keys and values stand in one JSON schema (`workflow/schemas/config.schema.yaml`); what a
schema cannot say is checked here. Every mistake is one `InputError` sentence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.provenance import config_digest
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks.open import find_data_root, open_task


def read_schema(path: Path) -> dict[str, Any]:
    """The JSON schema of a study configuration, written as YAML."""
    schema: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return schema


def resolve_study(
    config: Mapping[str, Any], schema: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """A complete copy of `config`: checked against `schema`, with every default filled in.

    `where` names the configuration in messages. Raises `InputError` for an unknown or missing key,
    an illegal value, and settings that contradict each other.
    """
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=_importance)
    if errors:
        raise InputError(f"{where}: {_sentence(errors[0])}")
    study = _with_defaults(config, schema)
    study["methods"] = {name: study["methods"][name] for name in config["methods"]}
    tuning = study["tuning"]
    if ("epochs" in tuning) == ("steps" in tuning):
        raise InputError(f"{where}: tuning needs exactly one of the keys 'epochs' and 'steps'")
    if study["methods"].get("text", {}).get("class_specific"):
        raise InputError(
            f"{where}: key 'methods.text.class_specific' is true, expected false, because a "
            "context for each class of one task fits no other task and cannot be transferred"
        )
    return study


def _with_defaults(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `value` with every default of `schema` filled in."""
    filled = dict(copy.deepcopy(value))
    for key, rule in schema["properties"].items():
        if key not in filled and "default" in rule:
            filled[key] = copy.deepcopy(rule["default"])
        if "properties" in rule and isinstance(filled.get(key), dict):
            filled[key] = _with_defaults(filled[key], rule)
    return filled


def _importance(error: ValidationError) -> tuple[int, list[str]]:
    """Misspelt keys first: they explain the missing ones. Then by place, for a stable choice."""
    rank = {"additionalProperties": 0, "required": 1}.get(str(error.validator), 2)
    return rank, [str(part) for part in error.absolute_path]


def _sentence(error: ValidationError) -> str:
    prefix = "".join(f"{part}." for part in error.absolute_path)
    key = prefix.removesuffix(".")
    if error.validator == "additionalProperties":
        legal = list(error.schema["properties"])
        unknown = next(name for name in error.instance if name not in legal)
        return f"unknown key '{prefix}{unknown}', expected one of {', '.join(legal)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"key '{prefix}{missing}' is missing"
    if error.validator == "enum":
        expected = f"one of {', '.join(map(str, error.validator_value))}"
    else:
        expected = error.schema.get("description", f"a {error.schema.get('type')}")
    if not key:
        return f"this is {_show(error.instance)}, expected a mapping of keys to values"
    return f"key '{key}' is {_show(error.instance)}, expected {expected}"


def _show(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def check_tasks(study: Mapping[str, Any], rows: Iterable[TaskRow]) -> None:
    """Open every task without reading images, so that mistakes show before the first job.

    Raises `InputError` for a data root or folder that is missing, and for class names, templates
    or a metric that do not fit.
    """
    for row in rows:
        open_task(row, study["data_root"])


def data_state(study: Mapping[str, Any], row: TaskRow) -> str:
    """Digest of the names and sizes of a task's files: changes when its data are exchanged.

    Contents are not read, because this runs for every task whenever a study is planned. Drawn tasks
    have no files and an empty digest.
    """
    if row.kind == "testbed":
        return ""
    folder = find_data_root(study["data_root"], row.task) / row.location
    files = (path for path in folder.rglob("*") if path.is_file())
    return config_digest(
        {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    )


def blocks(items: Sequence[str], size: int) -> list[list[str]]:
    """`items` in order, cut into lists of `size`; the last one may be shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
