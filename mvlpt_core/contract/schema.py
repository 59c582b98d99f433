"""What settings are made of: fields that document themselves, mistakes as one sentence, a table of all keys.

A mistake is told with the key, its value and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from mvlpt_core.contract.errors import InputError

WHOLE = "a whole number of at least 1"
WHOLE0 = "a whole number of at least 0"
SHARE = "a number from 0 up to, but not including, 1"


def key(
    meaning: str,
    expected: str | None = None,
    default: Any = PydanticUndefined,
    change: str = "",
    **limits: Any,
) -> Any:
    """A field: what it means, what a legal value is in words, its default, when to change it."""
    extra: dict[str, Any] = {"expected": expected, "change": change}
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


def whole(meaning: str, default: Any = PydanticUndefined, change: str = "") -> Any:
    return key(meaning, WHOLE, default, change, ge=1)


class Settings(BaseModel):
    """Frozen, without unknown keys, without guesses at types, with finite numbers only."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


def checked(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # Misspelt keys first: they explain the missing ones.
        rank = {"extra_forbidden": 0, "missing": 1}
        worst = min(error.errors(), key=lambda e: rank.get(e["type"], 2))
        raise InputError(f"{where}: {_sentence(kind, worst)}") from None


def _sentence(kind: type[BaseModel], error: ErrorDetails) -> str:
    loc = error["loc"]
    key = ".".join(map(str, loc))
    owner, field = _place(kind, loc)
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}', expected one of {', '.join(owner.model_fields)}"
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if field is None:
        return f"this is {_show(error['input'])}, expected a mapping of keys to values"
    return f"key '{key}' is {_show(error['input'])}, expected {expected(field)}"


def _place(
    kind: type[BaseModel], loc: tuple[int | str, ...]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The model that the last part of `loc` stands in, and the field nearest to it."""
    owner, inner, field = kind, kind, None
    for part in loc:
        if inner is not None and part in inner.model_fields:
            owner, field = inner, inner.model_fields[str(part)]
            inner = _model_in(field.annotation)
        elif inner is not None:
            owner = inner
    return owner, field


def _model_in(annotation: Any) -> Any:
    """The settings model somewhere in a type, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def expected(field: FieldInfo) -> str:
    """What a legal value of the field is, in words."""
    extra = field.json_schema_extra
    said = extra.get("expected") if isinstance(extra, dict) else None
    if said:
        return str(said)
    return "one of " + ", ".join(map(str, get_args(field.annotation)))


def _show(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def table(kind: type[BaseModel], prefix: str = "") -> Iterator[dict[str, str]]:
    """The documentation of every key, in order: key, expected, default, meaning, change."""
    for name, field in kind.model_fields.items():
        inner = _model_in(field.annotation)
        # A model by itself, not one of many under names of the user's.
        nested = inner is not None and field.annotation is inner
        default = "required" if field.is_required() else _show(field.get_default())
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield {
            "key": prefix + name,
            "expected": expected(field),
            "default": "" if nested and not field.is_required() else default,
            "meaning": field.description or "",
            "change": str(extra.get("change") or ""),
        }
        if inner is not None:
            yield from table(inner, f"{prefix}{name}." if nested else f"{prefix}{name}.<name>.")
