"""The commands of `speed` run: here in their smallest form."""

import sys
from pathlib import Path

import pytest
import torch

from mvlpt.plan import checked_study, study_counter
from mvlpt_core.contract.methods import METHODS
from mvlpt_core.planning.shapes import random_backbone
from speed import account, gpu, planning


def test_gpu_measures_every_method_on_any_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "gpu --model tiny --device cpu --precision bf16 --packs 1 3 --at-once 2 --steps 2 --repeats 1"
    monkeypatch.setattr(sys, "argv", command.split())
    gpu.main()
    tables = [
        [line.strip("| ").split(" | ") for line in part.splitlines()[2:]]
        for part in capsys.readouterr().out.split("\n\n")[1:]
    ]
    steps, fetched, at_once, spreads = tables
    packs = [(method, pack) for method in METHODS for pack in "13"]
    assert [(row[0], row[3]) for row in steps] == 2 * packs
    assert [row[1] for row in steps] == ["bfloat16"] * 6 + ["float32"] * 6
    assert [row[:2] for row in fetched] == [["visual", "1"], ["visual", "3"]]
    assert [(row[0], row[2]) for row in at_once] == packs
    assert all(float(row[3]) > 0 for row in at_once)
    assert [row[0] for row in spreads] == list(METHODS)
    for _, by_pack, by_seed in spreads:
        assert 0 <= float(by_pack) < float(by_seed)


def test_a_run_is_the_same_in_any_pack_on_a_processor() -> None:
    backbone = random_backbone(gpu.TINY, "cpu", torch.float32)
    benches = [gpu.Bench(backbone, settings) for settings in gpu.SETTINGS]
    for _, by_pack, by_seed in gpu.spread_rows(benches, 3, 2):
        assert float(str(by_pack)) <= 1e-4 * float(str(by_seed))


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
