"""Figures: what is drawn, and files that are whole and reproducible."""

import re
import zlib
from functools import cache
from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fontTools.subset import Options
from fontTools.ttLib import TTFont

from mvlpt_analysis import catalogue, vocabulary
from mvlpt_analysis.choice.groups import transfer_graph
from mvlpt_analysis.figures import (
    clusters,
    forest,
    gallery,
    graph,
    heatmaps,
    relations,
    scatter,
    style,
)
from mvlpt_analysis.gains.curves import curve_frame, reached
from mvlpt_analysis.read.study import similarity_frame
from mvlpt_analysis.view import View
from mvlpt_core.contract.errors import InputError
from support import view_data as made


@pytest.fixture(autouse=True, scope="module")
def agg():
    mpl.use("Agg")
    yield
    plt.close("all")


@cache
def frames(n: int = 6, methods: tuple[str, ...] = ("text", "visual")) -> dict[str, pd.DataFrame]:
    transfers = made.transfer(n, methods)
    tables = made.tables(n, methods, transfers=transfers)
    # With known standard errors: one seed alone has none.
    return {**tables, "gains": made.gains(transfers)}


def view(n: int, methods: tuple[str, ...] = ("text", "visual")) -> View:
    return View(made.tasks(n), methods, factors=made.factors(n))


def plate(name: str, n: int, methods: tuple[str, ...], **tables: pd.DataFrame) -> style.Plate:
    shown = catalogue.drawings(methods, has_factors=True)
    (drawing,) = (d for d in shown if d.name == name)
    return gallery.make_plate(drawing, {**frames(n, methods), **tables}, view(n, methods))


def test_every_figure_is_saved_in_three_forms_with_names_as_text(tmp_path):
    drawn = gallery.draw_figures(frames(5, ("text",)), view(5, ("text",)), tmp_path)
    assert drawn["name"].tolist() == [
        "gains_text",
        "gains_shrunk_text",
        "relations",
        "scatter_visual_cosine",
        "scatter_label_cosine",
        "correlations",
        "similarity_visual_cosine",
        "similarity_label_cosine",
        "learning_curves",
        "ranking_quality",
        "clusters_text",
        "graph_text",
    ]
    files = {f"{name}.{suffix}" for name in drawn["name"] for suffix in ("png", "svg", "pdf")}
    assert {path.name for path in tmp_path.iterdir()} == files
    for name in drawn["name"]:
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert (tmp_path / f"{name}.svg").stat().st_size > 2000
    for name in ("gains_text", "clusters_text", "similarity_label_cosine", "graph_text"):
        text = (tmp_path / f"{name}.svg").read_text()
        for task in made.tasks(5):
            assert re.search(rf">[^<]*{re.escape(task)}[^<]*</text>", text), (name, task)
    assert (drawn["caption"].str.count(r"\.$") == 1).all()
    assert not drawn["caption"].str.contains("nothing to draw").any()
    curves = drawn.set_index("name").loc["learning_curves", "caption"]
    assert "on a fixed sample of the test images" in curves


def test_small_multiples_share_one_scale():
    figure = plate("gains_all_methods", 3, ("text", "visual")).figure
    limits = {ax.collections[0].get_clim() for ax in figure.axes[:2]}
    assert len(limits) == 1
    assert [ax.get_title() for ax in figure.axes[:2]] == ["text", "visual"]


def test_the_same_data_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        with style.style():
            drawn = plate("gains_text", 3, ("text",))
            style.save(drawn.figure, tmp_path / folder / "gains_text")
    for name in ("gains_text.png", "gains_text.svg", "gains_text.pdf"):
        first, second = (tmp_path / folder / name for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
        assert b"<dc:date>" not in first.read_bytes()


def test_fonts_in_a_pdf_are_glyphs_alone(tmp_path):
    with style.style():
        _, _, pdf = style.save(plate("gains_text", 3, ("text",)).figure, tmp_path / "gains_text")
    streams = re.findall(rb"/Length1 .*?stream\s(.*?)\sendstream", pdf.read_bytes(), re.DOTALL)
    fonts = [TTFont(BytesIO(zlib.decompress(stream))) for stream in streams]
    assert fonts
    for font in fonts:
        assert any(font["glyf"][name].numberOfContours for name in font.getGlyphOrder()[1:])
        assert not {"GDEF", "GPOS", "GSUB"} & set(font.keys())
    assert "GSUB" not in Options().drop_tables  # of others' PDFs


def test_workers_draw_the_same_figures(tmp_path):
    wanted = [d for d in catalogue.drawings(("text",), has_factors=True) if d.kind != "graph"][:2]
    drawn = [
        gallery.draw_figures(
            frames(3, ("text",)), view(3, ("text",)), tmp_path / str(n), wanted=wanted, workers=n
        )
        for n in (1, 2)
    ]
    pd.testing.assert_frame_equal(*drawn)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def test_heatmap_frame_marks_cells():
    gains = made.gains(made.transfer(4, ("text",)))
    names = made.tasks(4)
    frame = heatmaps.gain_frame(gains, "text", names).set_index(["source", "target"])
    assert frame.loc[(names[0], names[1]), "diverged"]
    assert frame["diverged"].sum() == 1
    assert frame["diagonal"].sum() == 4
    row = gains.set_index(["source", "target"]).loc[(names[2], names[3])]
    assert frame.loc[(names[2], names[3]), "points"] == pytest.approx(100 * row["gain"])
    labels = [h.get_label() for h in heatmaps.legend_handles([frame.reset_index()])]
    assert "diverged: no score" in labels


def test_heatmap_colours_are_centred_at_0_and_texts_are_the_points():
    names = made.tasks(4)
    frame = heatmaps.gain_frame(made.gains(made.transfer(4, ("visual",))), "visual", names)
    _, axes = style.new_figure(4, 4)
    ax = heatmaps.draw_gain_heatmap(axes[0][0], frame, names)
    low, high = ax.collections[0].get_clim()
    assert low == -high
    texts = {text.get_text() for text in ax.texts}
    known = frame.dropna(subset=["points"])
    assert {vocabulary.signed(v) for v in known["points"]} <= texts
    assert [t.get_text() for t in ax.get_xticklabels()] == names
    assert [t.get_text() for t in ax.get_yticklabels()] == names


def test_unknown_categories_raise():
    data = frames(3)
    with pytest.raises(InputError, match="no gains of method 'other'"):
        heatmaps.gain_frame(data["gains"], "other", made.tasks(3))
    with pytest.raises(InputError, match="not in the order"):
        heatmaps.gain_frame(data["gains"], "text", made.tasks(2))
    with pytest.raises(InputError, match="no similarity 'other'"):
        similarity_frame(data["similarity"], "other", "text")


def test_scatter_line_and_band():
    data = frames(6)
    frame = scatter.scatter_frame(
        data["gains"], data["similarity"], "visual", "visual_cosine", view(6).factor_frame
    )
    assert len(frame) == 30
    assert set(frame["relation"]) == {"family", "style", "neither"}
    assert frame["outstanding"].sum() == 5
    slope, level = scatter.line(frame["similarity"].to_numpy(), frame["points"].to_numpy())
    expected = np.polyfit(frame["similarity"], frame["points"], 1)
    assert (slope, level) == pytest.approx(tuple(expected))
    band = scatter.band_frame(frame, bootstrap=100)
    assert (band["low"] <= band["fit"]).mean() > 0.9
    flat = frame.assign(similarity=0.5)
    assert scatter.band_frame(flat).empty
    assert scatter.correlation_note(flat) == ""


def test_the_first_factor_that_a_pair_shares_is_its_relation():
    rows = [(s, t, 0.1) for s in "abc" for t in "abc"]
    gains = pd.DataFrame(rows, columns=["source", "target", "gain"]).assign(method="m")
    alike = gains.rename(columns={"gain": "value"}).assign(measure="x").drop(columns="method")
    factors = pd.DataFrame(
        {"task": list("abc"), "era": ["", "", "new"], "size": list("111"), "hue": list("221")}
    )
    frame = scatter.scatter_frame(gains, alike, "m", "x", factors)
    assert set(frame["relation"]) == {"size"}  # an empty value is shared with no one
    found = frame.assign(relation="").equals(scatter.scatter_frame(gains, alike, "m", "x"))
    assert found
    frame = scatter.scatter_frame(gains, alike, "m", "x", factors[["task", "era", "hue"]])
    relation = frame.set_index(["source", "target"])["relation"]
    assert relation["a", "b"] == "hue"
    assert relation["a", "c"] == "neither"


def test_relations_bear_the_names_of_the_factors():
    assert relations.relation_labels(["era"]) == {
        "self": "own prompt",
        "era": "same era",
        "neither": "none of these",
    }
    rows = [("m", "gain", r, 0.02, 0.01, 0.03, 5) for r in ("neither", "era", "self", "other")]
    columns = ["method", "gain_kind", "relation", "gain", "low", "high", "n_pairs"]
    frame = relations.relation_frame(pd.DataFrame(rows, columns=columns), ["era"])
    assert frame["relation"].tolist() == ["self", "era", "neither"]
    assert frame["points"].tolist() == [2, 2, 2]


def test_curves_are_relative_to_scratch_and_say_when_it_is_reached():
    rows = [("text", "scratch", "t", 1, step, score) for step, score in ((0, 0.2), (10, 0.6))]
    rows += [("text", "s", "t", 1, step, score) for step, score in ((0, 0.4), (10, 0.8))]
    rows += [("text", "t", "t", 1, step, 0.9) for step in (0, 10)]
    curves = pd.DataFrame(rows, columns=["method", "source", "target", "seed", "step", "score"])
    whole = curves.assign(split="test", score=0.5)  # the whole test split is another yardstick
    curves = pd.concat([curves.assign(split="curve"), whole])
    frame = curve_frame(curves, "text", bootstrap=10).set_index(["start", "step"])
    assert frame.loc[("all sources", 0), "points"] == pytest.approx(-20)
    assert frame.loc[("all sources", 10), "points"] == pytest.approx(20)
    found = reached(frame.reset_index()).set_index("start")
    assert found.loc["all sources", "step"] == pytest.approx(5)
    assert found.loc["scratch", "share"] == pytest.approx(1)


def test_graph_shows_the_same_share_of_either_sign_the_strongest_of_each():
    pairs = made.gains(made.transfer(12, ("text",)))
    pairs["q"] = np.where(pairs["gain"].isna(), np.nan, 0.0)
    edges = transfer_graph(pairs)
    helping = int((edges["weight"] > 0).sum())
    assert 0 < helping < len(edges)
    frame = graph.graph_frame(edges, len(edges) // 2)
    assert (frame["points"] > 0).sum() == pytest.approx(helping / 2, abs=1)
    assert (frame["points"] < 0).sum() == pytest.approx((len(edges) - helping) / 2, abs=1)
    assert frame["points"].abs().is_monotonic_increasing
    off = pairs[pairs["source"] != pairs["target"]]["gain"]
    assert frame["points"].max() == pytest.approx(100 * off.max())
    assert frame["points"].min() == pytest.approx(100 * off.min())


@pytest.mark.parametrize("n", [2, 3])
def test_few_tasks_draw_every_figure(n, tmp_path):
    constant = frames(n, ("text",))["similarity"].assign(value=0.5)
    data = {**frames(n, ("text",)), "similarity": constant}
    drawn = gallery.draw_figures(data, view(n, ("text",)), tmp_path)
    assert drawn["name"].tolist() == catalogue.figures(("text",), has_factors=True)
    captions = drawn.set_index("name")["caption"]
    assert "4 tasks" in captions["correlations"]
    assert ("2 tasks are both source and target" in captions["clusters_text"]) == (n == 2)
    assert (tmp_path / "scatter_visual_cosine.svg").exists()


def test_a_method_that_diverged_throughout_is_drawn_as_the_reason(tmp_path):
    methods = ("text", "visual")
    lost = made.diverged(made.transfer(5, methods, 2), "text")
    data = made.tables(5, methods, transfers=lost)
    drawn = gallery.draw_figures(data, view(5), tmp_path).set_index("name")["caption"]
    assert drawn.index.tolist() == catalogue.figures(methods, has_factors=True)
    for name in ("gains_text", "clusters_text", "graph_text"):
        assert drawn[name] == "There is nothing to draw, because every run of text diverged."
        assert ">Nothing to draw: every run of text diverged.<" in (
            tmp_path / f"{name}.svg"
        ).read_text().replace("\n", "")
    assert "nothing to draw" not in drawn["gains_visual"]


def test_gains_that_are_all_alike_have_no_clusters():
    gains = frames(5, ("text",))["gains"].assign(gain=0.1 + 0.2)
    differs = gains.assign(gain=gains["gain"] + 0.1 * (gains.index % 3))
    with style.style():
        alike, apart = (
            clusters.plot_clusters(view(5, ("text",)), "text", some) for some in (gains, differs)
        )
    assert alike.caption == (
        "There is nothing to draw, because all pairs of these tasks gain the same in text."
    )
    assert "hierarchical clustering" in apart.caption


def test_a_study_without_any_gain_draws_every_figure(tmp_path):
    lost = made.diverged(made.transfer(4, ("text",)), "text")
    empty = {"curves": made.curves(lost), "transfer": lost}
    for transfers in (lost, lost.iloc[:0]):
        data = {**made.tables(4, ("text",), transfers=transfers), **empty}
        drawn = gallery.draw_figures(data, view(4, ("text",)), tmp_path).set_index("name")
        assert drawn.index.tolist() == catalogue.figures(("text",), has_factors=True)
        shown = drawn[~drawn["caption"].str.contains("nothing to draw")]
        assert set(shown.index) == {"similarity_visual_cosine", "similarity_label_cosine"}


def test_a_figure_names_the_table_that_it_lacks(tmp_path):
    data = {name: frame for name, frame in frames(3, ("text",)).items() if name != "ranking"}
    with pytest.raises(InputError, match="figure 'ranking_quality': table 'ranking' is missing"):
        gallery.draw_figures(data, view(3, ("text",)), tmp_path)


def test_filled_marks_are_the_significant_ones():
    frame = pd.DataFrame(
        [("text", m, 0.3, 0.1, 0.5, q) for m, q in (("a", 0.05), ("b", 0.051), ("c", np.nan))],
        columns=["method", "measure", "value", "low", "high", "q"],
    )
    _, axes = style.new_figure(3, 3)
    ax = forest.draw_forest(axes[0][0], frame, ["a", "b", "c"], ["text"])
    fills = {
        round(float(y)): mark.get_markerfacecolor() != "white"
        for mark in ax.lines
        for y in mark.get_ydata()
        if mark.get_marker() == "o" and len(mark.get_xdata())
    }
    assert fills == {0: True, 1: False, 2: False}


@pytest.mark.parametrize("name", [style.DIVERGING, style.SEQUENTIAL])
def test_numbers_in_cells_can_be_read_on_every_colour(name):
    """WCAG 2: a contrast of at least 4.5 to 1, over the whole colour map."""

    def luminance(colour):
        rgb = np.asarray(mpl.colors.to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in mpl.colormaps[name](np.linspace(0, 1, 1000)):
        dark, light = sorted((luminance(colour), luminance(style.ink(colour))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_dots_mark_the_fewer_cells():
    names = made.tasks(6)
    frame = heatmaps.gain_frame(made.gains(made.transfer(6, ("text",))), "text", names)
    for share in (0.2, 0.9):
        many = frame.assign(
            established=~frame["diagonal"] & (np.arange(len(frame)) < share * len(frame))
        )
        filled = heatmaps.marks(many.assign(suggested=many["established"])).dropna()
        assert 0 < len(filled) < len(frame) / 2
        assert set(filled) == {share < 0.5}


@pytest.mark.parametrize("n", [4, 20])
def test_figures_fit_a_column_with_whole_legends_and_readable_text(n):
    methods = ("text", "visual")
    with style.style():
        for name in ("gains_text", "relations", "scatter_visual_cosine", "graph_text"):
            figure = plate(name, n, methods).figure
            millimetres = figure.get_figwidth() * 25.4
            assert min(abs(millimetres - width) for width in (84, 174)) < 0.01, name
            style.fix_layout(figure)
            box = figure.bbox
            for legend in figure.legends:
                own = legend.get_window_extent()
                assert box.x0 <= own.x0 < own.x1 <= box.x1, name
            texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
            assert min(text.get_fontsize() for text in texts) >= style.SMALLEST, name
            plt.close(figure)


def test_looks_never_repeat_and_mean_one_thing():
    names = [str(i) for i in range(20)]
    assert len(set(style.looks(names).values())) == 20
    assert not set(style.COLOURS) & set(style.OTHERS)


def test_a_wide_band_does_not_squeeze_the_points():
    frame = pd.DataFrame({"similarity": [0.0, 0.5, 1.0], "points": [1.0, 2.0, 3.0], "relation": ""})
    band = pd.DataFrame({"x": [0.0, 1.0], "fit": [1.0, 3.0], "low": -500.0, "high": 500.0})
    _, axes = style.new_figure(style.ONE_COLUMN, 2)
    low, high = scatter.draw_scatter(axes[0][0], frame, band).get_ylim()
    assert -1 < low < 1
    assert 3 < high < 5
