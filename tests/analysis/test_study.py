"""The stages of a study's analysis: frames in, tables out; and tables read back."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis import catalogue, study
from mvlpt_analysis.gains.image_bootstrap import image_intervals
from mvlpt_analysis.read import pairs
from mvlpt_analysis.read.finished import open_finished
from mvlpt_analysis.read.study import of_shots, read_tables
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from speed import calibration
from support import view_data as made

FEW = {"permutations": 50, "bootstrap": 50}
NONE = pd.DataFrame()


@pytest.fixture(scope="module")
def tables():
    return made.tables(5, ("text",), screened=True)


def test_statistics_make_every_table_but_groups(tables):
    assert set(catalogue.STATISTICS) == set(catalogue.STUDY_TABLES) - {"groups"}
    for name in catalogue.STUDY_TABLES:
        # Of two methods or more, of one seed with replicates, and of a grid of which pairs were not run.
        assert len(tables[name]) or name in ("agreement", "seed_noise", "completed"), name
    assert set(tables["groups"]["method"]) == {"text"}


@pytest.mark.parametrize("workers", [1, 2])
def test_one_seed_takes_its_intervals_from_stored_outcomes(workers):
    rng = np.random.default_rng(0)
    transfer, outcomes, truth = calibration.image_study(calibration.known_gains(4, rng), 120, rng)
    options = {"permutations": 9, "bootstrap": 200, "seed": 3, "workers": workers}
    methods = list(transfer["method"].unique())
    alike = made.similarity(4)
    found = study.statistics(
        transfer, outcomes, truth, alike, list(truth["target"]), methods, {}, **options
    )
    direct = image_intervals(outcomes, truth, replicates=200, seed=3)
    keys = ["method", "source", "target"]
    both = found["gains"].merge(direct, on=keys, suffixes=("", "_direct"))
    assert len(both) == 16
    assert set(both["interval"]) == {"images"}
    for column in ("low", "high", "se", "p"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_direct"].to_numpy())


def test_a_target_with_its_scratch_run_alone_gives_no_interval():
    """As sources of a second suite: their runs are stored, and nothing starts from another task there."""
    rng = np.random.default_rng(0)
    transfer, outcomes, truth = calibration.image_study(calibration.known_gains(4, rng), 120, rng)
    last = truth["target"].iloc[-1]
    names = list(truth["target"].iloc[:-1])
    transfer = transfer[transfer["source"].isin(names) & transfer["target"].isin(names)]
    alone = (outcomes["target"] == last) & (outcomes["source"] != "scratch")
    methods = list(transfer["method"].unique())
    options = {"permutations": 9, "bootstrap": 50, "seed": 3}
    found = study.statistics(
        transfer, outcomes[~alone], truth, made.similarity(3), names, methods, {}, **options
    )
    assert len(found["gains"]) == 9
    assert set(found["gains"]["interval"]) == {"images"}
    assert found["gains"]["low"].dtype == float


def test_workers_do_not_change_tables(tables):
    names, alike = made.tasks(5), made.similarity(5)
    args = (tables["transfer"], NONE, NONE, alike, names, ("text",), made.factors(5))
    draws = {"permutations": 200, "bootstrap": 100, "workers": 2}
    again = study.statistics(*args, **draws, screen=made.screen(5, ("text",), 2))
    again["groups"] = study.groups(tables["gains"], tables["transfer"], names, ("text",), workers=2)
    for name in catalogue.STUDY_TABLES:
        pd.testing.assert_frame_equal(again[name], tables[name])


def test_methods_come_in_the_order_of_the_study():
    transfers = made.transfer(4, ("text", "visual"), 2)
    for methods in (("text", "visual"), ("visual", "text")):
        found = made.tables(4, methods, transfers=transfers)
        for name in ("gains", "ranking", "correlations", "givers", "groups"):
            assert tuple(found[name]["method"].unique()) == methods, name
        assert tuple(found["agreement"].iloc[0][["a", "b"]]) == methods


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_small_studies_have_every_table(n):
    transfers = made.transfer(max(n, 1), ("text",), 2)
    transfers = transfers if n else transfers.iloc[:0]
    found = made.tables(max(n, 1), ("text",), transfers=transfers)
    for name in catalogue.STUDY_TABLES:
        assert tuple(found[name].columns) == catalogue.TABLES[name].columns, name
    assert found["correlations"].empty
    assert found["partial"].empty
    assert len(found["gains"]) == n * n


def test_a_suite_without_factors_has_headers_of_relations():
    found = made.tables(4, ("text",), planted=False)
    for name in ("relations", "effects"):
        assert found[name].empty
        assert tuple(found[name].columns) == catalogue.TABLES[name].columns
    planted = made.tables(4, ("text",))
    for name in ("gains", "variance", "task_effects"):
        pd.testing.assert_frame_equal(found[name], planted[name])


def test_a_method_that_diverged_throughout_has_its_tables():
    lost = made.diverged(made.transfer(5, ("text", "visual"), 2), "text")
    found = made.tables(5, ("text", "visual"), transfers=lost)
    alone = made.tables(5, ("visual",), transfers=lost[lost["method"] == "visual"])
    for name in catalogue.STUDY_TABLES:
        assert tuple(found[name].columns) == catalogue.TABLES[name].columns, name
    assert (found["gains"].query("method == 'text'")["reason"] == "diverged").all()
    assert set(found["groups"]["method"]) == {"visual"}
    for name in ("ranking", "groups", "task_effects"):
        other = found[name][found[name]["method"] == "visual"].reset_index(drop=True)
        pd.testing.assert_frame_equal(other, alone[name], check_dtype=False)


def test_a_group_as_source_has_gains_and_changes_no_pair_of_tasks():
    transfers = made.transfer(5, ("text",), 2)
    extra = transfers[transfers["source"] == made.tasks(5)[0]].assign(source="all_five")
    found = made.tables(5, ("text",), transfers=pd.concat([transfers, extra]))
    without = made.tables(5, ("text",), transfers=transfers)
    assert (found["gains"]["source"] == "all_five").sum() == 5
    assert "all_five" not in set(found["givers"]["task"])
    for name in ("correlations", "ranking", "ranking_by_target", "relations", "effects"):
        pd.testing.assert_frame_equal(found[name], without[name])


def test_what_the_study_does_not_have_is_named():
    transfers = made.transfer(3, ("text",), 2)
    alike, names = made.similarity(3), made.tasks(3)
    with pytest.raises(InputError, match="method 'text' is not in the study: expected one of v"):
        study.statistics(transfers, NONE, NONE, alike, names, ("visual",), {}, **FEW)
    with pytest.raises(InputError, match=f"target '{names[2]}' is not in the study"):
        study.statistics(transfers, NONE, NONE, alike, names[:2], ("text",), {}, **FEW)


def test_rows_of_one_value_of_shots():
    frame = pd.DataFrame({"shots": [1, 5, 1], "score": [0.1, 0.2, 0.3]})
    assert of_shots(frame, 1).to_dict("list") == {"score": [0.1, 0.3]}
    with pytest.raises(InputError, match="no rows of shots 20: expected one of 1, 5"):
        of_shots(frame, 20)
    assert of_shots(frame.iloc[:0], 20).empty


def test_tables_come_back_as_they_were_written(tables, tmp_path):
    files = made.write(tables, tmp_path)
    files["correlations"] = tmp_path / "correlations.parquet"
    pairs.write_frame(tables["correlations"], files["correlations"])
    back = read_tables(files)
    assert list(back) == list(files)
    for name in files:
        frame = tables[name].copy()
        words = [column for column in frame if column in catalogue.TEXT]
        frame[words] = frame[words].fillna("")
        pd.testing.assert_frame_equal(back[name], frame, check_dtype=False, rtol=0, atol=0)


def test_tables_without_rows_keep_their_header_and_types(tmp_path):
    empty = made.tables(2, ("text",), planted=False)
    files = made.write(empty, tmp_path)
    back = read_tables(files)
    for name in ("correlations", "relations", "effects", "partial"):
        assert back[name].empty
        assert tuple(back[name].columns) == catalogue.TABLES[name].columns
        assert not (back[name]["gain_kind"] == "gain").any()


def test_names_of_tasks_stay_text(tables, tmp_path):
    names = dict(zip(made.tasks(5), ["1", "007", "nan", "NA", "1.0"], strict=True))
    frame = tables["gains"].replace({"source": names, "target": names})
    path = tmp_path / "gains.csv"
    pairs.write_frame(frame, path)
    back = read_tables({"gains": path})["gains"]
    for column in ("source", "target"):
        assert back[column].tolist() == frame[column].tolist()
    assert set(back["source"]) == set(names.values())


def test_a_bad_table_is_named(tables, tmp_path):
    path = tmp_path / "gains.csv"
    with pytest.raises(InputError, match=r"gains\.csv: no such file"):
        read_tables({"gains": path})
    pairs.write_frame(tables["gains"].drop(columns="low"), path)
    with pytest.raises(InputError, match=r"gains\.csv: the header is method,.*: expected method"):
        read_tables({"gains": path})
    for column, value, message in (
        ("significant", "maybe", "'significant' has other values: expected True or False"),
        ("low", "little", "'low' is 'little' in row 1, expected a finite number"),
    ):
        frame = tables["gains"].astype({column: object})
        frame.loc[0, column] = value
        pairs.write_frame(frame, path)
        with pytest.raises(InputError, match=message):
            read_tables({"gains": path})
    with pytest.raises(InputError, match="table 'other' is unknown: expected one of gains"):
        read_tables({"other": path})


def test_every_column_is_documented(tables, root):
    text = (root / "results" / "README.md").read_text()
    section = text[text.index("## tables/") : text.index("## prepared/")]
    common = set(re.findall(r"`(\w+)`", section[: section.index("| file")])) - {"gain"}
    rows = re.findall(r"^\| `(\w+)\.csv`: ([^|]*) \| (.*) \|$", section, re.M)
    documented = {
        name: {*re.findall(r"\w+", key), *re.findall(r"`(\w+)`", columns)}
        for name, key, columns in rows
    }
    for name in catalogue.STUDY_TABLES:
        columns = set(tables[name].columns)
        if name == "correlations":
            part = text[text.index("## correlations") : text.index("## tables/")]
            words = set(re.findall(r"\w+", part))
        else:
            words = documented[name] | common
        assert columns <= words, f"{name}: {columns - words} not in results/README.md"


def test_a_finished_study_is_looked_at_where_it_was_analysed(tmp_path):
    """Few shots for the benchmarks, and the transfer study at the most alone."""
    at = Layout(str(tmp_path))
    (tmp_path / "config.yaml").write_text("study: s\nsuite: s.tsv\nshots: [1, 5, 20]\n")
    found = open_finished(tmp_path, None)
    assert (found.shots, found.analysed) == (
        1,
        (1, 5, 20),
    )  # not run yet: what is missing is said later
    for shots in (5, 20):
        Path(at.table(shots, "gains")).parent.mkdir(parents=True)
    assert (open_finished(tmp_path, None).shots, open_finished(tmp_path, 20).shots) == (5, 20)
    with pytest.raises(InputError, match=r"--shots is 1: expected one of 5, 20, which the study"):
        open_finished(tmp_path, 1)
