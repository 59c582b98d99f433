"""The commands of `speed` run: here in their smallest form."""

import sys

import pytest

from mvlpt_core.contract.methods import METHODS
from speed import gpu


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
