"""Tables that others made: any source, target, score table gets figures and a report."""

import re
from html import unescape

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis import catalogue, foreign
from mvlpt_core.contract.errors import InputError


@pytest.fixture(autouse=True)
def one_figure(monkeypatch):
    """Only one kind of figure is drawn: all are in the tests of figures."""
    mpl.use("Agg")

    def one_kind(*given, **options):
        return [d for d in catalogue.drawings(*given, **options) if d.kind == "gains"]

    monkeypatch.setattr(foreign, "drawings", one_kind)


FEW = {"permutations": 100, "bootstrap": 50}


def table(n: int = 5, extra: int = 2, seed: int = 0) -> pd.DataFrame:
    """Scores of n + extra sources on n targets, each better on tasks near to it."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"t{s}", f"t{t}", 0.8 - 0.05 * abs(s - t) + 0.005 * rng.normal(), -abs(s - t))
        for s in range(n + extra)
        for t in range(n)
    ]
    return pd.DataFrame(rows, columns=["source", "target", "score", "closeness"])


def test_a_foreign_table_with_its_similarity(tmp_path):
    path = tmp_path / "scores.csv"
    table().to_csv(path, index=False)
    out = tmp_path / "out"
    assert foreign.analyse_tables([path], out, path, **FEW) == out / "report.html"
    tables = {p.stem for p in (out / "tables").iterdir()}
    assert tables == set(catalogue.foreign_tables(True, False)) - {"correlations"}
    assert (out / "correlations.parquet").exists()
    rows = pd.read_csv(out / "correlations.csv")
    chosen = (rows["scope"] == "pooled") & (rows["statistic"] == "spearman")
    assert rows.loc[chosen, "value"].iloc[0] > 0.9
    gains = pd.read_csv(out / "tables" / "gains.csv").set_index(["source", "target"])["gain"]
    scores = table().set_index(["source", "target"])["score"]
    assert gains["t1", "t0"] == pytest.approx(scores["t1", "t0"] / scores["t0", "t0"] - 1)
    svg = (out / "figures" / "gains_scores.svg").read_text()
    assert "t6" in svg
    assert "percent" in svg


def test_several_tables_are_compared(tmp_path):
    for size, seed in (("1k", 1), ("16k", 2)):
        frame = table(5, 2, seed)
        frame["score"] /= 1000  # affinities: no common scale, so standardised within targets
        baseline = frame[frame["source"] == "t1"].assign(source="self", score=0.5)
        pd.concat([frame, baseline]).to_csv(tmp_path / f"affinity_{size}.csv", index=False)
    out = tmp_path / "out"
    paths = [tmp_path / f"affinity_{size}.csv" for size in ("1k", "16k")]
    foreign.analyse_tables(paths, out, **FEW)
    row = pd.read_csv(out / "tables" / "agreement.csv").iloc[0]
    assert (row["a"], row["b"], row["n_pairs"]) == ("1k", "16k", 30)
    assert row["spearman_per_target"] > 0.9
    assert set(pd.read_csv(out / "tables" / "clusters.csv")["method"]) == {"1k", "16k"}
    page = (out / "report.html").read_text()
    assert "agree on the order of sources" in page
    assert "sources left out" in page
    gains = pd.read_csv(out / "tables" / "gains.csv")
    off = gains[gains["source"] != gains["target"]].groupby(["method", "target"])["gain"]
    assert off.mean().abs().max() < 1e-9
    assert off.std().to_numpy() == pytest.approx(1)


def test_gain_by_column(tmp_path):
    frame = table().assign(scratch=0.5)
    assert foreign._kind([frame]) == "minus_scratch"
    assert foreign._gain(frame, "minus_scratch", tmp_path)[0] == pytest.approx(
        frame["score"][0] - 0.5
    )
    assert foreign._kind([frame.assign(gain=1.0)]) == "gain"
    with pytest.raises(InputError, match="column 'scratch' is missing"):
        foreign._gain(table(), "minus_scratch", tmp_path)


def test_models_and_metrics_stand_for_methods(tmp_path):
    parts = [table(3, 0).assign(model=model, metric="acc") for model in ("A", "B")]
    path = tmp_path / "many.csv"
    pd.concat(parts).to_csv(path, index=False)
    assert set(foreign._read(path)["method"]) == {"A", "B"}
    seeds = [table(3, 0, seed).assign(seed=seed) for seed in (1, 2)]
    pd.concat(seeds).to_csv(path, index=False)
    frame = foreign._read(path)
    assert len(frame) == 9
    assert frame["score"][1] == pytest.approx(np.mean([part["score"][1] for part in seeds]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("source,target\na,b\n", "column 'score' is missing"),
        ("source,target,score\na,b,x\n", "expected a finite number"),
        ("source,target,score\na,b,1\na,b,2\n", "more than one row"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        foreign.analyse_tables([path], tmp_path / "out")
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert not (tmp_path / "out").exists()


def test_similarity_without_a_measure(tmp_path):
    path = tmp_path / "scores.csv"
    table()[["source", "target", "score"]].to_csv(path, index=False)
    with pytest.raises(InputError, match="no similarity in it"):
        foreign.analyse_tables([path], tmp_path / "out", path)
    assert not (tmp_path / "out").exists()


def test_tasks_may_be_called_by_numbers(tmp_path):
    names = {"t0": "1", "t1": "007", "t2": "nan", "t3": "NA", "t4": "1.0", "t5": "5", "t6": "6"}
    frame = table().replace({"source": names, "target": names})
    path, out = tmp_path / "numbers.csv", tmp_path / "out"
    frame.to_csv(path, index=False)
    foreign.analyse_tables([path], out, path, **FEW)
    gains = pd.read_csv(out / "tables" / "gains.csv", dtype=str, keep_default_na=False)
    assert list(gains["source"].unique()) == list(names.values())
    assert (out / "tables" / "gains.csv").read_text().count("007,nan") == 1
    same = table().to_csv(tmp_path / "names.csv", index=False)
    assert same is None
    foreign.analyse_tables([tmp_path / "names.csv"], tmp_path / "o", tmp_path / "names.csv", **FEW)
    for name in ("ranking", "correlations", "partial"):
        at = f"{name}.csv" if name == "correlations" else f"tables/{name}.csv"
        numbers, words = ((f / at).read_text().split("\n", 1)[1] for f in (out, tmp_path / "o"))
        assert numbers.replace("numbers", "names") == words


def test_methods_may_have_any_name(tmp_path):
    methods = ["a/b", "../../x", "a b", "y" * 260]
    parts = [table(4, 0, i).assign(method=method) for i, method in enumerate(methods)]
    path, out = tmp_path / "many.csv", tmp_path / "deep" / "out"
    pd.concat(parts).to_csv(path, index=False)
    foreign.analyse_tables([path], out, **FEW)
    captions = pd.read_csv(out / "figures" / "captions.csv")
    assert captions["title"].tolist() == [f"Gains, {method}" for method in methods]
    files = {f.stem for f in (out / "figures").glob("*.png")}
    assert files == set(captions["name"])
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in files)
    assert [p.name for p in tmp_path.iterdir() if p != path] == ["deep"]


def test_a_table_without_any_gain_is_told_in_words(tmp_path):
    frame = table(4, 0).assign(gain=np.nan)
    path, out = tmp_path / "lost.csv", tmp_path / "out"
    frame.to_csv(path, index=False)
    page = foreign.analyse_tables([path], out, path, **FEW).read_text()
    text = unescape(re.sub(r"<[^>]*>", " ", re.sub(r'"data:[^"]*"', "", page)))
    assert "No pair of lost has a gain, so nothing can be said of it." in text
    assert not re.search(r"\bnan\b", text)


def test_an_empty_method_is_named(tmp_path):
    path = tmp_path / "scores.csv"
    frame = table(3, 0).assign(method="m")
    frame.loc[2, "method"] = ""
    frame.to_csv(path, index=False)
    with pytest.raises(InputError, match="column 'method' is empty in some rows"):
        foreign.analyse_tables([path], tmp_path / "out")
