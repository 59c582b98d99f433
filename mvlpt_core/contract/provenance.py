"""Digests that name what a result was made from: settings and source code.

The workflow hands them to its jobs as parameters, so that a job runs again exactly when its
settings or the code behind it changed, and every cell records both.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

LENGTH = 12  # hex digits kept: enough to tell versions of one project apart, short to read

ROOT = Path(__file__).resolve().parents[2]


def code_digest(*modules: str, root: Path = ROOT) -> str:
    """Digest of the source of `modules` (dotted names) and of all that they import below `root`.

    Following the imports keeps the digest complete without a list to maintain: a plot that the
    tuning code does not import does not count, a helper that it does import counts. Names and
    contents count, times and places do not. Raises ValueError for a module that does not exist.
    """
    files: set[Path] = set()
    waiting = list(modules)
    for module in modules:
        if _source(module, root) is None:
            raise ValueError(f"no module {module!r} below {root}")
    while waiting:
        name = waiting.pop()
        path = _source(name, root)
        if path is not None and path not in files:
            files.add(path)
            waiting.extend(_imports(path, name))
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:LENGTH]


def config_digest(settings: Mapping[str, Any]) -> str:
    """Digest of JSON-like settings: the order of keys does not count, the order in lists does.

    Raises TypeError for values that JSON cannot hold and ValueError for NaN.
    """
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _source(module: str, root: Path) -> Path | None:
    """The file of a module or package below `root`; None for what comes from elsewhere."""
    base = root.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


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
