"""Comparing matrices of gains: known answers, a published example, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr, ttest_1samp

from mvlpt.cli import main
from mvlpt_analysis.compare import compare
from mvlpt_analysis.figures.agreement import STANDARD, in_one_unit
from mvlpt_analysis.gains.agreement import (
    AGREEMENT_COLUMNS,
    Matrix,
    agreement_table,
    agreements,
)
from mvlpt_analysis.report.words_of_agreement import do_they_agree, methods_beside, sentences
from mvlpt_analysis.stats import agree
from mvlpt_analysis.stats.resample import permutations
from mvlpt_analysis.stats.structure import residual
from mvlpt_analysis.view import View
from mvlpt_core.contract.errors import InputError

TASKS = ["sun397", "cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd"]
# Accuracy of a CLIP whose image tower was tuned on one task (row) on each of eight (column): FusionBench,
# documentation of its CLIP model pool (tanganke/fusion_bench, docs/modelpool/clip_vit.md, 26ffec5).
BACKBONES = {
    "vit_b32": """75.0 47.0 54.3 46.5 28.3 26.4 44.3 41.6
        56.6 78.3 50.9 38.4 30.2 30.6 49.7 41.8
        52.0 47.2 95.2 56.9 23.9 24.3 39.7 35.9
        49.0 39.9 33.5 99.0 11.8 22.9 33.8 35.5
        40.5 36.3 18.9 9.8 97.3 27.3 81.8 23.2
        36.8 33.0 20.6 21.3 41.2 98.9 30.9 23.9
        50.3 40.0 31.3 17.7 50.1 19.3 99.6 30.7
        54.6 51.3 36.9 25.0 28.9 21.8 47.3 79.7""",
    "vit_b16": """78.9 56.2 58.9 46.6 42.7 39.9 59.3 40.8
        62.2 85.9 60.8 48.7 47.1 44.8 61.6 43.2
        60.5 57.8 96.6 65.7 28.4 35.6 71.5 39.0
        58.3 59.2 37.4 99.0 40.5 38.9 57.4 37.7
        57.6 55.4 42.8 19.6 97.6 32.6 90.0 33.1
        54.0 50.5 25.3 13.2 52.0 99.0 56.9 33.9
        58.7 52.4 47.0 23.6 65.0 27.6 99.7 37.7
        57.7 58.1 53.5 43.0 44.2 36.2 70.4 82.3""",
    "vit_l14": """82.8 68.4 58.1 49.9 55.0 46.3 79.5 52.8
        67.8 92.9 68.7 56.4 51.7 47.7 80.5 55.6
        65.6 69.0 97.4 64.3 38.3 46.6 77.7 49.9
        65.2 69.0 40.6 99.2 33.4 45.6 73.5 47.1
        66.4 69.0 54.0 19.7 97.9 48.7 92.2 50.1
        63.4 64.8 38.7 19.6 71.0 99.2 75.1 45.8
        56.0 49.8 53.5 26.6 48.2 33.1 99.8 47.1
        66.8 75.3 65.5 43.7 49.5 45.0 68.5 85.5""",
}


def published(name: str) -> np.ndarray:
    return np.array(BACKBONES[name].split(), float).reshape(8, 8)


def write(folder: Path, name: str) -> Path:
    path = folder / f"{name}.csv"
    pd.DataFrame(published(name), TASKS, TASKS).to_csv(path)
    return path


def by_name(found: list[agree.Agreement]) -> dict[str, agree.Agreement]:
    return {one.measure: one for one in found}


ORDERS = permutations(8, 2000, 0)


@pytest.mark.parametrize(
    ("a", "b", "left"),
    [("vit_b32", "vit_b16", 0.80), ("vit_b32", "vit_l14", 0.67), ("vit_b16", "vit_l14", 0.81)],
)
def test_published_backbones_agree_in_pairs(a: str, b: str, left: float) -> None:
    found = by_name(agree.symmetric(published(a), published(b), ORDERS))
    assert found["residual"].value == pytest.approx(left, abs=0.005)
    assert found["residual"].p < 0.002


def test_sources_and_targets_alone_are_no_agreement_of_pairs() -> None:
    """The level of the test, and what its interval holds, over simulated studies."""
    rng = np.random.default_rng(0)
    rejected, held = 0, 0
    for _ in range(100):
        sources, targets = rng.normal(size=(8, 1)), rng.normal(size=(1, 8))
        x, y = (sources + targets + 0.1 * rng.normal(size=(8, 8)) for _ in range(2))
        found = by_name(agree.symmetric(x, y, ORDERS[:200]))
        assert found["raw"].value > 0.9
        rejected += found["residual"].p <= 0.05
        held += found["residual"].low < 0 < found["residual"].high
    assert rejected <= 10
    assert held >= 95


def test_residuals_are_what_effects_leave_also_with_cells_missing() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.normal(size=(6, 6))
    pairs[2, 4] = pairs[0, 1] = np.nan
    effects = rng.normal(size=(6, 1)) + rng.normal(size=(1, 6))
    np.testing.assert_allclose(residual(effects + pairs), residual(pairs), atol=1e-12)
    left = residual(pairs)
    np.testing.assert_allclose(np.nansum(left, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nansum(left, axis=1), 0, atol=1e-12)
    assert np.isnan(left[2, 4])
    assert np.isnan(left.diagonal()).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_matrix_agrees_with_itself_at_any_scale(seed: int, scale: float, shift: float) -> None:
    x = np.random.default_rng(seed).normal(size=(7, 7))
    orders = permutations(7, 50, 0)
    for sign in (1.0, -1.0):
        found = agree.symmetric(x, sign * scale * x + shift, orders)
        assert [one.value for one in found] == pytest.approx([sign] * 4, abs=1e-6)
    assert by_name(agree.recommended(x, scale * x + shift))["best_kept"].value == 1


def test_what_is_recommended_is_judged_by_the_other() -> None:
    """Of four tasks: the best source of the first two targets is the same in both."""
    x = np.array([[0, 1, 3, 1], [2, 0, 1, 3], [1, 3, 0, 2], [1, 1, 1, 0]], float)
    y = np.array([[0, 1, 1, 5], [6, 0, 2, 1], [1, 4, 0, 2], [1, 1, 4, 0]], float)
    found = by_name(agree.recommended(x, y))
    assert found["best_kept"].value == 0.5
    assert found["regret"].value == (0 + 0 + (4 - 1) + (5 - 1)) / 4


def test_sources_that_are_equally_good_share_what_is_expected() -> None:
    """Two best sources by x, told apart by rounding alone: which is listed first decides nothing."""
    x = np.array([[0, 1, 1, 1], [0.1 + 0.2, 0, 0, 0], [0.3, 0, 0, 0], [0.2, 0, 0, 0]])
    y = np.array([[0, 1, 1, 1], [5, 0, 0, 0], [2, 0, 0, 0], [4, 0, 0, 0]], float)
    for order in (range(4), [0, 2, 1, 3]):
        own = np.ix_(order, order)
        found = by_name(agree.recommended(x[own], y[own]))
        assert found["best_kept"].value == pytest.approx((0.5 + 3) / 4)
        assert found["regret"].value == pytest.approx((5 - 3.5) / 4)
        for one in found.values():
            assert one.low >= 0
        assert found["best_kept"].high <= 1


def test_signs_replicate_or_turn_round() -> None:
    x, y = np.zeros((5, 5)), np.zeros((5, 5))
    x[0, 1:] = 1
    y[0, 1:] = [1, 1, -1, 0]
    found = by_name(agree.replicated(x, y))
    assert (found["replicated"].value, found["opposite"].value) == (0.5, 0.25)
    assert found["replicated"].n == 4


def test_tables_by_others_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path, name) for name in BACKBONES]
    out = tmp_path / "out"
    assert main(["compare", *map(str, files), "--out", str(out), "--permutations", "200"]) == 0
    said = capsys.readouterr().out
    assert said.count("so that the pairs themselves agree") == 3
    table = pd.read_csv(out / "agreement.csv")
    assert tuple(table.columns) == AGREEMENT_COLUMNS
    assert len(table) == 3 * 8
    for suffix in ("png", "svg", "pdf"):
        assert (out / f"vit_b32_and_vit_b16.{suffix}").stat().st_size > 1000


def test_each_table_is_spoken_of_in_its_own_unit(tmp_path: Path) -> None:
    """Raw affinities have no points: what a choice costs there is in standard deviations."""
    files = [write(tmp_path, name) for name in ("vit_b32", "vit_b16")]
    affinities = pd.read_csv(files[1], index_col=0) - 50
    affinities.to_csv(files[1])
    said = compare(files, tmp_path / "out", 20)
    assert re.search(r"best by vit_b16 for .* s\.d\. within target there", said[1])
    assert re.search(r"best by vit_b32 for .* percent there", said[2])


def test_gains_of_two_units_are_drawn_in_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [(s, t) for s in TASKS for t in TASKS]
    frame = pd.DataFrame(cells, columns=["source", "target"]).assign(gain=rng.normal(size=64))
    a = Matrix("a", "a", "a", frame)
    b = Matrix("b", "b", "b", frame.assign(gain=3 * frame["gain"] + 7), 1.0, "s.d. within target")
    x, y, unit = in_one_unit(a, b, TASKS)
    assert unit == STANDARD
    np.testing.assert_allclose(x, y)
    assert np.nanmean(off(x)) == pytest.approx(0)
    assert np.nanstd(off(x)) == pytest.approx(1)
    same = in_one_unit(a, Matrix("c", "c", "c", frame.assign(gain=0.1)), TASKS)
    assert same[2] == "points"
    np.testing.assert_allclose(off(same[0]), 100 * off(a.square(TASKS)))
    np.testing.assert_allclose(off(same[1]), 10)
    (tmp_path / "a.csv").write_text(frame.to_csv(index=False))
    scores = frame.rename(columns={"gain": "score"})
    scores[scores["source"] != "dtd"].to_csv(tmp_path / "b.csv", index=False)
    said = compare([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out", 20)
    assert "gains of the same 42 pairs" in said[0]
    left_out = "a and b are compared on 7 tasks; left out, as not source and target in both: dtd"
    assert f"note: {left_out}" in said
    assert "note: b: what is compared is standardised score, in s.d. within target" in said


def test_established_pairs_are_compared_where_both_tested() -> None:
    cells = [(s, t) for s in TASKS[:5] for t in TASKS[:5]]
    gains = pd.DataFrame(cells, columns=["source", "target"])
    gains["gain"] = np.random.default_rng(0).normal(size=25)
    a = Matrix("one", "one", "text", gains.assign(significant=gains["gain"] > 0.5))
    b = Matrix("two", "two", "text", gains.assign(gain=-gains["gain"], significant=True))
    table = agreement_table(a, b, 20).set_index(["a", "measure"])["value"]
    assert table["one", "opposite"] == 1
    assert table["two", "replicated"] == 0


def test_every_two_methods_of_a_study() -> None:
    """Methods that share what pairs gain, but not their sources: only the residuals agree."""
    rng = np.random.default_rng(1)
    pairs, names = rng.normal(size=(8, 8)), ("text", "visual", "unified")
    matrices = [
        sign * pairs + 4 * rng.normal(size=(8, 1)) + 0.3 * rng.normal(size=(8, 8))
        for sign in (1, -1, 1)
    ]
    cells = {"source": np.repeat(TASKS, 8), "target": np.tile(TASKS, 8)}
    frames = [
        pd.DataFrame({"method": name, **cells, "gain": m.ravel()})
        for name, m in zip(names, matrices, strict=True)
    ]
    table = agreements(pd.concat(frames), 500)
    left = table[table["measure"] == "residual"].set_index(["a", "b"])
    assert left["value"].map(np.sign).to_dict() == {
        ("text", "visual"): -1,
        ("text", "unified"): 1,
        ("visual", "unified"): -1,
    }
    assert (left["p"] < 0.01).all()
    expected = np.corrcoef(*(off(residual(m)) for m in matrices[:2]))[0, 1]
    assert left.loc[("text", "visual"), "value"] == pytest.approx(expected)
    view = View(TASKS, names)
    said = do_they_agree(view, {"agreement": table})
    assert len(said) == 3
    assert "pairs that gain more than their source and target tell in one gain less in" in said[0]
    assert "the pairs themselves agree" in said[1]
    shown = methods_beside(view, {"agreement": table})
    assert shown is not None
    assert [row[:2] for row in shown["rows"]] == [
        ["text", "visual"],
        ["text", "unified"],
        ["visual", "unified"],
    ]
    assert all("p = " in row[4] or "p < " in row[4] for row in shown["rows"])
    alone = agreements(frames[0])
    assert tuple(alone.columns) == AGREEMENT_COLUMNS
    assert methods_beside(view, {"agreement": alone}) is None


def off(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


def test_the_order_of_sources_against_plain_loops() -> None:
    x, y = published("vit_b32"), published("vit_b16")
    np.fill_diagonal(x, np.nan)
    values = [
        spearmanr(np.delete(x[:, t], t), np.delete(y[:, t], t)).statistic for t in range(len(x))
    ]
    found = by_name(agree.symmetric(x, y, ORDERS[:200]))[agree.ORDER]
    assert found.value == pytest.approx(np.mean(values))
    assert found.low < found.value < found.high
    assert (found.n, found.p < 0.01) == (8, True)


def test_models_on_data_sets_are_compared_by_their_order_alone() -> None:
    """Sources and targets of two kinds: the cells that stand on a diagonal are cells like others."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 4))
    y += x
    pairs = [(f"model{s}", f"data{t}") for s in range(6) for t in range(4)]
    frame = pd.DataFrame(pairs, columns=["source", "target"])
    a, b = (
        Matrix(name, "", name, frame.assign(gain=gain.ravel()))
        for name, gain in (("a", x), ("b", y))
    )
    (row,) = agreement_table(a, b).to_dict("records")
    values = [spearmanr(x[:, t], y[:, t]).statistic for t in range(4)]
    assert (row["measure"], row["n"], row["n_tasks"]) == (agree.ORDER, 4, 0)
    assert row["value"] == pytest.approx(np.mean(values))
    expected = ttest_1samp(values, 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    (said,) = sentences(agreement_table(a, b), {})
    assert said.startswith("a and b order a target's sources to a Spearman correlation of ")
    assert said.endswith(", mean over 4 targets.")


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    one = write(tmp_path, "vit_b32")
    with pytest.raises(InputError, match="vit_b32: one matrix of gains alone"):
        compare([one], tmp_path / "out")
    other = tmp_path / "other.csv"
    pd.DataFrame(np.eye(4), list("abcd"), list("abcd")).to_csv(other)
    with pytest.raises(InputError, match="vit_b32 and other have 0 tasks in common"):
        compare([one, other], tmp_path / "out")
    spelt = pd.read_csv(one, index_col=0)
    spelt.index = spelt.columns = [name.upper() for name in TASKS]
    spelt.to_csv(other)
    with pytest.raises(InputError, match=r"named alike \('sun397' and 'SUN397' may be one task\)"):
        compare([one, other], tmp_path / "out")
    constant = pd.DataFrame(np.ones((8, 8)), TASKS, TASKS)
    constant.to_csv(other)
    (said,) = compare([one, other], tmp_path / "out", 20)
    assert "or gains that do not vary" in said
    with pytest.raises(InputError, match="'vit_b32' is given twice"):
        compare([one, one], tmp_path / "out")
    again = tmp_path / "again"
    again.mkdir()
    said = compare([one, write(again, "vit_b32")], tmp_path / "out", 20)
    assert said[0].startswith(
        f"{tmp_path.name} vit_b32 and again vit_b32: gains of the same 56 pairs"
    )
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        compare([one, tmp_path / "gone.csv"], tmp_path / "out")


def test_joint_and_sequential_tuning_are_compared_method_by_method(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [
        (m, k, s, t)
        for m in ("text", "visual")
        for k in (1, 8)
        for s in TASKS
        for t in TASKS
        if s != t
    ]
    frame = pd.DataFrame(cells, columns=["method", "shots", "source", "target"])
    frame["joint_gain"] = rng.normal(size=len(frame)) / 10
    frame["sequential_gain"] = frame["joint_gain"].where(frame["shots"] == 8, -frame["joint_gain"])
    path = tmp_path / "joint_pairs.csv"
    frame.to_csv(path, index=False)
    said = compare([path], tmp_path / "out", 20, shots=8)
    found = pd.read_csv(tmp_path / "out" / "agreement.csv")
    raw = found[found["measure"] == "raw"]
    assert list(zip(raw["a"], raw["b"], strict=True)) == [
        ("joint text", "sequential text"),
        ("joint visual", "sequential visual"),
    ]
    assert raw["value"].tolist() == pytest.approx([1, 1])
    assert said[0].startswith("joint text and sequential text: gains of the same 56 pairs")
    compare([path], tmp_path / "out", 20)
    found = pd.read_csv(tmp_path / "out" / "agreement.csv")
    assert found.loc[found["measure"] == "raw", "value"].tolist() == pytest.approx([-1, -1])
    with pytest.raises(InputError, match="--shots is 5: expected one of 1, 8"):
        compare([path], tmp_path / "out", 20, shots=5)
