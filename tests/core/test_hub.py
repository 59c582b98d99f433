"""Fetching from the hub: a fake of its client's two calls, repositories of files as the hub holds them."""

import io
import json
import shutil
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mvlpt.cli import main
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.tasks import hub
from mvlpt_core.tasks.open import open_task
from support.task_files import samples, write_birds, write_coop, write_tar

WDS = TaskRow("toy", "wds", "wds_toy", "accuracy", repo="clip-benchmark/wds_toy")
COOP = TaskRow("pets", "coop", "deep/oxford-pets", "accuracy", repo="zhengli97/all_of_coop")
MEMES = TaskRow("memes", "hateful_memes", "hateful-memes", "roc_auc", note="restricted terms")


class Hub:
    """Repositories as folders, `<type>/<owner>/<name>`; what was downloaded from them."""

    def __init__(self, root: Path) -> None:
        self.root, self.got = root, list[str]()
        self.error: Exception | None = None

    def repo_info(self, repo: str, *, repo_type: str, revision: str, files_metadata: bool) -> Any:
        assert files_metadata
        if self.error:
            raise self.error
        response = SimpleNamespace(headers={}, request=None, status_code=404)
        if not (self.root / repo_type / repo).is_dir():
            raise RepositoryNotFoundError("401", response=response)  # type: ignore[arg-type]
        if revision not in ("main", "c0ffee"):
            raise RevisionNotFoundError("404", response=response)  # type: ignore[arg-type]
        folder = self.root / repo_type / repo
        siblings = [
            SimpleNamespace(rfilename=str(p.relative_to(folder)), size=p.stat().st_size)
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        ]
        return SimpleNamespace(sha="c0ffee", siblings=siblings)

    def snapshot_download(
        self, repo: str, *, repo_type: str, revision: str, local_dir: Path, allow_patterns: list
    ) -> None:
        assert revision == "c0ffee"
        folder = self.root / repo_type / repo
        (local_dir / ".cache" / "huggingface").mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_file() and any(fnmatch(name, pattern) for pattern in allow_patterns):
                if self.error and self.got:
                    raise self.error
                (local_dir / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, local_dir / name)
                self.got.append(name)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A WebDataset copy, and a model repository of packed data sets with CoOp's splits."""
    fake = Hub(tmp_path / "hub")
    wds = fake.root / "dataset" / WDS.repo
    for split in ("train", "test"):
        write_tar(wds / split / "0.tar", samples(range(4)))
        (wds / split / "nshards.txt").write_text("1\n")
    (wds / "classnames.txt").write_text("red\ngreen\nblue\n")
    (wds / "zeroshot_classification_templates.txt").write_text("a {c}.\n")
    for other in ("README.md", ".gitattributes", "test/0.tar.idx", "val/0.tar", "metadata.json"):
        (wds / other).parent.mkdir(exist_ok=True)
        (wds / other).write_text("not needed")
    model = fake.root / "model" / COOP.repo
    model.mkdir(parents=True)
    write_coop(tmp_path / "packed" / "oxford_pets")
    pack(tmp_path / "packed", model / "oxford_pets.zip")
    (model / "dtd.zip").write_bytes(b"")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    return fake


def pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))


def test_a_webdataset_copy_comes_without_what_is_not_needed(tmp_path: Path, remote: Hub) -> None:
    copy = hub.find_copy(WDS)
    assert set(copy.files) == {
        *("classnames.txt", "zeroshot_classification_templates.txt"),
        *("train/0.tar", "train/nshards.txt", "test/0.tar", "test/nshards.txt"),
    }
    sizes = [(remote.root / "dataset" / WDS.repo / name).stat().st_size for name in copy.files]
    assert copy.size == sum(sizes)
    folder = tmp_path / "data" / WDS.location
    assert not hub.is_fetched(copy, folder)
    hub.fetch_copy(copy, folder)
    assert sorted(remote.got) == sorted(copy.files)
    assert hub.is_fetched(copy, folder)
    record = json.loads((folder / ".fetched.json").read_text())
    assert (record["repo"], record["revision"], record["commit"]) == (WDS.repo, "main", "c0ffee")
    task = open_task(WDS, tmp_path / "data")
    assert task.classnames == ("red", "green", "blue")
    assert len(list(task.split("test").images(range(4)))) == 4
    (folder / "test" / "0.tar").write_bytes(b"")
    assert not hub.is_fetched(copy, folder)


def test_a_packed_data_set_is_unpacked_to_its_place(tmp_path: Path, remote: Hub) -> None:
    copy = hub.find_copy(COOP)
    assert (copy.repo_type, list(copy.files)) == ("model", ["oxford_pets.zip"])
    folder = tmp_path / "data" / COOP.location
    hub.fetch_copy(copy, folder)
    assert hub.is_fetched(copy, folder)
    assert len(open_task(COOP, tmp_path / "data").split("train").labels) == 6
    assert sorted(path.name for path in folder.parent.iterdir()) == ["oxford-pets"]
    # Again, as another commit: what an earlier fetch left makes room.
    hub.fetch_copy(copy, folder)
    assert hub.is_fetched(copy, folder)


def test_a_data_set_in_a_folder_of_the_repository(tmp_path: Path, remote: Hub) -> None:
    model = remote.root / "model" / COOP.repo
    (model / "oxford_pets.zip").unlink()
    write_coop(model / "Oxford_Pets")
    copy = hub.find_copy(COOP)
    hub.fetch_copy(copy, tmp_path / "data" / COOP.location)
    assert len(open_task(COOP, tmp_path / "data").split("test").labels) == 3


def test_an_interrupted_fetch_goes_on(tmp_path: Path, remote: Hub) -> None:
    copy = hub.find_copy(WDS)
    remote.error = OSError("connection reset\nby peer")
    with pytest.raises(
        InputError, match=r"clip-benchmark/wds_toy cannot be reached \(connection re"
    ):
        hub.fetch_copy(copy, tmp_path / WDS.location)
    remote.error = None
    hub.fetch_copy(copy, tmp_path / WDS.location)
    assert hub.is_fetched(copy, tmp_path / WDS.location)


def test_a_broken_archive_is_one_sentence(tmp_path: Path, remote: Hub) -> None:
    archive = remote.root / "model" / COOP.repo / "oxford_pets.zip"
    copy = hub.find_copy(COOP)
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"oxford_pets.zip cannot be unpacked \(.*\): expected it"):
        hub.fetch_copy(copy, tmp_path / COOP.location)
    assert not (tmp_path / COOP.location).exists()
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    archive.write_bytes(empty.getvalue())
    with pytest.raises(InputError, match=r"oxford_pets.zip of repository .* has no split_zhou_"):
        hub.fetch_copy(copy, tmp_path / COOP.location)


def test_a_folder_of_other_origin_is_left_alone(tmp_path: Path, remote: Hub) -> None:
    for row in (WDS, COOP):
        folder = tmp_path / row.location
        folder.mkdir(parents=True)
        (folder / "mine.txt").write_text("mine")
        with pytest.raises(
            InputError, match=r"holds files that were not fetched: expected it empty"
        ):
            hub.fetch_copy(hub.find_copy(row), folder)
        assert (folder / "mine.txt").read_text() == "mine"


def test_a_full_disk_is_told_first(
    tmp_path: Path, remote: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"task toy needs 0.0 GB in .*, where 0.0 GB are free"):
        hub.fetch_copy(hub.find_copy(WDS), tmp_path / WDS.location)
    assert not remote.got
    # What an interrupted fetch has got is there already.
    copy, target = hub.find_copy(WDS), tmp_path / WDS.location
    (target / ".cache/huggingface/download").mkdir(parents=True)
    (target / ".cache/huggingface/download/0.tar.incomplete").write_bytes(b"0" * (copy.size - 90))
    hub.fetch_copy(copy, target)
    assert hub.is_fetched(copy, target)


def test_a_fetch_that_is_killed_while_it_clears_up_goes_on(
    tmp_path: Path, remote: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, folder = hub.find_copy(COOP), tmp_path / COOP.location
    kept = shutil.rmtree

    def killed(path: Path, **options: bool) -> None:
        if path.name.endswith(".part"):
            raise KeyboardInterrupt
        kept(path, **options)

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        hub.fetch_copy(copy, folder)
    monkeypatch.undo()
    assert hub.is_fetched(copy, folder)


def row(**changes: Any) -> TaskRow:
    return TaskRow(
        **{"task": "toy", "kind": "wds", "location": "x", "metric": "accuracy"} | changes
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            MEMES,
            r"task memes has no copy on the hub: .*hateful-memes .* by hand \(restricted terms",
        ),
        (
            row(kind="folder", repo=""),
            r"task toy has no copy on the hub: expected its folder x",
        ),
        (row(), r"task toy has no copy on the hub"),
        (row(repo="me/gone"), r"repository me/gone is neither a data set nor a model on the hub"),
        (row(repo=WDS.repo, revision="v9"), r"wds_toy has no revision 'v9': expected a branch"),
        (row(repo=COOP.repo), r"all_of_coop at main has no classnames.txt: expected a WebDataset"),
        (
            row(kind="coop", repo=COOP.repo),
            r"has 0 archives or folders named like x: .*dtd.zip, oxf",
        ),
    ],
)
def test_what_is_not_there_is_one_sentence(remote: Hub, asked: TaskRow, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        hub.find_copy(asked)
    assert "\n" not in str(caught.value)


def test_a_copy_without_train_shards(remote: Hub) -> None:
    (remote.root / "dataset" / WDS.repo / "train" / "0.tar").unlink()
    with pytest.raises(
        InputError, match=r"has no train/0.tar: expected a WebDataset copy with train"
    ):
        hub.find_copy(WDS)


def test_a_data_set_of_the_hub_by_name_and_revision(
    tmp_path: Path, remote: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    pets = remote.root / "dataset/me/Pets.v2"
    write_birds(pets, 2)
    for name in (".gitattributes", "README.md", "pets.py"):
        (pets / name).write_text("no data")
    data = tmp_path / "data"
    data.mkdir()
    asked = ["fetch", "hub:me/Pets.v2@c0ffee", "--data-root", str(data)]
    assert main([*asked, "--dry-run"]) == 0
    assert "pets_v2: me/Pets.v2 at c0ffee (c0ffee): 8 files" in capsys.readouterr().out
    assert not list(data.iterdir())
    assert main(asked) == 0
    assert len(remote.got) == 8
    task = open_task(TaskRow("pets", "folder", "pets_v2", "accuracy"), data)
    assert task.classnames == ("blue bird", "red bird")
    assert main(["fetch", "hub:me/gone", "--data-root", str(data)]) == 1
    assert "repository me/gone is neither a data set nor a model" in capsys.readouterr().err
    assert main(["fetch", "hub:pets", "--data-root", str(data)]) == 2
    assert "repo 'pets' of task pets: expected owner/name" in capsys.readouterr().err
    # Where there are parquet files, they come alone.
    (pets / "data").mkdir()
    (pets / "data/train-0.parquet").write_bytes(b"PAR1")
    row = TaskRow("pets", "parquet", "pets", "accuracy", repo="me/Pets.v2")
    assert list(hub.find_copy(row).files) == ["data/train-0.parquet"]


def test_no_network_and_no_entry(remote: Hub) -> None:
    remote.error = ConnectionError("Name or service not known")
    with pytest.raises(
        InputError, match=r"cannot be reached \(Name or service not known\): expected"
    ):
        hub.find_copy(WDS)
    response = SimpleNamespace(headers={}, request=None, status_code=403)
    remote.error = GatedRepoError("403", response=response)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"wds_toy is gated: expected its terms accepted"):
        hub.find_copy(WDS)


SUITE = f"""task\tkind\tlocation\tmetric\trepo
toy\twds\twds_toy\taccuracy\t{WDS.repo}
pets\tcoop\tdeep/oxford-pets\taccuracy\t{COOP.repo}
memes\thateful_memes\thateful-memes\troc_auc\t
"""


@pytest.fixture
def asked(tmp_path: Path, remote: Hub) -> list[str]:
    (tmp_path / "suite.tsv").write_text(SUITE)
    (tmp_path / "data").mkdir()
    return ["fetch", str(tmp_path / "suite.tsv"), "--data-root", str(tmp_path / "data")]


def test_the_command(
    tmp_path: Path, remote: Hub, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*asked, "--dry-run", "--task", "toy"]) == 0
    shown = capsys.readouterr().out
    assert (
        "toy: clip-benchmark/wds_toy at c0ffee (main, the suite pins none): 6 files, 0.0 MB"
        in shown
    )
    assert f"to get: 0.0 MB, into {tmp_path / 'data'}" in shown
    assert not remote.got
    assert main(asked) == 1  # the memes are not there, all else is got
    shown = capsys.readouterr()
    assert shown.err.startswith("error: task memes has no copy on the hub: expected its folder")
    assert f"pets: fetched to {tmp_path / 'data' / 'deep' / 'oxford-pets'}" in shown.out
    assert main(["check", *asked[1:]]) == 1
    (tmp_path / "data" / "hateful-memes").mkdir()
    got = len(remote.got)
    assert main(asked) == 0
    shown = capsys.readouterr()
    assert "memes: is there" in shown.err
    assert shown.out.count("is there already") == 2
    assert len(remote.got) == got


def test_one_task_that_fails_leaves_the_others(
    tmp_path: Path, remote: Hub, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (remote.root / "model" / COOP.repo / "oxford_pets.zip").write_bytes(b"no archive")
    assert main([*asked, "--task", "pets", "toy"]) == 1
    shown = capsys.readouterr()
    assert "oxford_pets.zip cannot be unpacked" in shown.err
    assert "toy: fetched to" in shown.out


def test_bad_requests(
    tmp_path: Path,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*asked, "--task", "birds"]) == 2
    assert "has no such task: expected toy, pets, memes" in capsys.readouterr().err
    assert main([*asked[:3], str(tmp_path / "none")]) == 2
    assert "none is not a folder: expected the setting data_root" in capsys.readouterr().err
    monkeypatch.delenv("MVLPT_DATA_ROOT", raising=False)
    assert main(asked[:2]) == 2
    assert "neither the setting data_root nor the environment variable" in capsys.readouterr().err
    assert main(["fetch", "testbed"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out


def test_the_fake_takes_what_the_client_takes() -> None:
    """The real client's two calls have the parameters that are given to the fake's."""
    import inspect

    info = inspect.signature(huggingface_hub.HfApi.repo_info).parameters
    assert {"repo_type", "revision", "files_metadata"} <= set(info)
    download = inspect.signature(huggingface_hub.snapshot_download).parameters
    assert {"repo_type", "revision", "local_dir", "allow_patterns"} <= set(download)
