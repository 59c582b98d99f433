"""The report as a reader gets it."""

import base64
import gzip
import io
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis import catalogue
from mvlpt_analysis.figures.gallery import draw_figures
from mvlpt_analysis.read import pairs
from mvlpt_analysis.read.study import read_tables
from mvlpt_analysis.report import answers
from mvlpt_analysis.report.glance import glance
from mvlpt_analysis.report.page import Part, _lead, write_report
from mvlpt_analysis.report.protocol import study_protocol
from mvlpt_analysis.report.tasks import overview
from mvlpt_analysis.view import View
from mvlpt_core.contract.errors import InputError
from support import view_data as made
from support.pages import apart, prose

CONFIG = {
    "study": "made-up",
    "suite": "suite.tsv",
    "groups": None,
    "backbone": {"name": "ViT-B-16", "pretrained": "openai", "precision": "auto"},
    "methods": {"text": {"n_ctx": 4, "lr": 0.1}},
    "runs": {"transfer": [{"group": ["tasks"], "start": ["tasks"]}]},
    "tuning": {"optimizer": "sgd", "steps": 40, "batch_size": 32, "checkpoint": "last"},
    "seeds": [1, 2, 3],
    "shots": [8],
}
NOTES = {"task_2": "the copy has 2,754 training images"}


@pytest.fixture(autouse=True, scope="module")
def agg():
    mpl.use("Agg")


def part(frames, view, folder, kinds=("gains", "ranking_quality")):
    """Two kinds of figures: all are in the tests of figures."""
    shown = catalogue.drawings(view.methods, view.measures, has_factors=True)
    wanted = [drawing for drawing in shown if drawing.kind in kinds]
    captions = draw_figures(frames, view, folder, wanted=wanted)
    return Part(frames, captions, {d.name: folder / f"{d.name}.png" for d in wanted})


@pytest.fixture(scope="module")
def frames():
    return made.tables(5, ("text",))


@pytest.fixture(scope="module")
def view():
    return View(made.tasks(5), ("text",), factors=made.factors(5))


@pytest.fixture(scope="module")
def folder(frames, view, tmp_path_factory):
    mpl.use("Agg")
    path = tmp_path_factory.mktemp("study")
    written = {**frames, **read_tables(made.write(frames, path))}
    shown = part(written, view, path / "shots8" / "figures")
    write_report(path / "report.html", "made-up", {8: shown}, view, study_protocol(CONFIG, NOTES))
    return path


def test_data_that_differ_from_the_published_splits_are_told(folder):
    page = (folder / "report.html").read_text()
    assert "data that differ" in page
    assert "task_2: the copy has 2,754 training images" in page
    assert "data that differ" not in study_protocol(CONFIG, {})


def test_the_report_needs_nothing_else(folder):
    page, scripts = apart((folder / "report.html").read_text())
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", page)
    assert "@import" not in page
    assert re.findall("<script[^>]*>", scripts) == [
        '<script type="application/octet-stream" id="play-data">',
        '<script type="application/json" id="play-charts">',
        "<script>",
        "<script>",
    ]
    # Each of the two figures once, in the form that takes fewer bytes; no link leaves the page.
    assert page.count("<img ") + page.count("<svg ") == 2
    assert "&lt;svg" not in page
    assert '<svg class="wide" role="img" aria-label="How well sources can be chosen"' in page
    order = [
        page.index(f'id="{name}"')
        for name in ("explore", "answers", "protocol", "figures", "tables")
    ]
    assert order == sorted(order)
    assert not [link for link in re.findall(r'href="([^"]+)"', page) if link[0] not in "#d"]
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))


def test_tables_in_the_report_are_the_files(folder):
    page = (folder / "report.html").read_text()
    found = dict(
        re.findall(r'download="(\w+).csv.gz" href="data:application/gzip;base64,([^"]+)"', page)
    )
    assert {path.stem for path in (folder / "tables").glob("*.csv")} == set(found)
    for name, content in found.items():
        table = gzip.decompress(base64.b64decode(content))
        assert table == (folder / "tables" / f"{name}.csv").read_bytes(), name
    packed = io.BytesIO(base64.b64decode(found["gains"]))
    assert len(pd.read_csv(packed, compression="gzip")) == 25


def test_protocol_and_answers_state_the_numbers(folder, frames, view):
    page = (folder / "report.html").read_text()
    for text in ("ViT-B-16 openai", "optimizer sgd, steps 40", "1, 2, 3", "digest"):
        assert text in page
    assert "transfer: tasks from tasks" in page
    sentences = answers.which_help(view, frames)
    gains = frames["gains"]
    gains = gains[(gains["method"] == "text") & ~gains["diagonal"]]
    assert f"{100 * gains['gain'].mean():.1f}".replace("-", "\N{MINUS SIGN}") in sentences[0]
    certain = " ".join(answers.how_certain(view, {**frames, "agreement": pd.DataFrame()}))
    assert "3 seeds" in certain
    assert "3 runs diverged" in certain


def test_what_is_unclear_is_said(frames, view):
    table = frames["correlations"].copy()
    table["p_permutation"], table["q"] = 0.4, 0.8
    effects = frames["effects"].assign(p=0.5)
    quiet = {**frames, "correlations": table, "effects": effects}
    text = " ".join(answers.what_explains(view, quiet))
    assert "whether gain goes with visual cosine similarity is unclear (rho" in text
    assert "no evidence" not in text
    assert "the effect of the same family is unclear (" in text
    assert "grows" not in text


def test_names_are_escaped(frames, view, tmp_path):
    shown = part(frames, view, tmp_path, ("gains",))
    write_report(tmp_path / "report.html", "<b>&", {8: shown}, view, {"note": "<i>"})
    page, _ = apart((tmp_path / "report.html").read_text())
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&</b>" not in page
    assert "&lt;i&gt;" in page


@pytest.mark.parametrize(
    ("n", "methods", "seeds", "alike", "lost"),
    [
        (2, ("text",), 1, True, ()),
        (1, ("text",), 2, True, ()),
        (3, ("visual",), 1, False, ()),
        (5, ("text", "visual"), 2, True, ("text",)),
        (5, ("text", "visual"), 2, True, ("text", "visual")),
        (5, ("text",), 0, True, ()),
    ],
)
def test_small_bare_and_diverged_studies(tmp_path, n, methods, seeds, alike, lost):
    transfers = made.transfer(n, methods, max(seeds, 1))
    transfers = transfers if seeds else transfers.iloc[:0]
    for method in lost:
        transfers = made.diverged(transfers, method)
    similarity = made.similarity(n) if alike else made.similarity(n).iloc[:0]
    data = made.tables(n, methods, transfers=transfers, alike=similarity, planted=False)
    data["curves"] = data["curves"].iloc[:0]
    shown = View(made.tasks(n), methods)
    write_report(
        tmp_path / "report.html", "s", {8: part(data, shown, tmp_path, ("gains",))}, shown, {}
    )
    page = (tmp_path / "report.html").read_text()
    assert ("No similarities were measured" in page) == (not alike)
    assert ("There are too few tasks" in page) == (alike and (n < 4 or not seeds))
    assert not re.search(r"\bnan\b", prose(page), re.I)
    for method in lost:
        assert f"Every run of {method} diverged, so nothing can be said of it." in page
    if not seeds:
        assert "Text has no pairs, so nothing can be said of it." in page


def test_no_sentence_holds_nan(frames, view):
    """Every number that may be missing is: no sentence tells of it as one."""
    data = {**frames, "agreement": pd.DataFrame(columns=catalogue.TABLES["agreement"].columns)}
    nan = np.nan
    data["agreement"].loc[0] = ["x", "y", "rank_per_target", 0.5, nan, nan, nan, 4, 2]
    data["agreement"].loc[1] = ["x", "z", "rank_per_target", nan, nan, nan, nan, 0, 2]
    for name in ("gains", "correlations", "ranking", "effects", "diagonal", "groups"):
        numbers = data[name].select_dtypes("number").columns
        counts = ["group", "size", "n_seeds", "n_diverged"]
        for column in numbers.difference(counts):
            lost = {**data, name: data[name].assign(**{column: np.nan})}
            for write in (answers.which_help, answers.how_certain, answers.what_explains):
                assert "nan" not in " ".join(write(view, lost)), (name, column)
            assert "nan" not in " ".join(answers.what_to_do(view, lost)), (name, column)
            heads, rows = glance(view, lost)
            assert all(len(row) == len(heads) for row in rows)
            assert "nan" not in " ".join(cell for row in rows for cell in row), (name, column)


def test_several_shots_have_a_part_each(frames, view, tmp_path):
    parts = {shots: part(frames, view, tmp_path / f"shots{shots}", ("gains",)) for shots in (1, 20)}
    write_report(tmp_path / "report.html", "s", parts, view, {})
    page, _ = apart((tmp_path / "report.html").read_text())
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    for shots in (1, 20):
        assert {f"answers-{shots}", f"figures-{shots}", f"tables-{shots}"} <= set(ids)
        assert f"Answers, {shots} shots" in page
        assert f'href="#figure-gains_text-{shots}"' in page
        assert f'download="gains-{shots}.csv.gz"' in page
    assert page.count('id="protocol"') == 1
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_mixed_rows_are_flagged(frames, view, tmp_path):
    transfer = frames["transfer"].assign(config_digest="aaa", code_digest="ccc")
    write_to = tmp_path / "report.html"

    def page(rows, **more):
        shown = part({**frames, "transfer": rows, **more}, view, tmp_path, ("gains",))
        write_report(write_to, "s", {8: shown}, view, {})
        return write_to.read_text()

    same = page(transfer)
    assert "text: configuration aaa, code ccc" in same
    assert 'class="warning"' not in same
    mixed = page(transfer.assign(code_digest=["ccc", *["ddd"] * (len(transfer) - 1)]))
    assert "text: rows of 2 states of the code (ddd, ccc) are mixed" in mixed
    odd = transfer.iloc[0]
    assert f"comparable: {odd['source']} to {odd['target']} are not of ddd" in mixed
    assert "configuration aaa, code ccc; configuration aaa, code ddd" in mixed
    assert "rows come from" not in page(frames["transfer"])
    # Replicates give all gains their seed noise: they count as well.
    again = transfer.iloc[3:5]
    assert 'class="warning"' not in page(transfer, replicates=again)
    mixed = page(transfer, replicates=again.assign(code_digest="ddd"))
    assert "text: rows of 2 states of the code (ccc, ddd) are mixed" in mixed
    first, second = (f"{row.source} to {row.target}" for row in again.itertuples())
    assert f"comparable: {first}, {second} are not of ccc" in mixed
    assert "configuration aaa, code ccc; configuration aaa, code ddd" in mixed


def test_what_is_missing_is_named(frames, view, tmp_path):
    shown = part(frames, view, tmp_path, ("gains",))
    less = {name: frame for name, frame in frames.items() if name != "givers"}
    path = tmp_path / "report.html"
    with pytest.raises(InputError, match="report: table 'givers' is missing"):
        write_report(path, "s", {8: Part(less, shown.captions, shown.figures)}, view, {})
    with pytest.raises(InputError, match="report: figure 'gains_text' is missing"):
        write_report(path, "s", {8: Part(frames, shown.captions, {})}, view, {})
    (tmp_path / "gains_text.png").unlink()
    with pytest.raises(InputError, match=r"gains_text\.png: no such file"):
        write_report(path, "s", {8: shown}, view, {})
    assert not path.exists()


def test_captions_come_back_from_their_file(frames, view, tmp_path):
    shown = part(frames, view, tmp_path, ("gains",))
    pairs.write_frame(shown.captions, tmp_path / "captions.csv")
    back = pairs.read_frame(tmp_path / "captions.csv", text=catalogue.TEXT)
    pd.testing.assert_frame_equal(back, shown.captions, check_dtype=False)


def test_prompts_of_several_tasks_are_no_pair_of_two_tasks(tmp_path):
    """A set and a mean that bring far more than any task are not what "tasks help tasks" counts; a task of a
    second suite is."""
    view = View(made.tasks(5), ("text",), factors=made.factors(5), sources=["elsewhere"])
    transfer = made.transfer(5, ("text",))
    own = transfer[transfer["source"] == made.tasks(5)[2]]
    curves = made.curves(transfer)
    frames = made.tables(5, ("text",))
    others = []
    for source, gain in (("eight", 0.4), ("mean_of_all", 0.3), ("elsewhere", 0.2)):
        rows = frames["gains"][frames["gains"]["source"] == made.tasks(5)[2]]
        score = rows["scratch"] + gain
        others.append(rows.assign(source=source, diagonal=False, gain=gain, score=score))
    with_sets = frames | {"gains": pd.concat([frames["gains"], *others], ignore_index=True)}
    pair = with_sets["gains"].query("source not in ('eight', 'mean_of_all') and not diagonal")
    assert len(pair) == 5 * 4 + 5
    mean = 100 * pair["gain"].mean()
    (said,) = answers.which_help(view, with_sets)
    assert f"over {pair['gain'].notna().sum()} pairs of two tasks {mean:.1f} points" in said
    assert "elsewhere gives most (20.0)" in said
    assert f"{mean:.1f} points" in glance(view, with_sets)[1][0]
    sizes = pd.DataFrame({"task": made.tasks(5), "classes": 2, "test": 200, "chance": 0.5})
    samples = pd.DataFrame({"task": made.tasks(5), "train": 8, "val": 0})
    rows = overview(view, sizes, samples, transfer, with_sets["gains"]).rows
    assert [row[-1].split(",")[0] for row in rows] == ["elsewhere"] * 5
    lead = _lead(view, {8: Part(with_sets, pd.DataFrame(), {})})
    assert lead.startswith(
        "6 sources and 5 target tasks, 1 prompt method (text). 25 pairs of two tasks"
    )
    assert lead.endswith("10 more gains are those of prompts of several tasks.")
    # Nor are their curves those of other tasks.
    late = curves[curves["source"] == own["source"].iloc[0]].assign(source="eight", score=0.0)
    assert answers.what_to_do(view, frames | {"curves": curves}) == answers.what_to_do(
        view, with_sets | {"curves": pd.concat([curves, late])}
    )
