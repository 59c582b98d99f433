"""What the text tower reads of a text: vocabulary ids, after open_clip's cleaning."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

LOWER = "lower"  # open_clip's cleaning unless a model's configuration names another
CLEANINGS = (LOWER, "whitespace", "canonicalize")


@lru_cache(maxsize=len(CLEANINGS))
def tokenizer(clean: str = LOWER) -> Callable[[str], list[int]]:
    """A function from a text to its vocabulary ids, without start, end and padding; `clean` is the
    backbone's."""
    from open_clip.tokenizer import SimpleTokenizer  # slow to import, and only encoding needs it

    simple = SimpleTokenizer(clean=clean)

    def tokenize(text: str) -> list[int]:
        return list(simple.encode(text))

    return tokenize


def read_as(text: str, clean: str = LOWER) -> list[str]:
    """The parts of a text as the text tower reads them: its tokens, as text again."""
    from open_clip.tokenizer import SimpleTokenizer

    simple = SimpleTokenizer(clean=clean)
    return [simple.decode([number]).strip() for number in tokenizer(clean)(text)]
