"""Class names as the text tower reads them: whether they say something, differ and fit.

Importing the tokenizer takes seconds, so that it is asked only where a look at the letters leaves doubt.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from mvlpt_core.backbone.tokens import LOWER, tokenizer
from mvlpt_core.contract.errors import InputError

_SHOWN = 3  # groups of classes named in a warning
_INVISIBLE = ("C", "Z", "M")  # Unicode categories: controls and formats, separators, marks


@dataclass(frozen=True)
class Room:
    """How many tokens a class name may have in a text tower of `length`, beside `n_ctx` context vectors
    (those of the method that `key` sets them for), start, end and full stop; and how the tower's texts are
    cleaned. Length 0 is unknown; without context vectors texts are cut, as open_clip does."""

    length: int = 0
    n_ctx: int = 0
    key: str = ""
    clean: str = LOWER

    @property
    def tokens(self) -> int | None:
        return self.length - self.n_ctx - 3 if self.length and self.n_ctx else None


UNKNOWN = Room()


def check_visible(names: Sequence[str], where: str) -> None:
    """Raise `InputError` for a class name without a letter that can be seen: empty, or blanks, controls
    and zero-width letters."""
    for number, name in enumerate(names):
        if any(unicodedata.category(letter) == "Cs" for letter in name):
            raise InputError(
                f"{where}: the name of class {number} (counted from 0), {name!a}, is not UTF-8: "
                "expected the folder renamed"
            )
        if all(unicodedata.category(letter)[0] in _INVISIBLE for letter in name):
            raise _nothing(number, name, where)


def check_names(names: Sequence[str], where: str, room: Room = UNKNOWN) -> list[str]:
    """Warnings about the class names of `where`: those that the text tower cannot tell apart.

    Raises `InputError`, naming the class, for a name of which it reads nothing and one that does not fit.
    """
    if _is_plain(names, room):
        return []
    if room.tokens is not None and room.tokens < 1:
        raise InputError(
            f"{room.key} is {room.n_ctx}: expected at most {room.length - 4}, for a text tower of "
            f"{room.length} tokens that has to hold a class name too"
        )
    tokenize = tokenizer(room.clean)
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, name in enumerate(names):
        ids = tuple(tokenize(name))
        if not ids:
            raise _nothing(number, name, where)
        if room.tokens is not None and len(ids) > room.tokens:
            raise InputError(
                f"{where}: class name {name!r} has {len(ids)} tokens, and the text tower has room for "
                f"{room.tokens} beside {room.n_ctx} context vectors: expected a shorter name (the suite's "
                f"column names) or a smaller {room.key}"
            )
        alike.setdefault(ids, []).append(number)
    twins = [numbers for numbers in alike.values() if len(numbers) > 1]
    if not twins:
        return []
    told = [
        " and ".join(f"{names[number]!r} ({number})" for number in numbers)
        for numbers in twins[:_SHOWN]
    ]
    more = f" and {len(twins) - _SHOWN} more" if len(twins) > _SHOWN else ""
    return [
        f"{where}: the text tower reads the same for classes {'; '.join(told)}{more} (numbers from 0), and "
        "can never tell them apart: the suite's column names gives them others"
    ]


def _is_plain(names: Sequence[str], room: Room) -> bool:
    """Whether letters alone show that all names differ and fit: in plain text, whatever the tokenizer
    makes of it, names differ if they do so without blanks and case, and a letter is at most a token."""
    text = "".join(names)
    if room.clean != LOWER or not text.isascii() or not text.isprintable() or set("&<") & set(text):
        return False
    keys = {"".join(name.lower().split()) for name in names}
    most = max(map(len, names), default=0)
    return len(keys) == len(names) and (room.tokens is None or most <= room.tokens)


def _nothing(number: int, name: str, where: str) -> InputError:
    return InputError(
        f"{where}: the name of class {number} (counted from 0), {name!r}, says nothing to the text tower: "
        "expected letters, of the data's or of the suite's column names"
    )
