"""Digests that name what a result was made from: settings and source code.

The workflow hands them to its jobs as parameters, so that a job runs again exactly when its
settings or the code behind it changed, and every cell records both.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LENGTH = 12  # hex digits kept: enough to tell versions of one project apart, short to read

PACKAGES = ("mvlpt_core", "mvlpt_analysis")


def code_digest(*modules: str, root: Path | None = None) -> str:
    """Digest of the source of `modules` (dotted names) and of all that they import of this project.

    `root` is the folder that packages are looked for in; by default this project's own, wherever
    they are installed.

    Following the imports keeps the digest complete without a list to maintain: a plot that the
    tuning code does not import does not count, a helper that it does import counts. Names and
    contents count, times and places do not. Raises ValueError for a module that does not exist.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    for module in modules:
        if _source(module, root) is None:
            raise ValueError(f"no module {module!r} in {root or ', '.join(PACKAGES)}")
    while waiting:
        name = waiting.pop()
        path = _source(name, root)
        if path is not None and name not in found:
            found[name] = path
            waiting.extend(_imports(path, name))
    digest = hashlib.sha256()
    for name, path in sorted(found.items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:LENGTH]


def config_digest(settings: Mapping[str, Any]) -> str:
    """Digest of JSON-like settings: the order of keys does not count, the order in lists does.

    Raises TypeError for values that JSON cannot hold and ValueError for NaN.
    """
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _source(module: str, root: Path | None) -> Path | None:
    """The file of a module or package; None for what comes from elsewhere."""
    top, *below = module.split(".")
    folder = _package(top) if root is None else root / top
    if folder is None:
        return None
    base = folder.joinpath(*below)
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _package(name: str) -> Path | None:
    """Where one of this project's packages lies; nothing of it is executed."""
    spec = find_spec(name) if name in PACKAGES else None
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _imports(path: Path, module: str) -> Iterator[str]:
    """Every module that a file may import, wherever in it the import stands, and its packages.

    `from a import b` may mean the module a.b or a name in a: both are given.
    """
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    if package:
        yield ".".join(package[:-1] if package == module.split(".") else package)
    for node in _import_nodes(path, path.stat().st_mtime_ns):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            yield name
            yield name.rpartition(".")[0]


@cache
def _import_nodes(path: Path, mtime: int) -> list[ast.Import | ast.ImportFrom]:
    """The file's import statements; `mtime` makes the cache forget a file that changed."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
