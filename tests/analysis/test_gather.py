"""Collecting the files of a study."""

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis.read.gather import CURVE_COLUMNS, TRANSFER_COLUMNS, gather
from mvlpt_core.contract.errors import InputError


def evaluations(method, source, target, seed, scores, status="ok", **columns):
    """Rows of one run: test scores by step, the last selected; one validation row."""
    steps = sorted(scores)
    frame = pd.DataFrame(
        {
            "study": "s",
            "method": method,
            "source": source,
            "target": target,
            "seed": seed,
            "step": steps,
            "split": "test",
            "metric": "accuracy",
            "score": [scores[step] for step in steps],
            "loss": 1.0,
            "n": 4,
            "status": status,
            "selected": [status == "ok" and step == steps[-1] for step in steps],
            "outcomes": [np.arange(4, dtype="<u2").tobytes()] * len(steps),
            "outcome_kind": "prediction_u16",
        }
    )
    check = frame.tail(1).assign(split="val", selected=False, outcomes=None, score=0.99)
    return pd.concat([frame, check]).assign(**columns)


@pytest.fixture
def study(tmp_path):
    """Two tasks, one method, one seed; cell a -> b diverged."""

    def write(name, frame):
        path = tmp_path / f"{name}.parquet"
        frame.to_parquet(path)
        return path

    cells = {("a", "a"): 0.7, ("b", "a"): 0.9, ("b", "b"): 0.5}
    files = [
        write(f"cell_{s}_{t}", evaluations("text", s, t, 1, {0: 0.4, 10: 0.6, 20: score}))
        for (s, t), score in cells.items()
    ]
    lost = evaluations("text", "a", "b", 1, {0: 0.4, 10: None, 20: None}, status="diverged")
    files.append(write("cell_a_b", lost))
    sources = [
        write(f"source_{t}", evaluations("text", "scratch", t, 1, {0: 0.1, 20: score}))
        for t, score in (("a", 0.8), ("b", 0.5))
    ]
    zero = [
        write(f"zero_{t}", evaluations("zero_shot", "", t, 0, {0: score}))
        for t, score in (("a", 0.3), ("b", 0.2))
    ]
    return files, sources, zero


def test_cells_are_joined_with_scratch_and_zero_shot(study):
    found = gather(*study)
    table = found.transfer.set_index(["source", "target"])
    assert list(found.transfer.columns) == TRANSFER_COLUMNS
    assert len(table) == 4
    row = table.loc["b", "a"]
    assert (row.score, row.scratch, row.zero_shot, row.step0) == (0.9, 0.8, 0.3, 0.4)
    assert row.gain == pytest.approx(0.1)
    assert row.relative_error_reduction == pytest.approx(0.5)
    assert row.n == 4


def test_a_diverged_cell_has_a_row_and_no_score(study):
    row = gather(*study).transfer.set_index(["source", "target"]).loc["a", "b"]
    assert row.status == "diverged"
    assert row.step0 == 0.4
    assert np.isnan([row.score, row.gain, row.relative_error_reduction]).all()


def test_curves_hold_test_rows_of_cells_and_scratch(study):
    curves = gather(*study).curves
    assert list(curves.columns) == CURVE_COLUMNS
    assert len(curves) == 4 * 3 + 2 * 2
    assert set(curves.loc[curves["source"] == "scratch", "step"]) == {0, 20}


def test_outcomes_are_those_of_the_selected_row(study):
    outcomes = gather(*study).outcomes
    assert len(outcomes) == 3 + 2  # the diverged cell has none
    assert np.frombuffer(outcomes["outcomes"].iloc[0], "<u2").tolist() == [0, 1, 2, 3]


def test_missing_and_doubled_parts_are_named(study, tmp_path):
    cells, sources, zero = study
    with pytest.raises(InputError, match="target 'b', seed 1 has no scratch score"):
        gather(cells, sources[:1], zero)
    with pytest.raises(InputError, match="has no zero_shot score"):
        gather(cells, sources, zero[:1])
    with pytest.raises(InputError, match="source 'a', target 'a', seed 1 occurs more than once"):
        gather([*cells, cells[0]], sources, zero)
    with pytest.raises(InputError, match=r"gone\.parquet: no such file"):
        gather([*cells, tmp_path / "gone.parquet"], sources, zero)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 is not all")
    with pytest.raises(InputError, match=r"broken\.parquet: not a parquet file"):
        gather([*cells, broken], sources, zero)
    with pytest.raises(InputError, match="no cell files"):
        gather([], sources, zero)


def test_a_cell_needs_exactly_one_selected_row(study, tmp_path):
    cells, sources, zero = study
    frame = evaluations("text", "a", "a", 1, {0: 0.4, 20: 0.5}).assign(selected=False)
    frame.to_parquet(cells[0])
    with pytest.raises(InputError, match="target 'a', seed 1 has 0 selected test rows"):
        gather(cells, sources, zero)


def test_a_file_without_a_column_is_named(study):
    cells, sources, zero = study
    pd.read_parquet(cells[1]).drop(columns="status").to_parquet(cells[1])
    with pytest.raises(InputError, match=r"cell_b_a\.parquet: column 'status' is missing"):
        gather(cells, sources, zero)
