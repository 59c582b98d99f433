"""The commands of `speed` run: here in their smallest form."""

import sys
from pathlib import Path

import pytest

from mvlpt.plan import checked_study, study_counter
from mvlpt_core.contract.methods import METHODS
from speed import account, gpu, planning


def test_gpu_measures_every_method_on_any_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "gpu --model tiny --device cpu --packs 1 3 --steps 2 --repeats 1"
    monkeypatch.setattr(sys, "argv", command.split())
    gpu.main()
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in lines if row[0] in METHODS]
    assert [row[:2] for row in rows if len(row) == 7] == [[m, n] for m in METHODS for n in "13"]
    spreads = [list(map(float, row[1:])) for row in rows if len(row) == 3]
    assert len(spreads) == 3
    for by_pack, by_seed in spreads:  # what a run was packed with changes nothing on a CPU
        assert by_pack <= 1e-4 * by_seed


def test_planning_the_papers_grid_is_cheap(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,800 cells: 14 s of a processor and 280 MB where it was measured, beside other work more."""
    monkeypatch.chdir(root)
    found = planning.measured("config/testbed.yaml", planning.GRID, ["--dry-run", "--quiet", "all"])
    assert found.jobs == 511
    assert found.own < 40
    assert found.megabytes < 500


def test_an_account_of_a_study_adds_up(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    for name in ("tune/text/pack1", "tune/visual/pack1", "gather"):
        path = tmp_path / f"benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("s\th:m:s\tcpu_time\n5.0\t0:00:05\t4.0\n")
    log = "Provided cores: 2\nElapsed time: 0:01:15.500000\n"
    counter = study_counter(checked_study("tests/workflow/config/tiny.yaml"))
    work = sum(p.tuning + p.scoring for job in counter.jobs for p in job.portions)
    work *= len(counter.study.seeds)
    whole = account.elapsed(log)
    assert whole == 151
    floor, rows = account.account(counter, work / 3, 1.0, account.spent(tmp_path), whole)
    assert floor == pytest.approx(3)
    found = {row.part: row[1:] for row in rows}
    assert found["training jobs: starting"] == (2, 2, 2)
    assert found["training jobs: beyond"] == pytest.approx((0, 10 - 5, 8 - 5))
    assert found["gather"] == (1, 5, 4)
    assert sum(row.clock for row in rows) == pytest.approx(whole)
    assert account.table(floor, rows)[-1] == "| all | 3 | 151.0 | 12.0 | 50.33 |"
