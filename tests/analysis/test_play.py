"""The playable part of the report: what it knows, how it is packed, and what a browser makes of it."""

import base64
import gzip
import io
import json
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis.catalogue import CAPTIONS, drawings
from mvlpt_analysis.figures.gallery import draw_figures
from mvlpt_analysis.play.chart import charts
from mvlpt_analysis.play.data import kept_prompts, pair_data
from mvlpt_analysis.play.section import in_script, playable
from mvlpt_analysis.report.page import Part, write_report
from mvlpt_analysis.view import View, Wording
from support import browser
from support import view_data as made

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def frames():
    return made.tables(5, ("text", "visual"), transfers=made.transfer(5, ("text", "visual"), 2))


@pytest.fixture(scope="module")
def view():
    return View(made.tasks(5), ("text", "visual"), factors=made.factors(5))


@pytest.fixture(scope="module")
def data(frames, view):
    return pair_data(view, {8: frames}, kept_prompts(view.tasks, False))


def row(data, method, source, target):
    """The number of a cell."""
    numbers = (data["methods"].index(method), *(data["tasks"].index(t) for t in (source, target)))
    cells = data["cells"]
    keys = list(zip(cells["method"], cells["source"], cells["target"], strict=True))
    assert keys.count(numbers) == 1
    return keys.index(numbers)


def test_cells_hold_the_numbers_of_the_tables(data, frames):
    cells = data["cells"]
    assert len(cells["method"]) == len(frames["gains"]) == 50
    names = {
        kind["key"]: values for kind, values in zip(data["kinds"], cells["values"], strict=True)
    }
    assert list(names) == ["gain", "relative_error_reduction", "ceiling_gain"]
    for _, expected in frames["gains"].iterrows():
        i = row(data, expected["method"], expected["source"], expected["target"])
        for kind, columns in (
            ("gain", ("gain", "low", "high")),
            ("ceiling_gain", ("ceiling_gain", "ceiling_gain_low", "ceiling_gain_high")),
        ):
            for values, column in zip(names[kind], columns, strict=True):
                if np.isnan(expected[column]):
                    assert values[i] is None
                else:
                    assert values[i] == pytest.approx(expected[column], abs=6e-6)
        assert cells["n"][i] == expected["n_seeds"]
        assert cells["diverged"][i] == expected["n_diverged"]
        if np.isfinite(expected["q"]):
            assert cells["q"][i] == pytest.approx(expected["q"], rel=1e-3)
        assert (
            data["verdicts"][cells["verdict"][i]] == expected["verdict"] or not expected["verdict"]
        )
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_similarities_stand_beside_their_pair_and_method(frames, view):
    own = (
        frames["similarity"]
        .query("measure == 'visual_cosine'")
        .assign(measure="prompt_cosine_concat")
    )
    own = pd.concat(
        own.assign(method=method, value=own["value"] + add)
        for method, add in (("text", 10), ("visual", 20))
    )
    alike = pd.concat([frames["similarity"], own], ignore_index=True)
    found = pair_data(view, {8: {**frames, "similarity": alike}})
    assert found["measures"] == ["visual cosine", "label cosine", "prompt cosine concat"]
    a, b = view.tasks[1], view.tasks[3]
    pair = frames["similarity"].set_index(["measure", "source", "target"])["value"]
    for method, add in (("text", 10), ("visual", 20)):
        i = row(found, method, a, b)
        values = [values[i] for values in found["cells"]["measures"]]
        expected = [
            pair["visual_cosine", a, b],
            pair["label_cosine", a, b],
            pair["visual_cosine", a, b] + add,
        ]
        assert values == pytest.approx(expected, rel=1e-3)


def test_seeds_and_curves_are_those_of_the_pair(data, frames):
    a, b = data["tasks"][2], data["tasks"][4]
    i = {name: data["tasks"].index(name) for name in (a, b)}
    runs, curves = data["runs"], data["curves"]
    transfer = frames["transfer"].query("method == 'visual' and source == @a and target == @b")
    found = [
        (runs["seed"][k], runs["score"][k], runs["scratch"][k])
        for k in range(len(runs["seed"]))
        if (runs["method"][k], runs["source"][k], runs["target"][k]) == (1, i[a], i[b])
    ]
    expected = transfer[["seed", "score", "scratch"]].to_numpy()
    np.testing.assert_allclose(np.array(found), expected, atol=6e-6)
    shown = frames["curves"].query("method == 'visual' and target == @b")
    for source, number in ((a, i[a]), ("scratch", -1)):
        rows = shown[shown["source"] == source]
        for seed, curve in rows.groupby("seed"):
            k = list(
                zip(
                    curves["method"],
                    curves["source"],
                    curves["target"],
                    curves["seed"],
                    strict=True,
                )
            ).index((1, number, i[b], seed))
            curve = curve.sort_values("step")
            assert curves["sets"][curves["steps"][k]] == curve["step"].tolist()
            np.testing.assert_allclose(curves["scores"][k], curve["score"], atol=6e-5)


def test_orders_are_places_of_tasks(frames):
    tasks = ["b", "C", "a", "d", "e"]
    names = dict(zip(made.tasks(5), tasks, strict=True))
    renamed = {
        name: frame.replace({c: names for c in ("source", "target") if c in frame})
        for name, frame in frames.items()
    }
    shown = View(tasks, ("text", "visual"), factors={"family": ["y", "x", "", "y", "x"]})
    found = pair_data(shown, {8: renamed})
    places = {order["label"]: order["places"] for order in found["orders"]}
    assert places == {
        "as listed": [0, 1, 2, 3, 4],
        "name": [1, 2, 0, 3, 4],
        "family": [2, 0, 4, 3, 1],  # a task without a family comes last
    }
    assert set(found["clusters"]) == {"0 0", "0 1"}
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in found["clusters"].values())


def test_what_others_tables_lack_is_left_out():
    """Of another's table there are sources, targets and gains, and no more."""
    gains = pd.DataFrame(
        [("m", "s1", "t1", 0.5), ("m", "s2", "t1", np.nan)],
        columns=["method", "source", "target", "gain"],
    )
    frames = {"gains": gains, "similarity": pd.DataFrame(), "curves": pd.DataFrame()}
    shown = View(
        ["s1", "s2", "t1"], ["m"], wording=Wording(score_name="affinity", unit="sd", scale=1.0)
    )
    found = pair_data(shown, {"": frames})
    assert [(k["label"], k["unit"], k["limit"]) for k in found["kinds"]] == [
        ("affinity", "sd", {"m": 0.5})
    ]
    assert found["cells"]["values"][0] == [[0.5, None], [None, None], [None, None]]
    assert (found["runs"], found["prompts"], found["clusters"]) == ({}, None, {})
    names = [param["name"] for param in charts(found)["heatmap"]["params"] if "bind" in param]
    assert names == ["verdict", "order"]


def test_menus_offer_what_there_is(data):
    menus = {
        param["name"]: param["bind"]["labels"]
        for param in charts(data)["heatmap"]["params"]
        if "bind" in param
    }
    assert menus["method"] == ["text", "visual"]
    assert menus["kind"][0] == "transfer gain (points)"
    assert menus["verdict"][:3] == ["any", "q \N{LESS-THAN OR EQUAL TO} 0.05", "q > 0.05"]
    assert menus["order"] == ["as listed", "cluster", "mean gain", "name", "family", "style"]
    assert "shots" not in menus  # one value is no choice


def test_prompts_are_where_the_study_keeps_them():
    kept = kept_prompts(["a"], True)
    path = kept["pattern"].format(method="text", group="a", start=kept["start"], shots=8, seed=1)
    assert path == "./runs/text/shots8/a/random/seed1.safetensors"


def test_no_name_ends_a_script():
    text = in_script({"name": EVIL, "other": "<!--&"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": EVIL, "other": "<!--&"}


# ---- the page ------------------------------------------------------------------------------------------


def write(frames, view, folder, **options):
    mpl.use("Agg")
    wanted = [
        d for d in drawings(view.methods, view.measures, has_factors=True) if d.kind == "gains"
    ]
    captions = draw_figures(frames, view, folder, wanted=wanted)
    part = Part(frames, captions, {d.name: folder / f"{d.name}.png" for d in wanted})
    write_report(folder / "report.html", "s", {8: part}, view, {}, **options)
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(frames, view, tmp_path_factory):
    prompts = kept_prompts(view.tasks, True)
    return write(frames, view, tmp_path_factory.mktemp("page"), prompts=prompts)


def test_the_page_holds_the_data_and_lets_no_other_script_run(page, data):
    text = page.read_text()
    packed = re.search(r'id="play-data">([^<]*)<', text)[1]
    found = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert found["cells"] == data["cells"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    assert len(re.findall(r"'sha256-[^']+'", policy)) == 2
    assert "script-src 'unsafe-eval' 'sha256-" in policy
    assert "<noscript>" in text


def test_pages_of_1_200_and_10_800_cells_are_small(tmp_path):
    """With all their figures: three methods of 20 tasks, and the same with three shots and three seeds."""
    mpl.use("Agg")
    methods = made.METHODS
    data = made.tables(20, methods, transfers=made.transfer(20, methods, 3))
    shown = View(made.tasks(20), methods, factors=made.factors(20))
    wanted = drawings(methods, shown.measures, has_factors=True)
    drawn = [drawing for drawing in wanted if drawing.subject not in ("visual", "unified")]
    draw_figures(data, shown, tmp_path, wanted=drawn)
    # Those of one method stand for those of all: drawing takes most of the time.
    captions = pd.DataFrame([(d.name, d.name, "A figure.") for d in wanted], columns=list(CAPTIONS))
    as_text = {d.name: re.sub("visual$|unified$", "text", d.name) for d in wanted}
    figures = {name: tmp_path / f"{file}.png" for name, file in as_text.items()}
    page = tmp_path / "report.html"
    one = data["transfer"]["seed"] == 1
    first = {**data, "transfer": data["transfer"][one], "curves": data["curves"].query("seed == 1")}
    write_report(page, "s", {8: Part(first, captions, figures)}, shown, {})
    assert first["transfer"].shape[0] == 1200
    assert page.stat().st_size < 4e6
    parts = {shots: Part(data, captions, figures) for shots in (1, 5, 20)}
    write_report(page, "s", parts, shown, {})
    assert sum(len(part.frames["transfer"]) for part in parts.values()) == 10_800
    assert page.stat().st_size < 10e6


def test_a_map_of_60_by_60_takes_a_megabyte(frames):
    """10,800 different cells with their similarities, seeds and curves."""
    names = [f"task {i}" for i in range(60)]
    rng = np.random.default_rng(0)
    pair = pd.MultiIndex.from_product(
        [made.METHODS, names, names], names=["method", "source", "target"]
    )
    many = pair.to_frame(index=False)
    gains = many.assign(
        **{c: rng.normal(0, 0.1, len(many)) for c in ("gain", "low", "high", "q", "se")}
    )
    gains = gains.assign(verdict="unclear", n_seeds=3, n_diverged=0)
    alike = many.query("method == 'text'").drop(columns="method")
    alike = pd.concat(
        alike.assign(measure=f"m{i}", value=rng.normal(size=len(alike))) for i in range(10)
    )
    runs = many.assign(seed=1, score=rng.random(len(many)), scratch=rng.random(len(many)))
    curves = pd.concat(runs.assign(step=step, score=rng.random(len(many))) for step in (0, 20, 40))
    parts = {"gains": gains, "similarity": alike, "transfer": runs, "curves": curves}
    packed = playable(View(names, made.METHODS), {8: parts})
    assert len(packed["data"]) < 1.4e6
    assert len(packed["charts"]) < 20_000
    assert sum(map(len, packed["scripts"])) < 1e6


@browser.needs_browser
def test_menus_change_the_picture_and_hovers_tell_the_tables_numbers(page, frames, tmp_path):
    gains = frames["gains"].set_index(["method", "source", "target"])
    a, b = made.tasks(5)[2], made.tasks(5)[4]
    seen = browser.run(
        page,
        f"""
        const [a, b] = {json.dumps([a, b])};
        const look = () => cells().map((path) => path.getAttribute("fill"));
        const tip = async () => {{
          await point(cell(a, b), "pointermove");
          return table(document.getElementById("vg-tooltip-element"));
        }};
        const seen = {{ before: look(), text: await tip() }};
        await menu("method", "visual");
        Object.assign(seen, {{ after: look(), visual: await tip() }});
        await menu("kind", "ceiling gain (%)");
        seen.ceiling = await tip();
        await menu("kind", "transfer gain (points)");
        const place = (path) => path.getAttribute("d") + path.getAttribute("transform");
        const places = () => Object.fromEntries(cells().map((path) => [said(path), place(path)]));
        seen.listed = places();
        await menu("order", "mean gain");
        seen.ordered = places();
        await menu("verdict", "q \u2264 0.05");
        seen.faint = cells().filter((path) => Number(path.getAttribute("opacity") ?? 1) < 0.5).map(said);
        return seen;
        """,
        tmp_path,
    )
    assert len(seen["before"]) == len(seen["after"]) == 25
    assert seen["before"] != seen["after"]
    for method, told in (("text", dict(seen["text"])), ("visual", dict(seen["visual"]))):
        cell = gains.loc[(method, a, b)]
        numbers = [
            float(x.replace("\N{MINUS SIGN}", "-")) for x in told["95% interval"].split(" to ")
        ]
        gain = told["gain"].removesuffix(" points").replace("\N{MINUS SIGN}", "-")
        assert float(gain) == pytest.approx(100 * cell["gain"], abs=0.006)
        assert numbers == pytest.approx([100 * cell["low"], 100 * cell["high"]], abs=0.006)
        assert float(told["q"]) == pytest.approx(cell["q"], rel=1e-3)
        assert told["n"] == "2"
        similarity = frames["similarity"].set_index(["measure", "source", "target"])["value"]
        assert float(told["visual cosine"]) == pytest.approx(
            similarity["visual_cosine", a, b], rel=1e-3
        )
    ceiling = 100 * gains.loc[("visual", a, b), "ceiling_gain"]
    assert dict(seen["ceiling"])["gain"].replace("\N{MINUS SIGN}", "-") == f"{ceiling:+.2f} %"
    assert set(seen["listed"]) == set(seen["ordered"])
    assert seen["listed"] != seen["ordered"]
    visual = gains.loc["visual"]
    unsure = {f"{s} to {t}" for (s, t), cell in visual.iterrows() if not cell["q"] <= 0.05}
    assert set(seen["faint"]) == unsure
    assert 0 < len(unsure) < 25


@browser.needs_browser
def test_a_pair_has_its_seeds_curves_place_and_prompts(page, frames, tmp_path):
    a, b, c = made.tasks(5)[2:5]
    seen = browser.run(
        page,
        f"""
        const [a, b] = {json.dumps([a, b])};
        const about = () => document.getElementById("pair-about");
        const seen = {{ hidden: document.getElementById("pair").hidden }};
        await point(cell(a, b), "click");
        seen.title = about().querySelector("h3").textContent;
        seen.said = about().querySelector("p").textContent;
        seen.seeds = table(about());
        seen.links = all("a", about()).map((link) => link.getAttribute("href"));
        seen.points = all("#pair-curves .mark-symbol.role-mark path").length;
        seen.marked = all("#pair-scatter .role-mark path").map((path) => path.getAttribute("fill"));
        await press(document.getElementById("play-map"), "ArrowRight");
        seen.right = about().querySelector("h3").textContent;
        await press(document.getElementById("play-map"), "ArrowUp");
        seen.up = about().querySelector("h3").textContent;
        await menu("method", "visual");
        seen.visual = about().querySelector("p").textContent;
        seen.focusable = document.getElementById("play-map").tabIndex;
        seen.named = document.querySelector("#play-map [role=graphics-document]").ariaLabel;
        return seen;
        """,
        tmp_path,
    )
    cell = frames["gains"].set_index(["method", "source", "target"]).loc[("text", a, b)]
    rows = frames["transfer"].query("method == 'text' and source == @a and target == @b")
    assert seen["hidden"] is True
    assert seen["title"] == f"{a} \N{RIGHTWARDS ARROW} {b}"
    assert (
        f"transfer gain {100 * cell['gain']:+.2f} points".replace("-", "\N{MINUS SIGN}")
        in seen["said"]
    )
    assert [[float(x) for x in line[:3]] for line in seen["seeds"][1:]] == [
        pytest.approx([r.seed, 100 * r.score, 100 * r.scratch], abs=0.006)
        for r in rows.itertuples()
    ]
    at = "./runs/text/shots8"
    assert seen["links"] == [
        path
        for seed in (1, 2)
        for path in (
            f"{at}/{a}/random/seed{seed}.safetensors",
            f"{at}/{b}/{a}/seed{seed}.safetensors",
        )
    ]
    assert seen["points"] == 2 * 2 * 5  # two starts, two seeds, five steps
    assert seen["marked"].count("#E69F00") == 1
    assert seen["right"] == f"{a} \N{RIGHTWARDS ARROW} {c}"
    assert seen["up"] == f"{made.tasks(5)[1]} \N{RIGHTWARDS ARROW} {c}"
    assert seen["visual"].startswith("visual, 8 shots")
    assert seen["focusable"] == 0
    assert seen["named"].startswith("Heatmap of gains")


@browser.needs_browser
def test_tables_sort_filter_and_are_saved(page, frames, tmp_path):
    seen = browser.run(
        page,
        """
        const seen = {};
        let saved;
        URL.createObjectURL = (blob) => { saved = blob; return "#"; };
        document.querySelector('button[aria-label="open gains.csv"]').click();
        await settle();
        const opened = document.querySelector(".opened");
        const head = (name) => all("th button", opened).find((found) => found.textContent === name);
        const rows = () => table(opened.querySelector("tbody"));
        seen.head = table(opened)[0];
        head("gain").click();
        await settle();
        seen.sorted = rows();
        seen.aria = head("gain").parentNode.getAttribute("aria-sort");
        const filter = opened.querySelector("input");
        filter.value = "visual gain>0.01";
        filter.dispatchEvent(new Event("input"));
        await settle();
        seen.filtered = rows();
        all("button", opened).find((found) => found.textContent.startsWith("Save")).click();
        seen.saved = await saved.text();
        return seen;
        """,
        tmp_path,
    )
    gains = frames["gains"]
    assert seen["head"] == list(gains.columns)
    column = seen["head"].index("gain")
    expected = gains["gain"].sort_values(ascending=False).dropna()
    numbers = [float(line[column]) for line in seen["sorted"] if line[column]]
    assert numbers == pytest.approx(expected.tolist())
    assert len(seen["sorted"]) == len(gains)  # what is missing comes last
    assert seen["aria"] == "descending"
    kept = gains[(gains["method"] == "visual") & (gains["gain"] > 0.01)]
    assert len(seen["filtered"]) == len(kept)
    saved = pd.read_csv(io.StringIO(seen["saved"]))
    assert list(saved.columns) == list(gains.columns)
    assert saved["gain"].tolist() == pytest.approx(
        kept["gain"].sort_values(ascending=False).tolist()
    )


@browser.needs_browser
def test_a_phone_needs_no_sideways_scrolling_and_the_dark_is_dark(page, tmp_path):
    seen = browser.run(
        page,
        """
        return { inner: innerWidth, page: document.documentElement.scrollWidth,
                 map: document.querySelector("#play-map svg").getBoundingClientRect().right };
        """,
        tmp_path,
        width=390,
    )
    assert seen["inner"] == 390
    assert seen["page"] <= 390
    assert seen["map"] <= 390
    colours = """
        const { backgroundColor, color } = getComputedStyle(document.body);
        const ink = (text) => getComputedStyle(text).fill;
        const inks = (within) => [...new Set(all(`${within} svg text`).map(ink))];
        return { page: [backgroundColor, color], map: inks("#play-map"), figures: inks("figure").sort() };
    """
    light = browser.run(page, colours, tmp_path)
    dark = browser.run(page, colours, tmp_path, dark=True)
    assert light["page"] == ["rgb(255, 255, 255)", "rgb(26, 26, 26)"]
    assert light["map"] == light["page"][1:]
    assert dark["page"] == ["rgb(23, 25, 28)", "rgb(228, 228, 228)"]
    assert dark["map"] == dark["page"][1:]
    # Figures keep their paper and their inks: the numbers in dark cells are white.
    assert light["figures"] == dark["figures"]
    assert {"rgb(0, 0, 0)", "rgb(255, 255, 255)"} <= set(light["figures"])


@browser.needs_browser
def test_names_are_text_in_every_place(frames, tmp_path):
    first = made.tasks(5)[0]
    renamed = {
        name: frame.replace({c: {first: EVIL} for c in ("source", "target", "task") if c in frame})
        for name, frame in frames.items()
    }
    shown = View([EVIL, *made.tasks(5)[1:]], ("text", "visual"), factors={EVIL: list("aabbc")})
    page = write(renamed, shown, tmp_path, prompts=kept_prompts(shown.tasks, False))
    seen = browser.run(
        page,
        f"""
        const evil = {json.dumps(EVIL).replace("<", chr(92) + "u003c")};
        await point(cell(evil, {json.dumps(made.tasks(5)[1])}), "click");
        await point(cell(evil, {json.dumps(made.tasks(5)[1])}), "pointermove");
        document.querySelector('button[aria-label="open gains.csv"]').click();
        await settle();
        return {{ title: document.querySelector("#pair-about h3").textContent,
                  images: all("img[src=x]").length,
                  tip: document.getElementById("vg-tooltip-element").textContent,
                  table: document.querySelector(".opened table").textContent.includes(evil),
                  link: document.querySelector("#pair-about a").getAttribute("href") }};
        """,
        tmp_path,
    )
    assert seen["title"].startswith(EVIL)
    assert seen["images"] == 0
    assert EVIL in seen["tip"]
    assert seen["table"]
    assert "<" not in seen["link"]
