"""The stages of a study's analysis, and the report as a reader gets it."""

import base64
import io
import json
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from mvlpt_analysis import study
from mvlpt_analysis.figures import gallery
from mvlpt_analysis.gains.image_bootstrap import image_intervals
from mvlpt_analysis.read import pairs
from mvlpt_analysis.report import answers
from mvlpt_analysis.report.page import write_report
from mvlpt_core.contract.errors import InputError
from speed import calibration
from support import view_data as made


@pytest.fixture(autouse=True, scope="module")
def agg():
    mpl.use("Agg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    mpl.use("Agg")
    path = made.write_study(tmp_path_factory.mktemp("study"), 5, ("text",))
    study.analyse_statistics(path, permutations=200, bootstrap=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "MAKERS", (two_figures,))
        gallery.draw_figures(path)
    write_report(path)
    return path


def two_figures(data):
    """Two kinds of figures: all are in the tests of figures."""
    yield from gallery.gain_heatmaps(data)
    yield from gallery.ranking(data)


def test_stages_write_what_they_promise(folder):
    for name in (
        "gains",
        "correlations",
        "partial",
        "regression",
        "ranking",
        "ranking_by_target",
        "groups",
        "givers",
        "relations",
        "effects",
        "asymmetry",
        "diagonal",
        "task_effects",
        "measures",
    ):
        assert (folder / "tables" / f"{name}.csv").exists(), name
    assert (folder / "correlations.parquet").exists()
    assert (folder / "correlations.csv").exists()
    assert set(pd.read_csv(folder / "tables" / "groups.csv")["method"]) == {"text"}


@pytest.mark.parametrize("workers", [1, 2])
def test_one_seed_takes_its_intervals_from_stored_outcomes(tmp_path, workers):
    rng = np.random.default_rng(0)
    transfer, outcomes, labels = calibration.image_study(calibration.known_gains(4, rng), 120, rng)
    frame = transfer.assign(gain=transfer["score"] - transfer["scratch"])
    pairs.write_frame(frame, tmp_path / "transfer.parquet")
    pairs.write_frame(outcomes, tmp_path / "outcomes.parquet")
    (tmp_path / "features").mkdir()
    empty = np.zeros((2, 3), np.float32)
    for task, truth in labels.items():
        tensors = {"train_features": empty, "class_features": empty, "text_features": empty}
        tensors |= {"train_labels": np.arange(2), "test_labels": truth}
        meta = json.dumps({"name": task, "classnames": ["a", "b"], "logit_scale": 1.0})
        save_file(tensors, tmp_path / "features" / f"{task}.safetensors", {"task": meta})
    study.analyse_statistics(tmp_path, permutations=9, bootstrap=200, seed=3, workers=workers)
    found = pd.read_csv(tmp_path / "tables" / "gains.csv")
    direct = image_intervals(outcomes, labels, replicates=200, seed=3)
    both = found.merge(direct, on=["method", "source", "target"], suffixes=("", "_direct"))
    assert len(both) == 16
    assert set(both["interval"]) == {"images"}
    for column in ("low", "high", "se", "p"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_direct"].to_numpy())


def test_every_column_is_documented(folder, root):
    text = (root / "results" / "README.md").read_text()
    section = text[text.index("## tables/") : text.index("## prepared/")]
    common = set(re.findall(r"`(\w+)`", section[: section.index("| file")])) - {"gain"}
    rows = re.findall(r"^\| `(\w+)\.csv`: ([^|]*) \| (.*) \|$", section, re.M)
    documented = {
        name: {*re.findall(r"\w+", key), *re.findall(r"`(\w+)`", columns)}
        for name, key, columns in rows
    }
    for path in sorted((folder / "tables").glob("*.csv")):
        columns = set(pd.read_csv(path, nrows=0).columns)
        if path.stem == "correlations":
            part = text[text.index("## correlations") : text.index("## tables/")]
            words = set(re.findall(r"\w+", part))
        else:
            words = documented[path.stem] | common
        assert columns <= words, f"{path.name}: {columns - words} not in results/README.md"


def test_the_report_needs_nothing_else(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", page)
    assert "@import" not in page
    assert "<script" not in page
    captions = pd.read_csv(folder / "figures" / "captions.csv")
    assert page.count("data:image/png;base64,") == len(captions)
    order = [page.index(f'id="{part}"') for part in ("answers", "protocol", "figures", "tables")]
    assert order == sorted(order)


def test_tables_in_the_report_are_the_files(folder):
    page = (folder / "report.html").read_text()
    found = dict(re.findall(r'download="(\w+).csv" href="data:text/csv;base64,([^"]+)"', page))
    assert {path.stem for path in (folder / "tables").glob("*.csv")} == set(found)
    content = base64.b64decode(found["gains"])
    assert content == (folder / "tables" / "gains.csv").read_bytes()
    assert len(pd.read_csv(io.BytesIO(content))) == 25


def test_protocol_and_answers_state_the_numbers(folder):
    page = (folder / "report.html").read_text()
    for text in ("ViT-B-16 openai", "optimizer sgd, steps 40", "1, 2, 3", "digest"):
        assert text in page
    data = study.load_frames(folder)
    sentences = answers.which_help(data)
    gains = data.gains[(data.gains["method"] == "text") & ~data.gains["diagonal"]]
    assert f"{100 * gains['gain'].mean():.1f}".replace("-", "\N{MINUS SIGN}") in sentences[0]
    certain = " ".join(answers.how_certain(data))
    assert "3 seeds" in certain
    assert "3 runs diverged" in certain


def test_no_evidence_is_said(folder):
    data = study.load_frames(folder)
    table = data.correlations.copy()
    table["p_permutation"], table["q"] = 0.4, 0.8
    effects = data.effects.assign(p_permutation=0.5)
    quiet = study.Frames(
        data.gains, data.order, data.similarity, table, effects=effects, suite=data.suite
    )
    text = " ".join(answers.what_explains(quiet))
    assert "no evidence that gain goes with visual cosine similarity" in text
    assert "no evidence of an effect of the same family" in text
    assert "grows" not in text


@pytest.fixture
def one_figure(monkeypatch):
    monkeypatch.setattr(gallery, "MAKERS", (gallery.gain_heatmaps,))


def test_names_are_escaped(one_figure, tmp_path):
    bare = made.write_study(tmp_path / "s", 3, ("text",), alike=False, planted=False)
    config = (bare / "config.yaml").read_text()
    (bare / "config.yaml").write_text(config.replace("study: made-up", "study: <b>&"))
    study.analyse_statistics(bare, permutations=50, bootstrap=50)
    gallery.draw_figures(bare)
    page = write_report(bare).read_text()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&</b>" not in page


@pytest.mark.parametrize(
    ("n", "methods", "seeds", "alike", "planted"),
    [(2, ("text",), 1, True, True), (3, ("visual",), 1, False, False)],
)
def test_small_and_bare_studies(one_figure, tmp_path, n, methods, seeds, alike, planted):
    path = made.write_study(tmp_path / "s", n, methods, seeds, alike, planted)
    (path / "config.yaml").unlink()
    (path / "curves.parquet").unlink()
    study.analyse_statistics(path, permutations=50, bootstrap=50)
    gallery.draw_figures(path)
    page = write_report(path).read_text()
    assert ("No similarities were measured" in page) == (not alike)
    assert ("There are too few tasks" in page) == alike
    assert (path / "correlations.parquet").exists()


def test_a_stage_too_early_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="run the statistics stage first"):
        gallery.draw_figures(tmp_path)
    with pytest.raises(InputError, match=r"transfer\.parquet: no such file"):
        study.analyse_statistics(tmp_path)
    with pytest.raises(InputError, match="no task's features"):
        study.measure_similarity(tmp_path)


def test_configuration_that_is_no_mapping(tmp_path):
    (tmp_path / "config.yaml").write_text("- a\n")
    with pytest.raises(InputError, match="expected a mapping"):
        study.read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [\n")
    with pytest.raises(InputError, match="not valid YAML"):
        study.read_config(tmp_path)
