"""The catalogue: tables and figures that are known before any is made."""

import re
import subprocess
import sys

import pytest

from mvlpt_analysis import catalogue
from mvlpt_analysis.figures import gallery
from support import view_data as made


def test_it_imports_nothing_heavy():
    code = (
        "import sys; import mvlpt_analysis.catalogue; "
        "print([m for m in ('numpy', 'pandas', 'matplotlib', 'scipy', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("n", [2, 5])
def test_every_table_has_the_header_that_the_catalogue_says(n):
    tables = made.tables(n, ("text",), seeds=2)
    for name in catalogue.STUDY_TABLES:
        assert tuple(tables[name].columns) == catalogue.TABLES[name].columns, name
    words = {c for name in catalogue.STUDY_TABLES for c in tables[name].select_dtypes("str")}
    assert words <= catalogue.TEXT


def test_every_kind_of_drawing_has_its_maker():
    shown = catalogue.drawings(("a", "b"), has_factors=True)
    assert {drawing.kind for drawing in shown} == set(gallery.KINDS)


def test_figures_are_what_the_study_has():
    names = catalogue.figures(("text",), has_factors=False, has_curves=False, has_groups=False)
    assert "relations" not in names
    assert "learning_curves" not in names
    assert "graph_text" not in names
    assert "gains_all_methods" not in names
    assert "gains_all_methods" in catalogue.figures(("text", "visual"), has_factors=False)
    without = catalogue.figures(("text",), (), has_factors=False)
    assert without == [
        "gains_text",
        "gains_shrunk_text",
        "learning_curves",
        "ranking_quality",
        "clusters_text",
        "graph_text",
    ]


def test_names_of_files_are_safe_and_distinct():
    methods = ["a/b", "a b", "..", "../../etc", "all_methods", "A B", "", "é", "x" * 260, "x" * 261]
    names = catalogue.figures(methods, ("m/1", "m 1"), has_factors=True)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,90}", name) for name in names)
    assert len({name.casefold() for name in names}) == len(names)
    shown = catalogue.drawings(methods, ("m/1", "m 1"), has_factors=True)
    assert [d.subject for d in shown if d.kind == "gains"] == methods
    assert "gains_all_methods" in [d.name for d in shown if not d.subject]
