"""Reading, checking and pivoting pair tables."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvlpt_analysis.read import pairs as reading
from mvlpt_core.contract.errors import InputError
from support import bad_text


def pairs(**columns):
    base = {"source": ["b", "a"], "target": ["a", "b"], "score": [0.1, 0.2]}
    return pd.DataFrame(base | columns)


def test_csv_keeps_task_names_that_look_like_missing(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("source,target,score\nNA,null,0.5\nnull,NA,\n")
    frame = reading.check_pairs(reading.read_frame(path), name=str(path))
    assert frame["source"].tolist() == ["NA", "null"]
    assert frame["score"].iloc[0] == 0.5
    assert np.isnan(frame["score"].iloc[1])


def test_names_are_read_letter_by_letter(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("source,target,score,seed\n1,007,0.5,1\nnan,1.0,0.25,2\n")
    frame = reading.check_pairs(reading.read_frame(path), name=str(path))
    assert frame["source"].tolist() == ["1", "nan"]
    assert frame["target"].tolist() == ["007", "1.0"]
    assert frame["score"].tolist() == [0.5, 0.25]
    assert frame["seed"].tolist() == [1, 2]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_written_frames_come_back_and_leave_no_part(tmp_path, suffix):
    path = tmp_path / "deep" / f"t{suffix}"
    reading.write_frame(pairs(), path)
    pd.testing.assert_frame_equal(reading.read_frame(path), pairs(), check_dtype=False)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source,target\na,b\n", "pairs.csv: column 'score' is missing"),
        ("source,target,score\n", "pairs.csv: the table has no rows"),
        ("source,target,score\na,,1\n", "column 'target' is empty in row 1"),
        ("source,target,score\na,b,1\nb,a,high\n", "column 'score' is 'high' in row 2"),
        ("source,target,score\na,b,inf\n", "column 'score' is 'inf' in row 1"),
        (
            "source,target,score\na,b,1\na,b,2\n",
            "more than one row for source 'a', target 'b'",
        ),
    ],
)
def test_bad_tables_are_named_in_one_sentence(tmp_path, text, words):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        reading.check_pairs(reading.read_frame(path), name=str(path))


def test_unreadable_files(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    (tmp_path / "zip.csv").write_bytes(b"PK\3\4" + bytes(20))
    for name, words in [
        *(("x.parquet", "cannot be read"), ("y.csv", "no such"), ("z.xls", "ending")),
        ("zip.csv", r"zip.csv: not a table \(it holds a zip archive"),
    ]:
        with pytest.raises(InputError, match=words):
            reading.read_frame(tmp_path / name)


def test_tables_whose_text_is_none(tmp_path):
    score = [0.1, 0.2]
    rows = pa.table(
        {"source": bad_text.column([b"a", b"b\x8b"]), "target": ["b", "a"], "score": score}
    )
    pq.write_table(rows, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x.parquet: cannot be read as a table \(.*UTF"):
        reading.read_frame(tmp_path / "x.parquet")
    bad_text.write_with_bad_name(pa.table({"score": score}), "score", tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x.parquet: cannot be read as a table \(.*can't decode"):
        reading.read_frame(tmp_path / "x.parquet")


def test_pivot_is_in_suite_order_with_unknown_tasks_last():
    frame = pd.DataFrame(
        {"source": ["x", "b", "a"], "target": ["a", "a", "b"], "score": [3.0, 1.0, 2.0]}
    )
    matrix = reading.pivot(frame, "score", suite=["a", "unused", "b"])
    assert matrix.index.tolist() == ["a", "b", "x"]
    assert matrix.columns.tolist() == ["a", "b"]
    assert matrix.loc["x", "a"] == 3
    assert np.isnan(matrix.loc["a", "a"])
    with pytest.raises(InputError, match="more than one row for source 'x', target 'a'"):
        reading.pivot(pd.concat([frame, frame.iloc[:1]]), "score")


def test_only_tasks_on_both_sides_are_common():
    frame = pd.DataFrame(
        {"source": ["random", "a", "b"], "target": ["a", "b", "a"], "score": [0.0, 1.0, 2.0]}
    )
    assert reading.common_tasks(frame) == ["a", "b"]
    assert reading.square(frame, "score", ["b", "a"])[0, 1] == 2


def test_relative_to_own_score():
    frame = pd.DataFrame(
        {"source": ["a", "b", "a"], "target": ["a", "a", "b"], "score": [0.8, 0.4, 0.3]}
    )
    relative = reading.relative_to_own(frame)
    assert relative[:2].tolist() == [1.0, 0.5]
    assert np.isnan(relative[2])  # task b has no own score


def test_transfer_tables_are_checked_and_diverged_cells_masked():
    frame = pairs(
        method="text", seed=1, metric="accuracy", scratch=0.5, status=["ok", "diverged"], gain=0.1
    )
    masked = reading.check_transfer(frame)
    assert masked["score"].isna().tolist() == [False, True]
    assert masked["gain"].isna().tolist() == [False, True]
    with pytest.raises(InputError, match="status 'lost' is not one of ok, diverged"):
        reading.check_transfer(frame.assign(status="lost"))
    with pytest.raises(InputError, match="column 'scratch' is 40"):
        reading.check_transfer(frame.assign(scratch=40.0))
    with pytest.raises(InputError, match="column 'seed' is missing"):
        reading.check_transfer(frame.drop(columns="seed"))
