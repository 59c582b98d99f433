"""What is installed: a wheel with every product file, whose command and workflow run from anywhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mvlpt.cli import main
from mvlpt.settings import settings_table
from mvlpt_core.contract.provenance import code_digest
from mvlpt_workflow import located
from support.snake import command, job_counts, run

# Source folder -> its name where it is installed.
PACKAGES = {
    "mvlpt": "mvlpt",
    "mvlpt_core": "mvlpt_core",
    "analysis": "mvlpt_analysis",
    "workflow": "mvlpt_workflow",
    "config": "mvlpt_workflow/config",
}
COMMANDS = [
    "study",
    "init",
    "recommend",
    "publish",
    "tune",
    "predict",
    "evaluate",
    "export",
    "analyse",
    "convert",
    "fetch",
    "check",
    "check-config",
    "settings",
]
COMMANDS += ["workflow-path"]
DIGESTED = ["mvlpt_core.jobs", "mvlpt_analysis.report.page"]


def files_below(folder: Path) -> Iterator[str]:
    """Names of all files below a folder, but for compiled ones."""
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix()


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing of an earlier build gets in."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for folder in PACKAGES:
        hidden = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / folder, source / folder, ignore=hidden)
    shutil.copytree(root / "tests", source / "tests", ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    build = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(out)], cwd=source, check=True, capture_output=True
    )
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that has the wheel, and everything else from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # Only this environment's packages: that the checkout is installed in it is told by a .pth file
    # of its own, which is not read from here.
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    return python.parent


def told(words: list[str | Path], folder: Path) -> str:
    """What a command that succeeds writes to stdout, run in `folder`."""
    done = subprocess.run(
        list(map(str, words)),
        cwd=folder,
        # As a user's shell: nothing of this test's environment.
        env={key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_product_file_and_nothing_else(root: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        f"{name}/{path}" for folder, name in PACKAGES.items() for path in files_below(root / folder)
    }
    assert held == expected
    for name in (
        "mvlpt_analysis/play/play.js",
        "mvlpt_analysis/report/page.html.j2",
        "mvlpt_workflow/Snakefile",
        "mvlpt_workflow/rules/common.smk",
        "mvlpt_workflow/scripts/tune.py",
        "mvlpt_workflow/profiles/default/config.yaml",
        "mvlpt_workflow/config/testbed.yaml",
        "mvlpt_workflow/config/suites/testbed.tsv",
        "mvlpt_core/testbed/backbone/open_clip_model.safetensors",
    ):
        assert name in held


def test_the_installed_command_plans_a_shipped_study_from_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    plan = told([installed / "mvlpt", "study", "testbed", "--cores", "1", "--dry-run"], tmp_path)
    counts = job_counts(plan)
    assert (counts["prepare_test"], counts["backbone"], counts["report"]) == (20, 1, 1)
    assert not (tmp_path / "results").exists()


def test_the_installed_command_runs_jobs_from_an_empty_folder(
    root: Path, installed: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / ".test/config", tmp_path / "config")
    wanted = "results/test/zero_shot/object_golden.parquet"
    study = [installed / "mvlpt", "study", "config/config.yaml", "--cores", "2"]
    told([*study, "--", wanted], tmp_path)
    (backbone,) = pd.read_parquet(tmp_path / wanted)["backbone"]
    assert backbone == "local-dir:mvlpt_core/testbed/backbone"  # wherever it was found
    assert Path(told([installed / "mvlpt", "workflow-path"], tmp_path).strip()).is_relative_to(
        installed.parent
    )


def test_the_installed_analysis_writes_a_report(installed: Path, tmp_path: Path) -> None:
    tasks = ["a", "b", "c", "d"]
    rows = [(s, t, 0.1 * i - 0.03 * j) for i, s in enumerate(tasks) for j, t in enumerate(tasks)]
    pd.DataFrame(rows, columns=["source", "target", "gain"]).to_csv(tmp_path / "gains.csv")
    numbers = ["--permutations", "20", "--bootstrap", "20", "--workers", "1"]
    text = told([installed / "mvlpt", "analyse", "gains.csv", *numbers], tmp_path)
    assert text == "report: results/gains/report.html\n"
    assert "<html" in (tmp_path / "results/gains/report.html").read_text()


def test_digests_of_code_do_not_depend_on_where_it_lies(installed: Path, tmp_path: Path) -> None:
    program = (
        "import mvlpt_core; from mvlpt_core.contract.provenance import code_digest\n"
        f"print(mvlpt_core.__file__, *(code_digest(name) for name in {DIGESTED}))"
    )
    place, *digests = told([installed / "python", "-c", program], tmp_path).split()
    assert Path(place).is_relative_to(installed.parent)
    assert digests == [code_digest(name) for name in DIGESTED]


OUTER = """
import mvlpt_workflow

configfile: "outer.yaml"

module mvlpt:
    snakefile: mvlpt_workflow.SNAKEFILE
    config: config["mvlpt"]
    {prefix}

use rule * from mvlpt as mvlpt_*

onstart:
    mvlpt.onstart()

rule mine:
    default_target: True
    input: "{folder}results/inner/runs/text/shots2/object_golden/random/seed1.parquet"
    output: "mine.txt"
    shell: "ls {{input}} > {{output}}"
"""


@pytest.fixture
def outer(root: Path, tmp_path: Path) -> Path:
    """A folder with a workflow's configuration, of which a study of one task is a part."""
    inner = yaml.safe_load((root / ".test/config/config.yaml").read_text())
    inner |= {"study": "inner", "suite": "mine.tsv", "shots": 2}
    inner["runs"] = {"scratch": [{"group": "tasks", "start": "random"}]}
    (tmp_path / "outer.yaml").write_text(yaml.safe_dump({"study": "outer", "mvlpt": inner}))
    suite = (root / ".test/config/suite.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "mine.tsv").write_text("".join(suite[:2]))
    return tmp_path


@pytest.mark.parametrize(("prefix", "folder"), [("", ""), ('prefix: "below"', "below/")])
def test_the_workflow_is_a_module_of_another(outer: Path, prefix: str, folder: str) -> None:
    (outer / "Snakefile").write_text(OUTER.format(prefix=prefix, folder=folder))
    snakemake = [sys.executable, "-m", "snakemake", "--directory", str(outer), "--cores", "2"]
    snakemake += ["--nocolor", "--snakefile", str(outer / "Snakefile")]
    counts = job_counts(run([*snakemake, "--dry-run"]))
    assert counts == {
        "mine": 1,
        "mvlpt_backbone": 1,
        "mvlpt_prepare_test": 1,
        "mvlpt_prepare_sample": 1,
        "mvlpt_features_test_1": 1,
        "mvlpt_features_sample_1": 1,
        "mvlpt_tune_1": 1,
        "total": 7,
    }
    if folder:  # where both the plan and the jobs' own paths could go wrong
        run(snakemake)
        rows = pd.read_parquet(outer / (outer / "mine.txt").read_text().strip())
        assert set(rows["study"]) == {"inner"}
        assert not (outer / "results").exists()


def test_the_catalog_finds_what_it_looks_for(root: Path, tmp_path: Path) -> None:
    catalog = yaml.safe_load((root / ".snakemake-workflow-catalog.yml").read_text())
    assert catalog["usage"]["report"] is True
    assert (root / "workflow/Snakefile").is_file()
    assert (root / "config/README.md").is_file()
    shutil.copytree(root / ".test/config", tmp_path / "config")
    arguments = ["--configfile", str(tmp_path / "config/config.yaml"), "--dry-run"]
    counts = job_counts(run(command(tmp_path, *arguments)))
    assert (counts["prepare_test"], counts["report"]) == (3, 1)


def test_the_default_of_the_checkout_is_the_testbed(root: Path, tmp_path: Path) -> None:
    arguments = ["--snakefile", str(root / "Snakefile"), "--dry-run"]
    counts = job_counts(run(command(tmp_path, *arguments)))
    assert (counts["prepare_test"], counts["all"]) == (20, 1)


def test_the_command_imports_little_to_say_its_version() -> None:
    program = (
        "import sys; from mvlpt.cli import main\n"
        "try: main(['--version'])\n"
        "finally: print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("mvlpt ")
    heavy = {"numpy", "pandas", "torch", "pydantic", "yaml", "snakemake", "matplotlib", "scipy"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"mvlpt {name}" in shown.partition("examples:")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stud", "x.yaml"], ["unknown command 'stud'", "did you mean study?", *COMMANDS]),
        (["--verson"], ["unknown command '--verson'", "did you mean --version?", *COMMANDS]),
        (["study"], ["config", "mvlpt study --help"]),
        (["study", "testbed", "--core", "1"], ["--core"]),
        (["study", "nowhere.yaml"], ["nowhere.yaml: no such file", "paper_vitb16", "testbed"]),
        (["study", "testbed", "--cores", "many"], ["--cores is 'many'", "whole number"]),
        (["study", "testbed", "--profile", "sge"], ["--profile sge", "default, slurm"]),
        (["study", "bad.yaml"], ["bad.yaml: unknown key 'sead'", "seeds"]),
        (["check-config", "bad.yaml"], ["bad.yaml: unknown key 'sead'", "seeds"]),
        (["check-config", "testbed", "--", "-n"], ["nothing after --", "study"]),
        (["recommend", "--study", "gone", "--task", "."], ["gone/config.yaml: no such file"]),
        (["recommend", "--study", "gone", "--task", "away"], ["away", "folder of images"]),
        (["analyse", "gone.csv"], ["gone.csv: no such file"]),
        (["analyse", "gone.csv", "--gain", "luck"], ["--gain is 'luck'", "relative"]),
        (["convert", "ViT-B-1", "--out", "x"], ["ViT-B-1", "unknown model name"]),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("study: bad\nsead: 1\n")
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    (sentence,) = [line for line in said.err.splitlines() if not line.endswith(" ...")]  # progress
    assert sentence.startswith("error: ")
    for word in words:
        assert word in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml"]


def test_a_shipped_backbone_is_converted_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = yaml.safe_load(Path(located("config/testbed.yaml")).read_text())["backbone"]["name"]
    assert main(["convert", name, "--out", "backbone"]) == 0
    assert capsys.readouterr().out == "backbone: backbone\n"
    assert {path.name for path in (tmp_path / "backbone").iterdir()} == {
        "backbone.json",
        "backbone.safetensors",
    }
    described = json.loads((tmp_path / "backbone/backbone.json").read_text())
    assert (described["name"], described["open_clip"]["name"]) == (name, name)


def test_a_configuration_is_checked_and_completed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "testbed"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# Study testbed: 1,260 runs (420 pairs of group and start x 3 methods")
    assert yaml.safe_load(shown)["tuning"]["optimizer"] == "adamw"


def test_the_documentation_of_settings_is_the_settings(root: Path) -> None:
    written = (root / "docs/settings.md").read_text()
    assert written == settings_table(True) + "\n", "mvlpt settings --markdown > docs/settings.md"
