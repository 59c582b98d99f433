"""A plan registered before the first run: written once, read whole, and what the report makes of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from mvlpt_analysis import catalogue
from mvlpt_analysis.report.page import Part, write_report
from mvlpt_analysis.report.registered import NOT_REGISTERED, verdict
from mvlpt_analysis.view import View
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.registered import Registered, read_registered, register, study_digest
from support import view_data as made
from support.pages import prose

PLAN = Registered(
    "made-up", "text", "absolute", "label_cosine", 2.0, (1, 2), (8,), "abc", "2026-01-31"
)


@pytest.fixture(scope="module")
def frames():
    return made.tables(12, ("text",))


def page_of(folder, frames, plan, configuration):
    captions = pd.DataFrame(columns=list(catalogue.TEXT))
    view = View(made.tasks(12), ("text",), factors=made.factors(12))
    write_report(
        folder / "report.html",
        "s",
        {8: Part(frames, captions, {})},
        view,
        {},
        plan=plan,
        configuration=configuration,
    )
    text = (folder / "report.html").read_text()
    return prose(text)


def test_a_plan_is_written_once_and_read_whole(tmp_path):
    path = register(PLAN, tmp_path)
    assert path == tmp_path / "plan.json"
    assert read_registered(path) == (PLAN, True)
    with pytest.raises(InputError, match=r"plan\.json: a plan is registered already: expected"):
        register(PLAN, tmp_path)
    held = json.loads(path.read_text())
    assert held["digest"] == PLAN.digest
    path.write_text(json.dumps(held | {"margin": 5.0}))
    assert read_registered(path) == (replace(PLAN, margin=5.0), False)
    path.write_text(json.dumps({"study": "x"}))
    with pytest.raises(InputError, match=r"plan\.json: not a registered plan"):
        read_registered(path)


def test_a_plan_comes_before_the_first_run(tmp_path):
    (tmp_path / "runs/text/shots8/a/random").mkdir(parents=True)
    (tmp_path / "runs/text/shots8/a/random/seed1.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="has runs already: expected none"):
        register(PLAN, tmp_path)
    assert not (tmp_path / "plan.json").exists()


def test_the_configuration_is_known_by_what_results_depend_on():
    settings = {"shots": [8], "threads": 1, "tuning": {"steps": 3}}
    tasks, pairs = [{"task": "a"}], {8: [("a", "random")]}
    behind = {"set": ["a", "b"]}
    own = study_digest(settings, tasks, pairs, behind)
    assert study_digest({**settings, "threads": 8}, tasks, pairs, behind) == own
    assert study_digest({**settings, "shots": [4]}, tasks, pairs, behind) != own
    assert study_digest(settings, [{"task": "b"}], pairs, behind) != own
    assert study_digest(settings, tasks, {8: []}, behind) != own
    assert study_digest(settings, tasks, pairs, {"set": ["a", "c"]}) != own


def test_the_report_says_that_nothing_was_registered(frames, tmp_path):
    page = page_of(tmp_path, frames, None, "abc")
    assert page.count(NOT_REGISTERED) == 1
    assert "(exploratory)" not in page
    # Tables of others have no runs before which one could register.
    assert "exploratory" not in page_of(tmp_path, frames, None, None)


def test_the_report_answers_the_plan_and_marks_the_rest(frames, tmp_path):
    page = page_of(tmp_path, frames, register(PLAN, tmp_path), "abc")
    assert f"Registered on 2026-01-31 (digest {PLAN.digest}), before the first run" in page
    row = frames["diagonal"].query("method == 'text' and gain_kind == 'gain'").iloc[0]
    mean = f"{100 * row['transfer_gain']:.1f}".replace("-", "\N{MINUS SIGN}")
    assert f"text: the mean gain is {mean} [" in page
    assert "over 12 targets: " in page
    assert "text: the gain grows with label cosine (rho = " in page
    for heading in ("Answers", "Figures", "Tables"):
        assert f"{heading} (exploratory)" in page
    assert "changed after" not in page


def test_the_report_says_what_was_changed(frames, tmp_path):
    path = register(PLAN, tmp_path)
    page = page_of(tmp_path, frames, path, "def")
    assert "The configuration was changed after the plan was registered (abc then, def now)" in page
    path.write_text(path.read_text().replace("label_cosine", "visual_cosine"))
    page = page_of(tmp_path, frames, path, "abc")
    assert "The file of the registered plan was changed after it was registered." in page
    path.unlink()
    other = register(replace(PLAN, method="visual", shots=(8, 16)), tmp_path)
    page = page_of(tmp_path, frames, other, "abc")
    assert page.count("not in this study, so not answered") == 2


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (2.5, 4, "a gain beyond"),
        (-4, -2.5, "a loss beyond"),
        (-1, 1.5, "no gain or loss beyond"),
        (0.5, 4, "a gain, not established"),
        (-4, -0.5, "a loss, not established"),
        (-1, 4, "not established to be"),
    ],
)
def test_verdicts(low, high, says):
    assert verdict(low, high, 2).startswith(says)
