"""Collecting the score rows of a study."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from mvlpt_analysis.read.gather import (
    CURVE_COLUMNS,
    OUTCOME_COLUMNS,
    SCORE_COLUMNS,
    TRANSFER_COLUMNS,
    TRUTH_COLUMNS,
    gather,
)
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.rows import write_rows

OUTCOMES = np.arange(4, dtype="<u2").tobytes()


def evaluation(target, step, split="test", score=0.5, **columns):
    """One row of a finished run."""
    return {
        "study": "s",
        "target": target,
        "step": step,
        "split": split,
        "metric": "accuracy",
        "score": score,
        "loss": 1.0,
        "n": 4,
        "status": "ok",
        "selected": False,
        "config_digest": "c",
        "code_digest": "d",
    } | columns


def run_rows(group, start, scores, targets=None, seed=1, status="ok"):
    """Rows of one run: test scores by step, the last selected; its curve; one validation row."""
    run = {"method": "text", "group": group, "start": start, "shots": 4, "seed": seed}
    rows = []
    for target in targets or [group]:
        for step, score in scores.items():
            chosen = status == "ok" and step == max(scores)
            kept = {"outcomes": OUTCOMES, "outcome_kind": "prediction_u16"} if chosen else {}
            for split in ("test", "curve"):
                more = {"selected": chosen, **kept} if split == "test" else {}
                rows.append(evaluation(target, step, split, score, status=status, **run, **more))
        rows.append(evaluation(target, max(scores), "val", 0.99, status=status, **run))
    return rows


@pytest.fixture
def study(tmp_path):
    """Two tasks and a group of both; the run of b from a diverged."""

    def write(name, rows):
        path = tmp_path / f"{name}.parquet"
        write_rows(path, rows)
        return path

    runs = {
        "a_a": run_rows("a", "a", {0: 0.4, 20: 0.7}),
        "a_b": run_rows("a", "b", {0: 0.4, 20: 0.9}),
        "b_b": run_rows("b", "b", {0: 0.4, 20: 0.5}),
        "b_a": run_rows("b", "a", {0: 0.4, 20: None}, status="diverged"),
        "scratch_a": run_rows("a", "random", {0: 0.1, 20: 0.8}),
        "scratch_b": run_rows("b", "random", {0: 0.1, 20: 0.5}),
        "both": run_rows("both", "random", {0: 0.1, 20: 0.6}, ["a", "b"]),
        "a_both": run_rows("a", "both", {0: 0.6, 20: 0.85}),
    }
    files = {name: write(name, rows) for name, rows in runs.items()}
    truth = np.array([0, 1, 1, 0], "<u2").tobytes()
    zero = [
        write(f"zero_{task}", [evaluation(task, 0, score=score, selected=True, truth=truth)])
        for task, score in (("a", 0.3), ("b", 0.2))
    ]
    return files, zero


def test_every_run_has_a_row_for_each_task_that_it_is_scored_on(study):
    files, zero = study
    scores = gather(files.values(), zero)["scores"]
    assert list(scores.columns) == list(SCORE_COLUMNS)
    table = scores.set_index(["group", "start", "target"])
    assert len(table) == 9
    assert table.loc[("a", "random", "a"), "score"] == 0.8
    joint = table.loc[("both", "random", "b")]
    assert (joint["score"], joint["scratch"], joint["zero_shot"]) == (0.6, 0.5, 0.2)
    assert joint["selected_step"] == 20


def test_runs_of_one_task_from_another_prompt_are_transfer(study):
    files, zero = study
    transfer = gather(files.values(), zero)["transfer"]
    assert list(transfer.columns) == list(TRANSFER_COLUMNS)
    table = transfer.set_index(["source", "target"])
    assert set(table.index) == {("a", "a"), ("b", "a"), ("b", "b"), ("a", "b"), ("both", "a")}
    row = table.loc["b", "a"]
    assert (row.score, row.scratch, row.zero_shot, row.step0) == (0.9, 0.8, 0.3, 0.4)
    assert (row.n, row.shots, row.config_digest, row.code_digest) == (4, 4, "c", "d")


def test_a_diverged_run_has_a_row_and_no_score(study):
    files, zero = study
    row = gather(files.values(), zero)["transfer"].set_index(["source", "target"]).loc["a", "b"]
    assert row.status == "diverged"
    assert row.step0 == 0.4
    assert np.isnan(row.score)


def test_curves_come_from_the_fixed_sample(study):
    files, zero = study
    curves = gather(files.values(), zero)["curves"]
    assert list(curves.columns) == list(CURVE_COLUMNS)
    assert len(curves) == 7 * 2  # not the group's: it is no single task
    assert set(curves["split"]) == {"curve"}
    assert set(curves["source"]) == {"a", "b", "both", "scratch"}


def test_outcomes_are_those_of_the_selected_row(study):
    files, zero = study
    tables = gather(files.values(), zero)
    assert list(tables["outcomes"].columns) == list(OUTCOME_COLUMNS)
    assert len(tables["outcomes"]) == 6  # the diverged run has none
    assert np.frombuffer(tables["outcomes"]["outcomes"].iloc[0], "<u2").tolist() == [0, 1, 2, 3]
    truth = tables["truth"].set_index("target")
    assert list(tables["truth"].columns) == list(TRUTH_COLUMNS)
    assert np.frombuffer(truth.loc["a", "truth"], "<u2").tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("scratch_b", "group 'b', start 'a', .*target 'b' has no scratch score"),
        ("zero_b", "task 'b' has no zero-shot score"),
    ],
)
def test_a_missing_part_is_named(study, without, words):
    files, zero = study
    with pytest.raises(InputError, match=words):
        gather(
            [path for name, path in files.items() if name != without],
            [path for path in zero if path.stem != without],
        )


def test_no_runs_give_tables_with_their_headers(study):
    tables = gather([], study[1])
    assert list(tables["transfer"].columns) == list(TRANSFER_COLUMNS)
    assert len(tables["scores"]) == len(tables["curves"]) == 0


def test_a_run_given_twice_is_named(study):
    files, zero = study
    with pytest.raises(InputError, match=r"group 'a', start 'a', .* occurs more than once"):
        gather([*files.values(), files["a_a"]], zero)
    with pytest.raises(InputError, match="task 'a' has more than one zero-shot score"):
        gather(files.values(), [*zero, zero[0]])


def test_a_run_needs_exactly_one_selected_row(study, tmp_path):
    files, zero = study
    rows = [row | {"selected": False} for row in run_rows("a", "a", {0: 0.4, 20: 0.5})]
    write_rows(files["a_a"], rows)
    with pytest.raises(InputError, match="target 'a' has 0 selected test rows: expected one"):
        gather(files.values(), zero)


def test_a_file_that_is_not_whole_is_named(study, tmp_path):
    files, zero = study
    path = files["a_b"]
    whole = path.read_bytes()
    for content, words in (
        (None, "no such file"),
        (b"", "not a parquet file"),
        (whole[: len(whole) // 2], "not a parquet file"),
    ):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf"a_b\.parquet: {words}"):
            gather(files.values(), zero)
    path.write_bytes(whole)
    table = pq.read_table(path)
    changed = table.set_column(
        table.schema.get_field_index("score"), "score", [[0.123] * len(table)]
    )
    for odd, words in (
        (changed, "not those that were written"),
        (table.slice(1), "not those that were written"),
        (table.drop_columns("loss"), "other columns than score rows have .loss"),
        (table.replace_schema_metadata(None), "expected its digest"),
    ):
        pq.write_table(odd, path)
        with pytest.raises(InputError, match=words):
            gather(files.values(), zero)
