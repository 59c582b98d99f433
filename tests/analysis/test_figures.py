"""Figures: what is drawn, and files that are whole and reproducible."""

import re
from dataclasses import replace
from functools import cache

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis import vocabulary
from mvlpt_analysis.choice.groups import givers, group_table, transfer_graph
from mvlpt_analysis.choice.ranking import rank_quality, summarise_quality
from mvlpt_analysis.figures import gallery, heatmaps, panels, plots, style
from mvlpt_analysis.gains.curves import curve_frame, reached
from mvlpt_analysis.read.pairs import square
from mvlpt_analysis.read.study import Frames, error_matrix, similarity_frame
from mvlpt_core.contract.errors import InputError
from support import view_data as made


@pytest.fixture(autouse=True, scope="module")
def agg():
    mpl.use("Agg")
    yield
    plt.close("all")


@cache
def frames(n: int = 6, methods: tuple[str, ...] = ("text", "visual")) -> Frames:
    transfers, alike, order = made.transfer(n, methods), made.similarity(n), made.tasks(n)
    gains = made.gains(transfers)
    parts: dict[str, list[pd.DataFrame]] = {"quality": [], "groups": [], "givers": []}
    for method in methods:
        one = gains[gains["method"] == method]
        parts["quality"].append(summarise_quality(rank_quality(one, alike), 100))
        parts["groups"].append(
            group_table(order, square(one, "gain", order), error_matrix(one, order), draws=3)
        )
        parts["givers"].append(givers(one))
        for made_tables in parts.values():
            made_tables[-1].insert(0, "method", method)
    rows = [
        (method, "gain", measure, scope, "spearman", 0.3, 0.1, 0.5, 0.01)
        for method in methods
        for measure in ("visual_cosine", "label_cosine")
        for scope in ("pooled", "per_target")
    ]
    names = ["method", "gain_kind", "measure", "scope", "statistic", "value", "low", "high", "q"]
    relations = pd.DataFrame(
        [(m, "gain", r, 0.01, 0.0, 0.02, 5) for m in methods for r in panels.RELATIONS],
        columns=["method", "gain_kind", "relation", "gain", "low", "high", "n_pairs"],
    )
    return Frames(
        gains,
        tuple(order),
        alike,
        pd.DataFrame(rows, columns=names),
        relations=relations,
        curves=made.curves(transfers),
        suite=made.groups(n),
        **{name: pd.concat(tables) for name, tables in parts.items()},
    )


def test_every_figure_is_saved_twice_with_names_as_text(tmp_path):
    data = frames(5, ("text",))
    drawn = gallery.draw_all(data, tmp_path)
    assert set(drawn["name"]) == {
        "gains_text",
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
    }
    for name in drawn["name"]:
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert (tmp_path / f"{name}.svg").stat().st_size > 2000
    for name in ("gains_text", "clusters_text", "similarity_label_cosine", "graph_text"):
        text = (tmp_path / f"{name}.svg").read_text()
        for task in data.order:
            assert re.search(rf">[^<]*{re.escape(task)}[^<]*</text>", text), (name, task)
    assert (drawn["caption"].str.count(r"\.$") == 1).all()


def test_small_multiples_share_one_scale():
    data = frames(3)
    (plate,) = gallery.small_multiples(data)
    limits = {ax.collections[0].get_clim() for ax in plate.figure.axes[:2]}
    assert len(limits) == 1
    assert [ax.get_title() for ax in plate.figure.axes[:2]] == ["text", "visual"]


def test_the_same_data_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        for plate in gallery.gain_heatmaps(frames(3, ("text",))):
            with style.style():
                style.save(plate.figure, tmp_path / folder / plate.name)
    for name in ("gains_text.png", "gains_text.svg"):
        first, second = (tmp_path / folder / name for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
        assert b"<dc:date>" not in first.read_bytes()


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
        heatmaps.gain_frame(data.gains, "other", data.order)
    with pytest.raises(InputError, match="not in the order"):
        heatmaps.gain_frame(data.gains, "text", data.order[:2])
    with pytest.raises(InputError, match="no similarity 'other'"):
        similarity_frame(data.similarity, "other")


def test_scatter_line_and_band():
    data = frames(6)
    frame = plots.scatter_frame(data.gains, data.similarity, "visual", "visual_cosine", data.suite)
    assert len(frame) == 30
    assert set(frame["relation"]) == {"family", "style", "neither"}
    assert frame["outstanding"].sum() == 5
    slope, level = plots.line(frame["similarity"].to_numpy(), frame["points"].to_numpy())
    expected = np.polyfit(frame["similarity"], frame["points"], 1)
    assert (slope, level) == pytest.approx(tuple(expected))
    band = plots.band_frame(frame, bootstrap=100)
    assert (band["low"] <= band["fit"]).mean() > 0.9
    flat = frame.assign(similarity=0.5)
    assert plots.band_frame(flat).empty
    assert plots.correlation_note(flat) == ""


def test_curves_are_relative_to_scratch_and_say_when_it_is_reached():
    rows = [("text", "scratch", "t", 1, step, score) for step, score in ((0, 0.2), (10, 0.6))]
    rows += [("text", "s", "t", 1, step, score) for step, score in ((0, 0.4), (10, 0.8))]
    rows += [("text", "t", "t", 1, step, 0.9) for step in (0, 10)]
    curves = pd.DataFrame(rows, columns=["method", "source", "target", "seed", "step", "score"])
    frame = curve_frame(curves, "text", bootstrap=10).set_index(["start", "step"])
    assert frame.loc[("all sources", 0), "points"] == pytest.approx(-20)
    assert frame.loc[("all sources", 10), "points"] == pytest.approx(20)
    found = reached(frame.reset_index()).set_index("start")
    assert found.loc["all sources", "step"] == pytest.approx(5)
    assert found.loc["scratch", "share"] == pytest.approx(1)


def test_graph_shows_the_strongest_of_either_sign():
    pairs = made.gains(made.transfer(12, ("text",)))
    pairs["q"] = np.where(pairs["gain"].isna(), np.nan, 0.0)
    frame = panels.graph_frame(transfer_graph(pairs), (3, 2))
    assert (frame["points"] > 0).tolist() == [False, False, True, True, True]
    off = pairs[pairs["source"] != pairs["target"]]["gain"]
    assert frame["points"].max() == pytest.approx(100 * off.max())
    assert frame["points"].min() == pytest.approx(100 * off.min())


@pytest.mark.parametrize("n", [2, 3])
def test_few_tasks_one_method_nothing_else(n, tmp_path):
    data = frames(n, ("text",))
    bare = Frames(data.gains, data.order)
    assert set(gallery.draw_all(bare, tmp_path)["name"]) <= {"gains_text", "clusters_text"}
    constant = replace(data, similarity=data.similarity.assign(value=0.5))
    for maker in (gallery.scatters, gallery.similarity_maps, gallery.ranking, gallery.graphs):
        with style.style():
            for plate in maker(constant):
                style.save(plate.figure, tmp_path / plate.name)
    assert (tmp_path / "scatter_visual_cosine.svg").exists()
