"""What the text tower reads of a text: vocabulary ids, after open_clip's cleaning."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from mvlpt_core.backbone.named import open_clip_folder

LOWER = "lower"  # open_clip's cleaning unless a model's configuration names another
CLEANINGS = (LOWER, "whitespace", "canonicalize")


@lru_cache(maxsize=len(CLEANINGS))
def tokenizer(clean: str = LOWER) -> Callable[[str], list[int]]:
    """A function from a text to its vocabulary ids, without start, end and padding; `clean` is the
    backbone's."""
    simple = _tokenizers().SimpleTokenizer(clean=clean)

    def tokenize(text: str) -> list[int]:
        return list(simple.encode(text))

    return tokenize


def read_as(text: str, clean: str = LOWER) -> list[str]:
    """The parts of a text as the text tower reads them: its tokens, as text again."""
    simple = _tokenizers().SimpleTokenizer(clean=clean)
    return [simple.decode([number]).strip() for number in tokenizer(clean)(text)]


@cache
def _tokenizers() -> ModuleType:
    """open_clip's module of tokenizers, without the models that importing the package brings: seconds, which
    every job and command that reads a text would pay."""
    if "open_clip" not in sys.modules:
        spec = spec_from_file_location("open_clip_tokenizer", open_clip_folder() / "tokenizer.py")
        if spec is not None and spec.loader is not None:
            found = module_from_spec(spec)
            spec.loader.exec_module(found)
            return found
    return import_module("open_clip.tokenizer")
