"""The commands of `speed` run: here in their smallest form."""

import sys
from pathlib import Path

import pytest

from mvlpt_core.contract.methods import METHODS
from speed import gpu, planning


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
