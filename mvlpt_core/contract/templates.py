"""Prompt templates, in the forms that people publish them in, as this project keeps them: `{c}` is the class.

One a line, with `{}`, `{c}`, `{class}` or `{label}` where the class name stands; a JSON or Python list of
such lines, alone or as what a file calls its templates; and lines or a list of `lambda c: f'a photo of
a {c}.'`. Code is read, never run.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mvlpt_core.contract.errors import InputError

PLACES = ("{}", "{c}", "{class}", "{label}")
EXPECTED = (
    "expected text with {c} (or {}, {class}, {label}) where the class name stands, one a line, or a JSON "
    "or Python list of such lines or of lambda c: f'a photo of a {c}.'"
)
_BRACES = re.compile(r"\{[^{}]*\}|[{}]")
# What is no sentence but a list, code or a string: a line that starts so must be read as such.
_CODE = re.compile(r"""[\[("'#]|lambda\b|\w+(?:\s*:\s*[\w\[\], .]+)?\s*=""")
# What other languages write where this has braces.
_FOREIGN = re.compile(r"\$\{|%\(?\w*\)?s\b")
_F_STRING = re.compile(r"""\bf['"]""")
_MAPPING = re.compile(r"""\{\s*["'}]""")


def read_template(text: str, where: str) -> str:
    """One template with `{c}` in the class's place; `InputError`, naming `where`, for any other text."""
    held = _parsed([text], where) if _CODE.match(text) else [text]
    if held != [text] and len(held) == 1:
        return read_template(held[0], where)
    found = set(_BRACES.findall(text))
    code = _CODE.match(text) or _F_STRING.search(text) or _FOREIGN.search(text)
    if len(found) != 1 or not found <= set(PLACES) or code:
        raise InputError(f"template {text!r} of {where}: {EXPECTED}")
    return text.replace(found.pop(), "{c}")


def read_templates(text: str, where: str) -> tuple[str, ...]:
    """The templates in a text, of a file or of a suite's cell; blank lines are none.

    Raises `InputError`, naming `where`, for a text in another form.
    """
    text = text.strip()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if text and (_CODE.match(text) or _MAPPING.match(text)):
        lines = _parsed(lines, where)
    return tuple(read_template(line, where) for line in lines)


def _parsed(lines: list[str], where: str) -> list[str]:
    """The strings of a JSON or Python list, or of a list without its brackets."""
    text = "\n".join(lines)
    shown = lines[0] if len(lines) == 1 else f"{lines[0]} ..."
    refused = InputError(f"template {shown!r} of {where}: {EXPECTED}")
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        held = None
    if not (isinstance(held, list) and all(isinstance(item, str) for item in held)):
        try:
            held = list(_strings(_only_list(text)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise refused from None
    if not held:
        raise refused
    return held


def _only_list(text: str) -> Iterable[ast.expr]:
    """The items of the list that Python source is, or that it calls its templates."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        body = ast.parse(f"[{text}\n]").body  # lines that each end in a comma
    if all(isinstance(part, ast.Expr) for part in body):
        items = [part.value for part in body if isinstance(part, ast.Expr)]
        one = items[0] if len(items) == 1 else None
        return one.elts if isinstance(one, ast.List | ast.Tuple) else items
    lists = {
        _name(part): part.value.elts
        for part in body
        if isinstance(part, ast.Assign | ast.AnnAssign)
        and isinstance(part.value, ast.List | ast.Tuple)
    }
    named = [name for name in lists if "template" in name.lower()] or list(lists)
    if len(named) != 1:
        raise ValueError("no list, or several")
    return lists[named[0]]


def _name(part: ast.Assign | ast.AnnAssign) -> str:
    target = part.targets[0] if isinstance(part, ast.Assign) else part.target
    return ast.unparse(target)


def _strings(items: Iterable[ast.expr]) -> Iterator[str]:
    for item in items:
        # A line that ends in a comma is a tuple of one.
        match item:
            case ast.Tuple(elts=[one]):
                yield from _strings([one])
            case ast.Constant(value=str(text)):
                yield text
            case ast.Lambda(args=ast.arguments(args=[argument]), body=body):
                yield _body(body, argument.arg)
            case _:
                raise ValueError("no string")


def _body(body: ast.expr, argument: str) -> str:
    """What a lambda makes of `{c}`: an f-string, a sum of strings, or `'...{}'.format(c)`."""

    def told(part: Any) -> str:
        match part:
            case ast.Constant(value=str(text)) if not _BRACES.search(text):
                return text
            case ast.Name(id=name) if name == argument:
                return "{c}"
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return told(value)
            case ast.JoinedStr(values=values):
                return "".join(map(told, values))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return told(left) + told(right)
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format"),
                args=[ast.Name(id=name)],
                keywords=[],
            ) if name == argument and set(_BRACES.findall(text)) == {"{}"}:
                return text.replace("{}", "{c}")
            case _:
                raise ValueError("no text of the class alone")

    return told(body)
