"""What is said of each correlation beside a margin."""

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis.association.tables import correlation_table, matrices
from mvlpt_analysis.association.verdicts import cannot_say, with_verdicts
from mvlpt_analysis.report import apart
from mvlpt_analysis.view import View
from support import view_data as made


def rows(*given):
    """A table from (value, standard error of Fisher's z, q)."""
    z = np.arctanh([value for value, _, _ in given])
    half = 1.959964 * np.array([error for _, error, _ in given])
    ends = {"low": np.tanh(z - half), "high": np.tanh(z + half)}
    return pd.DataFrame(
        {"value": np.tanh(z), **ends, "q": np.array([q for _, _, q in given], float)}
    )


def test_the_four_verdicts():
    table = with_verdicts(
        rows(
            (0.5, 0.1, 0.001),
            (-0.5, 0.1, 0.001),
            (0.02, 0.04, 0.9),  # 90 %: -.05 to .09
            (0.06, 0.02, 0.02),  # certain, and too small to matter
            (0.04, 0.04, 0.5),  # 90 %: to .105
            (0.5, 0.1, 0.06),  # not after correction
            (np.nan, 0.1, np.nan),
        ),
        margin=0.1,
    )
    assert table["verdict"].tolist() == [
        *("grows", "falls", "equal", "equal", "unclear", "unclear", ""),
    ]
    assert (table["margin"] == 0.1).all()
    wide = with_verdicts(table.drop(columns=["verdict", "margin", "told"]), margin=0.2)
    assert wide["verdict"][4] == "equal"


def test_what_could_have_been_told():
    """1.96 + 0.84 standard errors of z."""
    told = with_verdicts(rows((0.0, 0.1, 0.9)))["told"][0]
    assert told == pytest.approx(np.tanh(0.28016), abs=1e-5)
    assert cannot_say("unclear", 0.1, told) == "unclear: could have told 0.27"
    assert cannot_say("equal", 0.1, told) == "equal to 0 within a margin of 0.1"
    assert cannot_say("grows", 0.1, told) == ""


def test_a_test_without_reach_says_nothing_of_equality():
    table = rows((0.0, 0.1, 1.0)).assign(low=-1.0, high=1.0)
    judged = with_verdicts(table)
    assert judged["verdict"][0] == "unclear"
    assert judged["told"][0] == 1


@pytest.mark.parametrize(("link", "expected"), [(0.0, "equal"), (0.5, "grows")])
def test_verdicts_of_the_table(link, expected):
    """60 tasks: the standard error of a correlation of their 3,540 pairs is about .017."""
    rng = np.random.default_rng(0)
    names = [f"t{i}" for i in range(60)]
    alike = rng.normal(size=(60, 60))
    gain = link * alike + rng.normal(size=(60, 60))
    frame = pd.DataFrame(
        [(s, t, gain[i, j], alike[i, j]) for i, s in enumerate(names) for j, t in enumerate(names)],
        columns=["source", "target", "gain", "value"],
    )
    data = matrices(frame, frame.assign(measure="alike"), ("gain",))
    table = correlation_table(data, ("pooled",), ("pearson",), permutations=200)
    assert table["verdict"].tolist() == [expected]
    assert table["told"][0] == pytest.approx(np.tanh(2.8 / np.sqrt(3540)), rel=0.15)


def test_an_unclear_link_says_what_it_could_have_told():
    """Equal where tasks change places freely is not enough: families that do are fewer."""
    frames = made.tables(6, ("text",))
    links = frames["links"].assign(p_permutation=0.4, q=0.8, verdict="unclear", told=0.55)
    links.loc[links["factor"] == "", ["verdict", "told"]] = ("equal", 0.05)
    shown = apart.taken_apart(View(made.tasks(6), ("text",)), {"links": links})
    assert shown is not None
    cells = {row[1]: row[2:] for row in shown["rows"]}["visual cosine"]
    assert any("unclear: could have told 0.55" in cell for cell in cells)
    (said,) = apart.apart(links, "text", ["visual_cosine"])
    assert "unclear is whether it goes with what a source gives (could have told 0.55)" in said
