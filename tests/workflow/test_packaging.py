"""pyproject.toml, requirements.lock and environment.yml name the same packages."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.+?))? \\$")


def lock_blocks(path: Path) -> dict[str, list[str]]:
    """{pin line: its hash lines} of a lock file."""
    blocks: dict[str, list[str]] = {}
    pin = ""
    for line in path.read_text().splitlines():
        if line.startswith("    --hash="):
            blocks[pin].append(line.strip(" \\"))
        elif not line.startswith("#"):
            pin = line
            blocks[pin] = []
    return blocks


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    """{package: version} of the lock, as it is read here."""
    found = {}
    for line in lock_blocks(root / "requirements.lock"):
        match = PIN.match(line)
        assert match, line
        marker = Requirement(line.rstrip(" \\")).marker
        if marker and not marker.evaluate():
            continue
        name = canonicalize_name(match[1])
        assert name not in found, f"{name} is pinned twice"
        found[name] = match[2]
    return found


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_the_lock_satisfies_every_dependency_of_the_project(project: dict, pins: dict) -> None:
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in requirements.lock: run make lock"
        assert version in requirement.specifier, f"{requirement} but the lock has {version}"


def test_everything_imported_is_a_dependency(root: Path, project: dict) -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    declared.add("pydantic-core")  # pydantic asks for exactly one version of it
    owners = importlib.metadata.packages_distributions()
    own = {"mvlpt", "mvlpt_core", "mvlpt_analysis", "mvlpt_workflow", "adapter"}
    files = [
        path
        for folder in ("mvlpt", "mvlpt_core", "analysis", "workflow")
        for path in (root / folder).rglob("*")
        if path.suffix in (".py", ".smk") or path.name == "Snakefile"
    ]
    found = {
        name
        for path in files
        for name in re.findall(
            r"^ *(?:from|import) ([A-Za-z]\w*)[\w.]*(?: import |$| as )",
            path.read_text(),
            re.MULTILINE,
        )
    }
    assert {"torch", "yaml", "snakemake", "numpy"} <= found
    for name in found - own - sys.stdlib_module_names:
        assert {canonicalize_name(owner) for owner in owners[name]} & declared, name


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-uv.lock"])
def test_locks_have_hashes_and_name_no_place(root: Path, name: str) -> None:
    for pin, hashes in lock_blocks(root / name).items():
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes)
    text = (root / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-[^-]|index|find-links|file:", text, re.MULTILINE)


def test_conda_environment_has_the_packages_of_the_lock(root: Path, project: dict) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    lock = lock_blocks(root / "requirements.lock")
    assert pip == {"pip": [*(pin.removesuffix(" \\") for pin in lock), "-e ."]}, "run make lock"
    python = next(Requirement(entry.replace("=", "==")) for entry in conda if "python" in entry)
    (pinned,) = python.specifier
    assert pinned.version in Requirement(f"python{project['requires-python']}").specifier


def test_version_is_the_same_everywhere(root: Path, project: dict) -> None:
    from mvlpt_core import __version__

    assert project["dynamic"] == ["version"]
    assert importlib.metadata.version("mvlpt-transfer") == __version__


def test_ci_calls_make_test_and_make_knows_its_targets(root: Path) -> None:
    assert (root / ".ci/run").stat().st_mode & 0o111
    assert "make test" in (root / ".ci/run").read_text()
    for target in ("study", "test", "report"):
        # VENV points nowhere, so that the recipe for it is printed too; nothing is run.
        plan = subprocess.run(
            ["make", "--dry-run", target, "VENV=.venv-of-nobody"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "--require-hashes" in plan
        assert "--no-build-isolation --no-deps --editable ." in plan
        assert {"study": "mvlpt study", "test": "pytest", "report": "--report"}[target] in plan
