"""Tables as strangers write them: what each kind of oddity comes to, a right value or one sentence."""

import gzip

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis import foreign
from mvlpt_analysis.read import others, pairs
from mvlpt_core.contract.errors import InputError

NAMES = ["a", "b", "c", "7"]
SCORES = {(s, t): 10.0 * i + j for i, s in enumerate(NAMES) for j, t in enumerate(NAMES)}
TABLE = pd.DataFrame(
    [(s, t, v) for (s, t), v in SCORES.items()], columns=["source", "target", "score"]
)
TEXT = TABLE.to_csv(index=False)
WIDE = pairs.pivot(TABLE, "score").rename_axis(index="source", columns=None)


def scores(path):
    frame = others.read_scores(path)
    return {(r.source, r.target): r.score for r in frame.itertuples()}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def spaced(text):
    return text.replace(",", " , ").replace("source", "Source")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", TEXT.encode("utf-16")),
        ("x.csv", TEXT.encode("utf-8-sig")),
        ("X.CSV", TEXT.replace("\n", "\r\n")),
        ("x.csv", spaced(TEXT)),
        ("x.csv", TABLE.to_csv()),  # with row numbers, which have no name
        ("x.tsv", TEXT.replace(",", ";")),
    ],
)
def test_text_of_any_form(tmp_path, name, content):
    assert scores(write(tmp_path / name, content)) == SCORES


def test_spreadsheets_and_parquet(tmp_path):
    numbers = TABLE.assign(source=TABLE["source"].replace({"7": 7}).astype(object))
    for sheet in (TABLE, numbers, WIDE.rename_axis("task").reset_index()):
        sheet.to_excel(tmp_path / "x.xlsx", index=False)
        assert scores(tmp_path / "x.xlsx") == SCORES
    with pd.ExcelWriter(tmp_path / "x.xlsx") as book:
        TABLE.to_excel(book, sheet_name="one", index=False)
        TABLE.to_excel(book, sheet_name="two", index=False)
    with pytest.raises(InputError, match=r"x\.xlsx has sheets one, two: expected one with a table"):
        scores(tmp_path / "x.xlsx")
    write(tmp_path / "x.xlsx", b"PK\3\4")
    with pytest.raises(InputError, match=r"x\.xlsx: cannot be read as a table"):
        scores(tmp_path / "x.xlsx")
    TABLE.set_index(["source", "target"]).to_parquet(tmp_path / "x.parquet")
    assert scores(tmp_path / "x.parquet") == SCORES
    WIDE.to_parquet(tmp_path / "x.parquet")
    assert scores(tmp_path / "x.parquet") == SCORES
    floats = pd.DataFrame({"source": [1.0, 2.0], "target": [2.0, 1.0], "score": [0.25, 0.5]})
    floats.to_parquet(tmp_path / "x.parquet")
    assert scores(tmp_path / "x.parquet") == {("1", "2"): 0.25, ("2", "1"): 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-16-le"), r"cannot be read as UTF-8 text \(it holds zero bytes\)"),
        (TEXT.replace("a,", "\xe4,").encode("latin-1"), r"cannot be read as UTF-8 text"),
        (gzip.compress(b"a", mtime=0), r"not a table \(it holds a gzip file\)"),
        ("source,target,score,score\na,b,1,2\n", r"column 'score' occurs twice"),
        (TEXT + "a,e\n", r"line 18: 2 fields: expected 3"),
        (TEXT.replace("\n", ",\n").replace("score,", "score"), r"line 2: 4 fields: expected 3"),
        (
            TEXT.replace("a,", "a\x01,"),
            r"'a\\x01', expected a name without control characters, in row 1",
        ),
        (
            "method,source,target,score\nm\x1b,a,b,1\n",
            r"column 'method' is 'm\\x1b', expected a name without control",
        ),
        (TEXT.replace("a,", "\u200b,"), r"column 'source' is empty in row 1"),
        ("source,target,score\na,b,\nb,a,nan\n", r"column 'score' has no number in it"),
        ("source,target,score\na,b,True\nb,a,False\n", r"column 'score' is 'True' in row 1"),
        (WIDE.rename(index=lambda n: f"{n}x").to_csv(), r"expected source, .* \(0 of 4 rows are"),
    ],
)
def test_a_table_that_is_none_says_why(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        scores(write(tmp_path / "x.csv", content))
    assert "\n" not in str(caught.value)


def test_averages_beside_a_matrix_are_no_tasks(tmp_path):
    wide = WIDE.assign(Avg=WIDE.mean(axis=1))
    wide.loc["mean"] = wide.mean()
    given = foreign.read_given([write(tmp_path / "x.csv", wide.to_csv())])
    assert set(zip(given.gains["source"], given.gains["target"], strict=True)) == set(SCORES)
    assert given.notes == (
        "sources left out as baselines or averages, which are no tasks: mean, Avg",
    )


def test_names_that_may_be_one_are_said(tmp_path):
    half = TABLE.assign(
        target=TABLE["target"].where(TABLE.index % 2 == 0, TABLE["target"].str.upper())
    )
    (note,) = foreign.read_given([write(tmp_path / "x.csv", half.to_csv(index=False))]).notes
    assert note.endswith("x.csv: 'b' and 'B' may be one task")  # and b is no baseline


def similarity(tmp_path, frame):
    return others.read_similarity(write(tmp_path / "cosine.csv", frame.to_csv(index=False)))


def test_similarities_as_a_matrix_and_of_some_pairs(tmp_path):
    read = others.read_similarity(write(tmp_path / "cosine.csv", WIDE.to_csv()))
    assert read.notes == ("measures used: cosine",)
    got = {(r.source, r.target): r.value for r in read.table.itertuples()}
    assert got == SCORES
    tidy = TABLE.rename(columns={"score": "value"}).assign(measure="near")
    gains = TABLE.rename(columns={"score": "gain"})
    alike = similarity(tmp_path, tidy[tidy["source"] != tidy["target"]]).table
    assert others.covered(gains, alike, tmp_path) == []  # the diagonal needs none
    (note,) = others.covered(gains, alike.head(5), tmp_path)
    assert note.endswith("no similarity for 7 of 12 pairs")
    for lost in (alike.assign(value=np.nan), alike.assign(source=alike["source"] + "x")):
        with pytest.raises(InputError, match=r"no similarity of a pair .* \('7', 'a'\)"):
            others.covered(gains, lost, tmp_path)
    with pytest.raises(InputError, match=r"column 'measure' is empty in some rows"):
        similarity(tmp_path, tidy.assign(measure=[" ", *tidy["measure"][1:]]))


def test_names_with_blanks_and_case_among_columns(tmp_path):
    path = write(tmp_path / "x.csv", "Source, TARGET ,Score ,Model,score2\n007, nan,1,A,2\n")
    frame = pairs.read_frame(path)
    assert frame.columns.tolist() == ["source", "target", "score", "model", "score2"]
    assert frame.loc[0, ["source", "target"]].tolist() == ["007", "nan"]
    both = pairs.read_frame(write(path, "Source,source,score\nx,a,1\n"))
    assert both.columns.tolist() == ["Source", "source", "score"]


def test_percent_are_not_taken_for_shares(tmp_path):
    """A gain of 3 percent is not one of 300 points, in the numbers, the words and the note."""
    shares = TABLE.assign(score=TABLE["score"] / 100, scratch=0.1)
    percent = shares.assign(score=100 * shares["score"], scratch=10.0)
    files = [tmp_path / f"{name}.csv" for name in ("shares", "percent")]
    for path, frame in zip(files, (shares, percent), strict=True):
        frame.to_csv(path, index=False)
    one, other = (foreign.read_given([path]) for path in files)
    assert (one.words.unit, one.words.scale, one.notes) == ("points", 100.0, ())
    assert (other.words.unit, other.words.scale) == ("units of the score", 1.0)
    shown = [100.0 * one.gains["gain"], other.words.scale * other.gains["gain"]]
    np.testing.assert_allclose(*shown)
    assert "percent.csv: scores go beyond 1" in other.notes[0]
    with pytest.raises(InputError, match=r"percent\.csv has scores beyond 1 and .*shares\.csv"):
        foreign.read_given(files)


def test_gains_beside_scores_are_not_taken_for_scores(tmp_path):
    shares = TABLE.assign(score=TABLE["score"] / 100, scratch=0.1)
    gains = shares.assign(gain=shares["score"] - 0.1)[["source", "target", "gain"]]
    files = [tmp_path / f"{name}.csv" for name in ("scores", "gains")]
    shares.to_csv(files[0], index=False)
    gains.to_csv(files[1], index=False)
    given = foreign.read_given(files)
    assert given.words == foreign.GAINS["gain"]
    by = given.gains.pivot_table(index=["source", "target"], columns="method", values="gain")
    np.testing.assert_allclose(by["scores"], by["gains"])
    shares.drop(columns="scratch").to_csv(files[0], index=False)
    assert foreign.read_given(files).words == foreign.GAINS["standardised"]
