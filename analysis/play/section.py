"""The playable part as pieces of a page: two scripts, the data and the charts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..view import View
from .chart import charts, library
from .data import Frames, pair_data

# What a page may load: nothing. Vega compiles its expressions, which is `unsafe-eval`; only the scripts of
# `playable` run, so that no name that came with data can.
POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-eval' {}"


def playable(
    view: View, parts: Mapping[Any, Frames], prompts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """For the template of the page: `data` (base64 of gzip of JSON), `charts` (JSON), `scripts`, and the
    `policy` of what may run. Nothing where no pair was measured."""
    if all(frames["gains"].empty for frames in parts.values()):
        return {}
    data = pair_data(view, parts, prompts)
    packed = gzip.compress(
        json.dumps(data, separators=(",", ":"), allow_nan=False).encode(), mtime=0
    )
    own = Path(__file__).with_name("play.js").read_text(encoding="utf-8")
    scripts = [library(), own]
    return {
        "data": base64.b64encode(packed).decode(),
        "charts": in_script(charts(data)),
        "scripts": scripts,
        "policy": POLICY.format(" ".join(f"'{_digest(script)}'" for script in scripts)),
        "prompts": prompts is not None,
    }


def in_script(value: Any) -> str:
    """JSON that can stand in a script element: no name in it can end that."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
