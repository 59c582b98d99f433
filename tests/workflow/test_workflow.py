"""The workflow itself: a tiny study for real, its resumption, and the plan of the default study."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from support.task_files import write_birds

CELL_COLUMNS = {
    "study",
    "method",
    "source",
    "target",
    "seed",
    "shots",
    "step",
    "split",
    "metric",
    "score",
    "loss",
    "n",
    "status",
    "selected",
    "backbone",
    "config_digest",
    "code_digest",
    "version",
}
TASKS = ["object_golden", "object_rosy", "background_golden", "background_rosy"]
TRANSFER = ["--", "results/tiny/transfer.parquet"]  # a target: options before it end here
CELL = "results/tiny/cells/text/object_rosy/background_rosy/seed1.parquet"


def snakemake(root: Path, folder: Path, *arguments: str) -> list[str]:
    """The command line of Snakemake on the checkout, with results below `folder`."""
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(root / "Snakefile"),
        "--directory",
        str(folder),
        "--cores",
        "2",
        "--nocolor",
        "--workflow-profile",
        str(root / "workflow/profiles/default"),
        *arguments,
    ]


def run(command: list[str]) -> str:
    """Run to the end; what Snakemake said. A failure shows it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def job_counts(plan: str) -> dict[str, int]:
    """{rule: number of jobs} of the first job table in Snakemake's words; empty without one."""
    table = re.search(r"^job +count\n[- ]+\n((?:\S+ +\d+\n)+)", plan, re.MULTILINE)
    return {name: int(n) for name, n in map(str.split, table[1].splitlines())} if table else {}


@pytest.fixture(scope="module")
def tiny(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny study that was killed hard in the middle of its cells and then continued."""
    folder = tmp_path_factory.mktemp("tiny")
    command = snakemake(root, folder, "--configfile", str(root / "tests/config/tiny.yaml"))
    killed = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    cells = folder / "results/tiny/cells"
    while killed.poll() is None and not any(cells.rglob("*.parquet")):
        time.sleep(0.05)
    assert killed.poll() is None, "the study ended before it could be killed"
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert 0 < len(list(cells.rglob("*.parquet"))) < 64
    assert not (folder / "results/tiny/transfer.parquet").exists()
    run([*command, "--unlock"])
    run(command)
    return folder


def test_a_killed_study_ends_with_every_declared_output(tiny: Path) -> None:
    results = tiny / "results/tiny"
    cells = {
        results / f"cells/{method}/{target}/{source}/seed{seed}.parquet"
        for method in ("text", "visual")
        for target in TASKS
        for source in TASKS
        for seed in (1, 2)
    }
    assert set((results / "cells").rglob("*.parquet")) == cells
    for name in (
        "config.yaml",
        "transfer.parquet",
        "similarity.parquet",
        "correlations.parquet",
        "correlations.csv",
        "report.html",
        "figures/gains_text.png",
        "figures/gains_visual.svg",
        "figures/scatter_visual_cosine.png",
        "figures/similarity_label_cosine.svg",
    ):
        assert (results / name).stat().st_size > 0, name
    assert yaml.safe_load((results / "config.yaml").read_text())["tuning"]["momentum"] == 0.9


def test_a_killed_study_ends_as_one_that_was_left_alone(
    root: Path, tiny: Path, tmp_path: Path
) -> None:
    config = str(root / "tests/config/tiny.yaml")
    run(snakemake(root, tmp_path, "--configfile", config, "--", "results/tiny/tables/gains.csv"))
    names = [
        path.relative_to(tmp_path) for path in tmp_path.glob("results/tiny/cells/**/*.parquet")
    ]
    names += [Path("results/tiny") / f"{name}.parquet" for name in ("transfer", "similarity")]
    assert len(names) == 66
    for name in names:
        pd.testing.assert_frame_equal(
            pd.read_parquet(tiny / name), pd.read_parquet(tmp_path / name)
        )
    tables = "results/tiny/tables/gains.csv"
    assert (tiny / tables).read_bytes() == (tmp_path / tables).read_bytes()


def test_a_cell_file_has_the_rows_and_columns_of_the_contract(tiny: Path) -> None:
    cell = pd.read_parquet(tiny / CELL)
    assert set(cell.columns) >= CELL_COLUMNS
    assert sorted(cell.loc[cell["split"] == "test", "step"]) == [0, 2, 4]
    assert cell.loc[cell["selected"], "step"].tolist() == [4]
    assert (cell[["study", "source", "target"]] == ["tiny", "background_rosy", "object_rosy"]).all(
        axis=None
    )


def test_transfer_table_has_a_row_for_every_cell(tiny: Path) -> None:
    transfer = pd.read_parquet(tiny / "results/tiny/transfer.parquet")
    assert len(transfer) == 64
    assert not transfer.duplicated(["method", "source", "target", "seed"]).any()
    assert (transfer["status"] == "ok").all()
    gain = transfer["score"] - transfer["scratch"]
    pd.testing.assert_series_equal(transfer["gain"], gain, check_names=False)


def test_a_folder_of_images_gets_a_recommendation(root: Path, tiny: Path, tmp_path: Path) -> None:
    birds = write_birds(tmp_path / "birds", 4)
    command = [sys.executable, "-m", "analysis", "recommend", "--study", str(tiny / "results/tiny")]
    done = subprocess.run(
        [*command, "--task", str(birds)],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for method in ("text", "visual"):
        assert f"{method} (gains in points over scratch)" in done.stdout
    assert "sources/text/" in done.stdout
    assert (tiny / "results/tiny/new_tasks/birds.safetensors").exists()


def test_a_finished_study_has_nothing_to_do_and_a_lost_cell_reruns_its_job_alone(
    root: Path, tiny: Path
) -> None:
    command = snakemake(root, tiny, "--configfile", str(root / "tests/config/tiny.yaml"))
    assert "Nothing to be done" in run([*command, "--dry-run"])
    before = pd.read_parquet(tiny / CELL)
    (tiny / CELL).unlink()
    assert job_counts(run([*command, "--dry-run"]))["cells_1_2"] == 1
    assert job_counts(run([*command, "--", "cells"])) == {"cells_1_2": 1, "cells": 1, "total": 2}
    pd.testing.assert_frame_equal(pd.read_parquet(tiny / CELL), before)
    # Snakemake compares contents: the same cell again leaves the tables as they are.
    assert "Nothing to be done" in run([*command, "--dry-run"])


def test_settings_rerun_what_depends_on_them_and_packing_reruns_nothing(
    root: Path, tiny: Path
) -> None:
    config = yaml.safe_load((root / "tests/config/tiny.yaml").read_text())
    config |= {"pack": 1, "tasks_per_job": 2, "device": "auto", "mem_mb": 2000}
    (tiny / "repacked.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    config["methods"]["text"]["lr"] = 0.2
    (tiny / "other_rate.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    plans = [
        job_counts(
            run(snakemake(root, tiny, "--configfile", str(tiny / name), "--dry-run", *TRANSFER))
        )
        for name in ("repacked.yaml", "other_rate.yaml")
    ]
    assert plans[0] == {}
    # The text method alone: its sources, and its cells in 2 blocks of targets x 4 packs.
    cells = {f"cells_{block}_{pack}": 1 for block in (1, 2) for pack in (1, 2, 3, 4)}
    assert plans[1] == {"sources_1": 1, "sources_2": 1, **cells, "gather": 1, "total": 11}


def test_the_default_study_plans_its_1200_cells_in_12_jobs(root: Path, tmp_path: Path) -> None:
    plan = run(snakemake(root, tmp_path, "--dry-run"))
    assert (
        "Study testbed: 1,200 cells, 3 methods x 20 sources x 20 targets x 1 seed, in 12 jobs"
        in plan
    )
    counts = job_counts(plan)
    assert sum(n for name, n in counts.items() if name.startswith("cells_")) == 12
    assert sum(n for name, n in counts.items() if name.startswith("sources_")) == 12
    assert (counts["prepare"], counts["backbone"], counts["gather"]) == (20, 1, 1)
