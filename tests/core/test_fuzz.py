"""Whatever happens to the bytes of a file: it is read as it was written, or refused in one sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import read_yaml
from mvlpt_core.contract.rows import read_rows, write_rows
from mvlpt_core.contract.settings import read_study
from mvlpt_core.contract.suite import read_groups, read_suite
from mvlpt_core.contract.tensors import read_tensors, write_tensors
from mvlpt_core.tasks.prepare import load_test, prepare_test
from support.task_files import write_birds

ROW = {
    **{"study": "s", "method": "text", "group": "a", "start": "random", "shots": 4, "seed": 1},
    **{"target": "a", "step": 0, "split": "test", "metric": "accuracy", "score": 0.5, "loss": 0.1},
    **{"n": 4, "status": "ok", "selected": True, "outcomes": b"\0\1\0\2", "truth": None},
    **{"outcome_kind": "prediction_u16", "backbone": "b", "config_digest": "c", "code_digest": "d"},
}
HEADER = {"method": "text", "settings": {"n_ctx": 2}, "status": "ok", "tasks": {"a": [1.5, None]}}


def _tensors(path: Path) -> str:
    header, tensors = read_tensors(path, "prompt")
    return repr((header, {name: value.tobytes() for name, value in tensors.items()}))


def _prepared(path: Path) -> str:
    found = load_test(path)
    return repr((found.classnames, found.labels.tolist(), found.metric, found.images.shape))


def _study(path: Path) -> str:
    return repr(read_study(read_yaml(path), "it"))


@pytest.fixture(scope="module")
def files(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each kind that is read."""
    folder = tmp_path_factory.mktemp("files")
    names = ["rows.parquet", "prompt.safetensors", "test.safetensors"]
    names += ["study.yaml", "suite.tsv", "groups.tsv"]
    found = {Path(name).stem: folder / name for name in names}
    write_rows(found["rows"], [ROW, {**ROW, "step": 4}])
    values = np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)
    write_tensors(found["prompt"], "prompt", HEADER, {"text": values})
    write_birds(folder / "birds", 3)
    suite = "task\tkind\tlocation\tmetric\ttemplates\tfamily\n"
    suite += "birds\tfolder\tbirds\taccuracy\ta {c}|the {c}\tone\n"
    found["suite"].write_text(suite)
    preprocess = {"size": 8, "interpolation": "bicubic", "resize_mode": "shortest"}
    row = read_suite(found["suite"])[0]
    prepare_test(row, folder, preprocess, max_test=None, out=found["test"])
    shutil.copy(root / "tests/workflow/config/multitask.yaml", found["study"])
    found["groups"].write_text("group\ttask\nboth\ta\nboth\tb\n")
    return found


# How each is read; whether all that is read must be what was written, for it proves itself.
READERS: dict[str, tuple[Callable[[Path], str], bool]] = {
    "rows": (lambda path: repr(read_rows([path]).to_pylist()), True),
    "prompt": (_tensors, True),
    "test": (_prepared, True),
    "study": (_study, False),
    "suite": (lambda path: repr(read_suite(path)), False),
    "groups": (lambda path: repr(read_groups([path], ["a", "b"])), False),
}


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Cut, leave out, double, overwrite or insert a piece, at some share of the file."""
    at, length = draw(st.floats(0, 1)), draw(st.integers(0, 40))
    piece = draw(st.binary(max_size=12) | st.text(max_size=6).map(lambda text: text.encode()))
    how = draw(st.sampled_from(["cut", "leave out", "double", "overwrite", "insert", "flip"]))

    def damaged(content: bytes) -> bytes:
        start = round(at * len(content))
        before, there, after = (
            content[:start],
            content[start : start + length],
            content[start + length :],
        )
        if how == "cut":
            return before
        if how == "flip":
            return before + bytes(255 - value for value in there) + after
        middle = {
            "leave out": b"",
            "double": 2 * there,
            "overwrite": piece,
            "insert": piece + there,
        }
        return before + middle[how] + after

    return damaged


@pytest.mark.parametrize("kind", READERS)
@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(how=damage())
def test_a_damaged_file_is_refused_in_one_sentence(
    files: dict[str, Path], kind: str, how: Callable[[bytes], bytes]
) -> None:
    read, proven = READERS[kind]
    path = files[kind]
    whole = path.read_bytes()
    expected = read(path)
    path.write_bytes(how(whole))
    try:
        found, said = read(path), ""
    except InputError as error:
        found, said = expected, str(error)
    finally:
        path.write_bytes(whole)
    assert found == expected or not proven
    assert "\n" not in said


_PLAIN: Any = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES: Any = st.recursive(
    _PLAIN, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_at_any_key_is_taken_or_one_sentence(root: Path, data: st.DataObject) -> None:
    config = yaml.safe_load((root / "tests/workflow/config/multitask.yaml").read_text())
    place = config
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(VALUES)
    said = ""
    try:
        read_study(config, "it")
    except InputError as error:
        said = str(error)
    assert "\n" not in said
