"""The contract: runs and packs, outcomes, tensor files, configurations as files; free of torch."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvlpt_core.contract import outcomes
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml, whole, write_atomic
from mvlpt_core.contract.metrics import score
from mvlpt_core.contract.rows import SCHEMA, read_rows
from mvlpt_core.contract.runs import packs
from mvlpt_core.contract.tensors import read_tensors, write_tensors
from support import bad_text


def test_the_contract_and_the_analysis_import_no_torch() -> None:
    code = (
        "import sys, pkgutil, importlib, mvlpt_core.contract as c;"
        "[importlib.import_module(f'mvlpt_core.contract.{m.name}')"
        " for m in pkgutil.iter_modules(c.__path__)];"
        "import mvlpt_analysis.study, mvlpt_analysis.foreign, mvlpt_analysis.new_task;"
        "sys.exit('torch' in sys.modules or 'snakemake' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@st.composite
def all_pairs(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Pairs of some groups and starts, those from random first."""
    groups = draw(st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1))
    starts = ["random", *draw(st.lists(st.sampled_from("uvwxyz"), unique=True))]
    return [(group, start) for start in starts for group in groups]


@given(all_pairs(), st.integers(1, 8), st.integers(1, 8))
def test_every_pair_is_in_exactly_one_pack(
    wanted: list[tuple[str, str]], pack: int, jobs: int
) -> None:
    found = packs(wanted, {"g"}, pack, jobs)
    assert sorted(pair for p in found for pair in p.pairs) == sorted(wanted)
    for p in found:
        assert len(p.groups) <= jobs
        assert all(n <= pack for n in Counter(group for group, _ in p.pairs).values())
        assert p.loads != ("random" in p.starts)
        assert "g" not in p.groups or p.groups == ["g"]


def test_stored_logits_score_as_the_logits_did() -> None:
    """Half precision made ties: with 8 images the AUC moved by half a pair."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 4)
    logits = (20 + 1e-4 * rng.normal(size=(8, 2))).astype(np.float32)
    raw = outcomes.encode(logits, "roc_auc")
    again = outcomes.decode(raw, outcomes.kind("roc_auc"), 8, "here")
    assert score("roc_auc", again, labels) == score("roc_auc", logits, labels)
    assert len(np.unique(logits[:, 1].astype(np.float16))) < 8


def test_outcomes_and_truth_come_back() -> None:
    logits = np.array([[0.1, 0.9, 0.3], [0.8, 0.1, 0.2]], np.float32)
    raw = outcomes.encode(logits, "accuracy")
    assert outcomes.decode(raw, "prediction_u16", 2, "here").tolist() == [1, 0]
    for labels, metric in ((np.array([2, 0]), "accuracy"), (np.eye(3)[:2], "map_11point")):
        stored = outcomes.encode_truth(labels)
        np.testing.assert_array_equal(outcomes.decode_truth(stored, 2, metric), labels)
    with pytest.raises(InputError, match="here: 2 stored outcomes do not fit 3 test images"):
        outcomes.decode(raw, "prediction_u16", 3, "here")
    with pytest.raises(InputError, match="outcome_kind is 'f16': expected"):
        outcomes.decode(raw, "f16", 2, "here")


def test_a_tensor_file_proves_itself_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, "task", {"name": "a"}, {"values": np.arange(4.0)})
    header, tensors = read_tensors(path, "task", ("name",))
    assert header == {"name": "a"}
    assert tensors["values"].tolist() == [0, 1, 2, 3]
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-2] ^= 1
    for bad, words in (
        (b"", "not a task file"),
        (content[:-3], "not a task file"),
        (bytes(flipped), "not what was written"),
    ):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=rf"x\.safetensors: .*{words}"):
            read_tensors(path, "task")
    path.write_bytes(content)
    with pytest.raises(InputError, match="has no header 'prompt'"):
        read_tensors(path, "prompt")
    with pytest.raises(InputError, match="its header has no 'seed'"):
        read_tensors(path, "task", ("seed",))
    # The header is proven too, and says which version of the format it is of.
    for bad, words in (
        (content.replace(b'"a\\"', b'"b\\"'), "not what was written"),
        (content.replace(b'format\\": 2', b'format\\": 1'), "of format 1: expected 2"),
    ):
        assert bad != content
        path.write_bytes(bad)
        with pytest.raises(InputError, match=words):
            read_tensors(path, "task")


def test_rows_whose_text_is_none_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"study": bad_text.column([b"s\x8b"]), "method": ["text"]})
    pq.write_table(table, path)
    with pytest.raises(InputError, match=r"not a parquet file of score rows .*UTF"):
        read_rows([path])
    bad_text.write_with_bad_name(SCHEMA.empty_table(), "outcome_kind", path)
    with pytest.raises(InputError, match=r"not a parquet file of score rows .*can't decode"):
        read_rows([path])


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.txt"
    write_atomic(path, "before")

    def fail() -> None:
        with whole(path) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file: expected a configuration"),
        ("", "holds nothing: expected a mapping"),
        ("- a\n", "holds a list: expected a mapping"),
        ("a: [1\n", "line 2: not valid YAML"),
        ("shots: 4\nseeds: 1\nshots: 7\n", "line 3: key 'shots' is given twice"),
    ],
)
def test_a_configuration_that_is_none_is_one_sentence(
    tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_is_one_line_whatever_it_names() -> None:
    assert (
        str(InputError("key 'a\nb\t' of b\u00e4r: \x1b[1m"))
        == "key 'a\\nb\\t' of b\u00e4r: \\x1b[1m"
    )
