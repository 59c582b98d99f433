"""A study's files are what its jobs wrote: whatever happens to one is noticed, and only that."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_workflow.written import (
    ASIDE,
    LARGE,
    RECORDS,
    Altered,
    check_inputs,
    find_altered,
    record,
    set_aside,
)
from support.snake import command, run
from support.task_files import picture, write_birds


@pytest.fixture
def study(tmp_path: Path) -> str:
    """A study of three recorded files and a text that needs no record."""
    for name in ("a.csv", "below/b.csv", "c.npy"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} 1234")
    record(tmp_path, [tmp_path / "a.csv", tmp_path / "below/b.csv"], rule="tables", code="abc")
    record(tmp_path, [tmp_path / "c.npy"], data="then")
    (tmp_path / "t.txt").write_text("a\nb\n")
    return str(tmp_path)


def looked(study: str, state: str = "then", same: bool = True) -> Altered:
    files = [f"{study}/{name}" for name in ("a.csv", "below/b.csv", "c.npy", "t.txt", "none.csv")]
    data = {f"{study}/c.npy": (state, lambda: same)}
    return find_altered(study, files, {f"{study}/t.txt": "a\nb\n"}, data)


def test_a_record_says_what_made_a_file(study: str) -> None:
    made = json.loads(Path(study, RECORDS, "below/b.csv.json").read_text())
    assert (made["rule"], made["code"], made["bytes"]) == ("tables", "abc", 16)
    assert made["sha256"] == "026ab6bc2b58ffd8f777ecda6c5b5f91c5a80859765d065a744a01f13f96b83d"


def test_what_was_written_is_whole(study: str) -> None:
    assert looked(study).all() == []
    check_inputs(study, [f"{study}/a.csv", f"{study}/t.txt", f"{study}/none.csv", "/elsewhere"])


@pytest.mark.parametrize("content", [b"a.csv 12", b"", b"a.csv 1235", b"below/b.csv 1234"])
def test_another_content_is_noticed_at_any_time_and_size(study: str, content: bytes) -> None:
    path = Path(study, "a.csv")
    looked(study)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=times)
    for _ in range(2):
        assert looked(study).changed == [str(path)]
    with pytest.raises(InputError, match=r"a\.csv: not what was written"):
        check_inputs(study, [path])


def test_a_large_file_is_read_at_planning_alone(
    study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mvlpt_workflow.written.LARGE", 4)
    assert LARGE > 4
    path = Path(study, "a.csv")
    path.write_bytes(b"a.csv 1235")
    check_inputs(study, [path])
    assert looked(study).changed == [str(path)]
    path.write_bytes(b"a.csv 123")
    with pytest.raises(InputError, match="not what was written"):
        check_inputs(study, [path])


def test_contents_are_read_once(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked(study)
    monkeypatch.setattr(
        "mvlpt_workflow.written.file_digest", lambda path: pytest.fail(f"{path} read")
    )
    assert looked(study).all() == []


def test_what_no_job_ended_with_proves_nothing(study: str) -> None:
    Path(study, RECORDS, "a.csv.json").unlink()
    Path(study, RECORDS, "below/b.csv.json").write_text('{"sha256"')
    found = looked(study)
    assert found.unproven == [f"{study}/a.csv", f"{study}/below/b.csv"]
    assert found.sentences("made anew") == [
        f"{study}: 2 files left by jobs that did not end: a.csv, below/b.csv; made anew"
    ]


def test_a_text_is_what_the_plan_says(study: str) -> None:
    Path(study, "t.txt").write_text("a\nc\n")
    assert looked(study).changed == [f"{study}/t.txt"]


def test_touched_images_are_compared_and_remembered(study: str) -> None:
    assert looked(study, "touched", same=True).all() == []
    assert looked(study, "touched", same=False).all() == []  # not compared again
    assert looked(study, "exchanged", same=False).outdated == [f"{study}/c.npy"]


def test_set_aside_keeps_the_file(study: str) -> None:
    path = Path(study, "below/b.csv")
    path.write_text("mine")
    set_aside(looked(study))
    assert not path.exists()
    assert Path(study, ASIDE, "below/b.csv").read_text() == "mine"
    assert looked(study).all() == []


def test_images_exchanged_at_equal_size_and_time_are_prepared_anew(
    root: Path, tmp_path: Path
) -> None:
    """Images that are only touched, or copied with new times, are not."""
    data = tmp_path / "data"
    for name in ("birds", "fish"):
        write_birds(data / name, 6)
    suite = tmp_path / "suite.tsv"
    rows = [
        "task\tkind\tlocation\tmetric",
        *(f"{t}\tfolder\t{t}\taccuracy" for t in ("birds", "fish")),
    ]
    suite.write_text("\n".join(rows) + "\n")
    config = yaml.safe_load((root / "tests/workflow/config/tiny.yaml").read_text())
    config |= {"suite": str(suite), "data_root": str(data), "seeds": [1]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    at = Layout("results/tiny")
    wanted = [at.test(task)[0] for task in ("birds", "fish")]
    wanted += [at.sample(task, 4, 1)[0] for task in ("birds", "fish")]

    def prepared() -> tuple[str, dict[str, bytes]]:
        said = run(command(tmp_path, "--configfile", str(tmp_path / "study.yaml"), "--", *wanted))
        return said, {name: (tmp_path / name).read_bytes() for name in wanted}

    _, before = prepared()
    shutil.move(data / "birds", tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", data / "birds", copy_function=shutil.copyfile)
    said, after = prepared()
    assert "set aside" not in said
    assert before == after
    image = data / "birds/test/red_bird/3.png"
    size, times = image.stat().st_size, (image.stat().st_atime_ns, image.stat().st_mtime_ns)
    image.write_bytes(picture((240, 0, 0)))
    assert image.stat().st_size == size
    os.utime(image, ns=times)
    said, after = prepared()
    assert "2 files made from images that have changed since: prepared/birds/test.npy" in said
    assert [name for name in wanted if before[name] != after[name]] == [at.test("birds")[0]]
