"""Tables that others made: any source, target, score table gets figures and a report."""

import re
from html import unescape

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mvlpt_analysis import catalogue, foreign
from mvlpt_analysis.association import tables as association
from mvlpt_analysis.figures import style
from mvlpt_analysis.gains import others
from mvlpt_analysis.read import others as read_others
from mvlpt_analysis.stats.variance import moderated, moderated_by_group
from mvlpt_core.contract.errors import InputError
from support.pages import prose


@pytest.fixture(autouse=True)
def one_figure(monkeypatch):
    """Only one kind of figure is drawn: all are in the tests of figures."""
    mpl.use("Agg")

    def one_kind(*given, **options):
        return [d for d in catalogue.drawings(*given, **options) if d.kind == "gains"]

    monkeypatch.setattr(foreign, "drawings", one_kind)


FEW = {"permutations": 100}


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
    assert foreign.analyse_tables([path], out, path, **FEW).report == out / "report.html"
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
    found = pd.read_csv(out / "tables" / "agreement.csv").set_index("measure")
    row = found.loc["rank_per_target"]
    assert (row["a"], row["b"], row["n"], row["n_tasks"]) == ("1k", "16k", 5, 5)
    assert row["value"] > 0.9
    assert found.loc["residual", "p"] <= 0.05
    assert set(pd.read_csv(out / "tables" / "clusters.csv")["method"]) == {"1k", "16k"}
    page = (out / "report.html").read_text()
    assert "order a target's sources to a Spearman correlation" in unescape(page)
    assert "sources left out" in page
    gains = pd.read_csv(out / "tables" / "gains.csv")
    off = gains[gains["source"] != gains["target"]].groupby(["method", "target"])["gain"]
    assert off.mean().abs().max() < 1e-9
    assert off.std().to_numpy() == pytest.approx(1)


def test_gain_by_column(tmp_path):
    frame = table().assign(scratch=0.5)
    assert others.kind_of([frame]) == "minus_scratch"
    assert others.run_gains(frame, "minus_scratch", tmp_path)[0] == pytest.approx(
        frame["score"][0] - 0.5
    )
    assert others.kind_of([frame.assign(gain=1.0)]) == "gain"
    with pytest.raises(InputError, match="column 'scratch' is missing"):
        others.run_gains(table(), "minus_scratch", tmp_path)


def test_models_and_metrics_stand_for_methods(tmp_path):
    parts = [table(3, 0).assign(model=model, metric="acc") for model in ("A", "B")]
    path = tmp_path / "many.csv"
    pd.concat(parts).to_csv(path, index=False)
    assert set(read_others.read_scores(path)["method"]) == {"A", "B"}


def with_seeds(tmp_path, n=5, count=3, **more):
    """A table of `count` seeds, each better or worse on all by its own amount; and what is in it."""
    rng = np.random.default_rng(1)
    parts = [table(n, 2, seed).assign(seed=seed, **more) for seed in range(count)]
    frame = pd.concat(parts, ignore_index=True)
    frame["score"] += 0.02 * rng.normal(size=count)[frame["seed"]]
    return write(tmp_path / "seeds.csv", frame), frame


def test_seeds_are_kept_and_gains_have_intervals_over_them(tmp_path):
    path, frame = with_seeds(tmp_path, scratch=0.5)
    out = tmp_path / "out"
    done = foreign.analyse_tables([path], out, path, measures=["closeness"], **FEW)
    said = "3 seeds, so that gains are means over them and intervals are over seeds"
    assert done.notes[0] == f"{path}: {said}"
    gains = pd.read_csv(out / "tables" / "gains.csv").set_index(["source", "target"])
    frame["gain"] = frame["score"] - 0.5
    seeds = pd.read_csv(out / "tables" / "seed_gains.csv")
    merged = seeds.merge(frame, on=["source", "target", "seed"])
    assert len(merged) == len(frame) == 105
    np.testing.assert_allclose(merged["gain_x"], merged["gain_y"])
    # By hand: the variance of each pair, moderated by those of all others.
    groups = frame.groupby(["source", "target"])["gain"]
    mean, variance = groups.mean(), groups.var()
    _, df = moderated(variance.to_numpy(), np.full(35, 2.0))
    posterior = moderated_by_group(
        variance.to_numpy(), np.full(35, 2.0), variance.index.get_level_values("target")
    )[0]
    half = stats.t.ppf(0.975, df) * np.sqrt(posterior / 3)
    found = gains.loc[mean.index]
    np.testing.assert_allclose(found["gain"], mean)
    np.testing.assert_allclose(found["low"], mean - half)
    np.testing.assert_allclose(found["high"], mean + half)
    assert (found["interval"] == "seeds").all()
    assert (found["n_seeds"] == 3).all()
    assert found.loc[("t0", "t0"), "q"] != found.loc[("t0", "t0"), "q"]
    page = unescape(re.sub(r"<[^>]*>", " ", done.report.read_text()))
    assert "Intervals are 95% over 3 seeds, each pair's variance moderated" in page
    assert said in page
    assert set(pd.read_csv(out / "tables" / "givers.csv")["task"]) == {f"t{i}" for i in range(7)}
    assert "pairs of two tasks that gain / lose (q \u2264 0.05)" in page
    assert "not tested" not in page


def test_a_seeds_own_level_is_taken_out(tmp_path):
    """Scores against the target's own are paired by seed: what moves a whole seed moves no gain."""
    path, _ = with_seeds(tmp_path)
    relative = foreign.read_given([path]).gains
    own = relative["source"] == relative["target"]
    assert (relative.loc[own, "gain"] == 0).all()
    assert (relative.loc[own, "interval"] == "none").all()
    assert (relative.loc[~own, "interval"] == "seeds").all()
    assert relative.loc[~own, "se"].median() < 0.006
    standard = foreign.read_given([path], "standardised").gains
    assert standard.loc[~own, "se"].median() < 0.1
    mean = standard[~own].groupby("target")["gain"]
    assert mean.mean().abs().max() < 1e-9
    assert mean.std().to_numpy() == pytest.approx(1)


def test_pairs_without_all_seeds_and_tables_without_any(tmp_path):
    path, frame = with_seeds(tmp_path, scratch=0.5)
    lost = frame[~((frame["source"] == "t1") & (frame["target"] == "t2") & (frame["seed"] > 0))]
    write(path, lost)
    one = write(tmp_path / "one.csv", table().assign(scratch=0.5))
    given = foreign.read_given([path, one])
    assert given.notes[0].endswith("intervals are over seeds (1 of 35 pairs lack some)")
    assert set(given.seed_gains["method"]) == {"seeds"}
    gains = given.gains.set_index(["method", "source", "target"]).sort_index()
    row = gains.loc[("seeds", "t1", "t2")]
    assert (row["n_seeds"], row["interval"], row["significant"]) == (1, "none", False)
    assert np.isnan(row["low"])
    assert (gains.loc["one", "interval"] == "none").all()
    assert gains["significant"].dtype == bool


def test_one_seed_is_none_and_an_empty_one_is_an_error(tmp_path):
    path, frame = with_seeds(tmp_path, count=1)
    given = foreign.read_given([path])
    assert (given.seed_gains, given.notes) == (None, ())
    assert list(given.gains) == ["method", "source", "target", "score", "gain"]
    write(path, frame.assign(seed=np.where(frame.index == 3, np.nan, 1.0)))
    with pytest.raises(InputError, match="column 'seed' is empty in row 4: expected a seed"):
        foreign.read_given([path])


def test_seeds_that_all_agree_say_nothing_of_others(tmp_path):
    frame = pd.concat([table().assign(seed=seed) for seed in (1, 2)])
    gains = foreign.read_given([write(tmp_path / "same.csv", frame)]).gains
    assert (gains["interval"] == "none").all()
    assert not gains["significant"].any()


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
    page = foreign.analyse_tables([path], out, path, **FEW).report.read_text()
    text = prose(page)
    assert "No pair of lost has a gain, so nothing can be said of it." in text
    assert not re.search(r"\bnan\b", text)


def test_tables_that_cannot_agree_are_told_in_words(tmp_path):
    files = [write(tmp_path / f"{name}.csv", table(5, 0).assign(score=0.5)) for name in "ab"]
    page = foreign.analyse_tables(files, tmp_path / "out", **FEW).report.read_text()
    text = prose(page)
    assert "a and b share too few pairs, or gains that do not vary, to tell" in text
    assert not re.search(r"\bnan\b", text)


def test_an_empty_method_is_named(tmp_path):
    path = tmp_path / "scores.csv"
    frame = table(3, 0).assign(method="m")
    frame.loc[2, "method"] = ""
    frame.to_csv(path, index=False)
    with pytest.raises(InputError, match="column 'method' is empty in some rows"):
        foreign.analyse_tables([path], tmp_path / "out")


def write(path, frame, **options):
    frame.to_csv(path, index=False, **options)
    return path


def test_a_source_that_is_no_task_is_left_out_and_said(tmp_path):
    frame = table(5, 0)
    for name in ("Pre-trained", "zero shot", "ImageNet"):
        extra = frame[frame["source"] == "t1"].assign(source=name, score=0.99)
        given = foreign.read_given([write(tmp_path / "a.csv", pd.concat([frame, extra]))])
        assert given.left_out == (name,)
        assert given.notes == (
            f"sources left out as baselines or averages, which are no tasks: {name}",
        )
    path = write(tmp_path / "two.csv", table(5, 2))  # two sources that are no targets are tasks
    assert foreign.read_given([path]).left_out == ()
    assert foreign.read_given([path], baselines=["t6"]).left_out == ("t6",)
    with pytest.raises(InputError, match="baseline 'x' is no source"):
        foreign.read_given([path], baselines=["x"])


def test_names_meet_without_blanks_and_it_is_said_where_they_do_not(tmp_path):
    frame = table(5, 0)
    blank = frame.assign(target=frame["target"] + " ")
    given = foreign.read_given([write(tmp_path / "blank.csv", blank)])
    assert (given.words, given.notes) == (foreign.GAINS["relative"], ())
    case = frame.assign(target=frame["target"].str.upper())
    note = foreign.read_given([write(tmp_path / "case.csv", case)]).notes[0]
    assert "none of 5 sources is a target too" in note
    assert "'t0' and 'T0' may be one, as may 4 more" in note


def test_matrices_semicolons_and_decimal_commas_are_read(tmp_path):
    names = {"t0": "1", "t1": "007", "t2": "nan", "t3": "NA", "t4": "1.0"}
    tidy = table(5, 0)[["source", "target", "score"]].replace(names)
    wide = tidy.pivot_table(index="source", columns="target", values="score").reset_index()
    expected = tidy.set_index(["source", "target"])["score"].sort_index()
    forms = {
        "tidy.csv": (tidy, {"sep": ";", "decimal": ","}),
        "tidy.tsv": (tidy, {"sep": "\t", "decimal": ","}),
        "wide.csv": (wide, {}),
        "unnamed.csv": (wide.rename(columns={"source": ""}), {}),
        "other.csv": (wide.rename(columns={"source": "from / to"}), {"sep": ";", "decimal": ","}),
        "points.csv": (wide, {"sep": ";"}),
    }
    for name, (frame, options) in forms.items():
        found = foreign.read_given([write(tmp_path / name, frame, **options)]).gains
        found = found.set_index(["source", "target"])["score"].sort_index()
        pd.testing.assert_series_equal(found, expected)
    other = wide.set_axis([*"abcdef"], axis=1)  # no matrix of tasks: columns are other things
    with pytest.raises(InputError, match=r"columns a, b, .*: expected source, target and"):
        foreign.read_given([write(tmp_path / "no.csv", other)])


def test_columns_that_are_no_similarity_are_named(tmp_path):
    frame = table(5, 0).assign(epochs=range(25, 0, -1), lr=0.1, eval_accuracy=0.5, width=7.0)
    path = tmp_path / "records.csv"
    frame.to_csv(path)  # with the row numbers as a first column without a name
    read = read_others.read_similarity(path)
    assert read.notes[0] == "measures used: closeness"
    for said in ("Unnamed: 0 (no name)", "epochs (a setting)", "lr (a setting)"):
        assert said in read.notes[1]
    assert "eval_accuracy (a score), width (constant)" in read.notes[1]
    assert set(read.table["measure"]) == {"closeness"}
    wanted = read_others.read_similarity(path, ["epochs", "closeness"]).table
    assert list(wanted["measure"].unique()) == ["epochs", "closeness"]
    with pytest.raises(InputError, match=r"measure 'x' is not in it: expected some of Unnamed: 0"):
        read_others.read_similarity(path, ["x"])


def test_one_table_of_scores_and_measures(tmp_path):
    parts = [
        table(5, 0).drop(columns="closeness").assign(measure=name, value=np.arange(25.0) * sign)
        for name, sign in (("near", 1), ("far", -1))
    ]
    path = write(tmp_path / "one.csv", pd.concat(parts))
    assert len(foreign.read_given([path]).gains) == 25
    assert read_others.read_similarity(path).notes == ("measures used: near, far",)
    assert set(read_others.read_similarity(path, ["far"]).table["measure"]) == {"far"}


def models_and_data(n_models=10, n_data=6):
    """Scores of models on data sets, with a measure that knows the models and noise of another."""
    rng = np.random.default_rng(1)
    rows = [
        (f"model{m}", f"data{d}", 0.5 + 0.03 * m + 0.01 * rng.normal(), m + rng.normal())
        for m in range(n_models)
        for d in range(n_data)
    ]
    return pd.DataFrame(rows, columns=["source", "target", "score", "logme"])


def test_sources_and_targets_of_two_kinds_are_tested_by_permuting_sources(tmp_path):
    path, out = write(tmp_path / "models.csv", models_and_data()), tmp_path / "out"
    done = foreign.analyse_tables([path], out, path, permutations=500)
    assert "taken for things of two kinds" in done.notes[0]
    rows = pd.read_csv(out / "correlations.csv").set_index(["scope", "statistic"])
    frame = models_and_data()
    score, measure = (
        frame.pivot_table(index="source", columns="target", values=c) for c in frame.columns[2:]
    )
    expected = np.mean([score[t].corr(measure[t]) for t in score])
    row = rows.loc[("per_target", "pearson")]
    assert row["value"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"]
    assert (row["n"], row["n_tasks"], row["p_permutation"] < 0.01) == (60, 10, True)
    page = done.report.read_text()
    assert "too few tasks" not in page
    assert "taken for things of two kinds" in page


def test_permuting_sources_against_plain_loops():
    frame = models_and_data(5, 3).assign(method="m", gain=lambda f: f["score"])
    alike = frame.rename(columns={"logme": "value"}).assign(measure="logme")
    alike = alike[["source", "target", "measure", "value"]]
    data = association.matrices(frame, alike)
    x, y = (
        frame.pivot_table(index="source", columns="target", values=c).to_numpy()
        for c in ("logme", "gain")
    )
    draws = data.places.permutations(300, 3)
    assert (draws[:, 5:] == [5, 6, 7]).all()
    for scope in ("pooled", "per_target", "per_source"):

        def value(a, b, scope=scope):
            if scope == "pooled":
                return np.corrcoef(a.ravel(), b.ravel())[0, 1]
            a, b = (a, b) if scope == "per_target" else (a.T, b.T)
            return np.mean([np.corrcoef(i, j)[0, 1] for i, j in zip(a.T, b.T, strict=True)])

        row = association.correlation_table(data, (scope,), ("pearson",), 300, seed=3).iloc[0]
        observed = value(x, y)
        extreme = sum(abs(value(x[p[:5]], y)) >= abs(observed) - 1e-9 for p in draws)
        assert row["value"] == pytest.approx(observed)
        assert row["p_permutation"] == pytest.approx((1 + extreme) / 301)


@pytest.mark.parametrize("case", ["one target", "constant", "one source", "6 x 1"])
def test_tables_that_say_little_raise_no_warning(tmp_path, case):
    frame = table(5, 1)
    frame = {
        "one target": frame[frame["target"] == "t0"],
        "constant": frame.assign(score=0.5, closeness=0.5),
        "one source": frame[frame["source"] == "t0"],
        "6 x 1": frame[frame["target"] == "t0"].assign(target="other"),
    }[case]
    path = write(tmp_path / "few.csv", frame)
    measures = ["closeness"] if case == "constant" else []
    report = foreign.analyse_tables([path], tmp_path / "out", path, measures=measures, **FEW).report
    assert report.is_file()


def test_letters_that_no_font_has_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "FALLBACKS", ("DejaVu Sans Mono", "no such font"))
    assert style.fonts(["t1", "größe"]) == (["DejaVu Sans"], [])
    names = {"t0": "日本", "t1": "größe"}
    frame = table(4, 0).replace({"source": names, "target": names})
    done = foreign.analyse_tables([write(tmp_path / "a.csv", frame)], tmp_path / "out", **FEW)
    assert done.notes[-1].startswith("no font here has all letters of 日本: figures show boxes")
    assert "no font here has all letters" in done.report.read_text()
    assert "日本" in (tmp_path / "out/figures/gains_a.svg").read_text()
    # A letter that the usual font lacks is drawn with a fallback's.
    usual, mono = (
        set(style._letters(style.font_manager.findfont(f)))
        for f in ("DejaVu Sans", "DejaVu Sans Mono")
    )
    assert {"日"} & usual == set()
    more = sorted(c for c in mono - usual if c.isprintable())
    assert not more or style.fonts(more[:1]) == (["DejaVu Sans", "DejaVu Sans Mono"], [])
