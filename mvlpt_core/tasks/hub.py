"""Copies of tasks on the Hugging Face hub: what there is of a task, and getting it, by the hub's client.

Of a `wds` task's repository come the tar files, their numbers and the texts. A `coop` task's repository
holds many data sets, each an archive or a folder with a name like that of the task's location
(`food101.zip` for `food-101`); the archive is unpacked and then removed. Of any other data set come the
parquet files, or all files where there are none.

Nothing but `fetch_copy` ever downloads an image. What was fetched is recorded beside it, in a file that
no reader looks at.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line, write_atomic
from mvlpt_core.contract.suite import TaskRow, plain_name
from mvlpt_core.tasks.coop import PATTERN, find_splits
from mvlpt_core.tasks.files import is_system

RECORD = ".fetched.json"
UNPACKED = "unpacked"  # the folder of an archive's content, beside it
DEFAULT_REVISION = "main"
TYPES = ("dataset", "model")  # where a repository is looked for, in this order
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
WDS_TEXTS = ("classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt")
WDS_FIRST = ("nshards.txt", "0.tar")
WDS_SHARD = re.compile(r"(train|test)/(nshards\.txt|\d+\.tar)")
NO_DATA = (".py", ".md", ".ipynb")  # of a repository's files
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class Copy:
    """What there is of a task on the hub: its `files` with their sizes in bytes, None where the hub
    does not tell, at one `commit` of a repository."""

    row: TaskRow
    repo_type: str
    commit: str
    files: dict[str, int | None]

    @property
    def size(self) -> int | None:
        """Bytes to download; None if the hub does not tell of each file."""
        sizes = [size for size in self.files.values() if size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None

    @property
    def archive(self) -> str | None:
        """The one file that holds all, for a task that comes packed."""
        name = next(iter(self.files))
        packed = self.row.kind == "coop" and len(self.files) == 1 and _archive_stem(name)
        return name if packed else None


def find_copy(row: TaskRow) -> Copy:
    """What the hub holds of a task, at the suite's revision, else at the newest.

    Raises `InputError`, one sentence, for a task that the suite names no copy of, a repository or
    revision that is not there or not open, one without the files that are needed, and no network.
    """
    if row.kind in ("testbed", "hateful_memes") or not row.repo:
        why = f" ({row.note})" if row.note else ""
        raise InputError(
            f"task {row.task} has no copy on the hub: expected its folder {row.location} below the data "
            f"root, brought by hand{why}"
        )
    revision = row.revision or DEFAULT_REVISION
    repo_type, info = _repository(row.repo, revision)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    where = f"repository {row.repo} at {revision}"
    if row.kind == "wds":
        needed = _wds_files(sizes, where)
    elif row.kind == "coop":
        needed = _coop_files(sizes, row, where)
    else:
        needed = _data_files(sizes, where)
    return Copy(row, repo_type, info.sha, {name: sizes[name] for name in needed})


def named_copy(name: str) -> TaskRow:
    """A row for a data set of the hub, `owner/name` or `owner/name@revision`, in a folder of its name; of
    what kind it is, the files say when they are there. Raises `InputError` for another form."""
    repo, _, revision = name.partition("@")
    task = plain_name(repo.rpartition("/")[2])
    return TaskRow(task, "folder", task, "accuracy", repo=repo, revision=revision)


def is_fetched(copy: Copy, folder: Path) -> bool:
    """Whether the folder holds this copy, whole, from an earlier fetch."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if record.get("repo") != copy.row.repo or record.get("commit") != copy.commit:
        return False
    if copy.row.kind == "coop":
        return find_splits(folder) is not None
    return all(
        (folder / name).is_file() and size in (None, (folder / name).stat().st_size)
        for name, size in copy.files.items()
    )


def fetch_copy(copy: Copy, folder: Path) -> None:
    """Download the copy into `folder`; what an interrupted fetch has got is kept and completed.

    Raises `InputError` for a folder of other origin, a full disk, a network or an archive that
    breaks off.
    """
    if _has_foreign(copy, folder):
        raise InputError(
            f"folder {folder} of task {copy.row.task} holds files that were not fetched: expected it "
            "empty or absent"
        )
    packed = copy.row.kind == "coop"
    target = folder.with_name(f".{folder.name}.part") if packed else folder
    _check_space(copy, folder, target)
    _download(copy, target)
    found = _unpacked(copy, target) if packed else folder
    record = {
        "repo": copy.row.repo,
        "revision": copy.row.revision or DEFAULT_REVISION,
        "commit": copy.commit,
        "files": copy.files,
    }
    # Before it is moved to its place, where without a record it would be taken for another's.
    write_atomic(found / RECORD, json.dumps(record, indent=2) + "\n")
    if packed:
        shutil.rmtree(folder, ignore_errors=True)  # empty, or an earlier commit's
        found.rename(folder)
        shutil.rmtree(target, ignore_errors=True)


def _repository(repo: str, revision: str) -> tuple[str, Any]:
    """The type of the repository and what the hub tells of it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    for repo_type in TYPES:
        try:
            return repo_type, HfApi().repo_info(
                repo, repo_type=repo_type, revision=revision, files_metadata=True
            )
        except GatedRepoError:
            raise InputError(
                f"repository {repo} is gated: expected its terms accepted on the hub, and a login"
            ) from None
        except RepositoryNotFoundError:
            continue
        except RevisionNotFoundError:
            raise InputError(
                f"repository {repo} has no revision {revision!r}: expected a branch, tag or commit"
            ) from None
        except Exception as error:  # the client's network library is its own affair
            raise _unreachable(repo, error) from error
    raise InputError(
        f"repository {repo} is neither a data set nor a model on the hub: expected owner/name of one "
        "that is public, or a login"
    )


def _unreachable(repo: str, error: Exception) -> InputError:
    return InputError(
        f"repository {repo} cannot be reached ({first_line(error)}): expected a network, and the hub at "
        "its other end"
    )


def _wds_files(sizes: dict[str, int | None], where: str) -> list[str]:
    found = [name for name in sizes if name in WDS_TEXTS or WDS_SHARD.fullmatch(name)]
    for needed in ("classnames.txt", *(f"{s}/{n}" for s in ("train", "test") for n in WDS_FIRST)):
        if needed not in found:
            raise InputError(
                f"{where} has no {needed}: expected a WebDataset copy with train and test shards"
            )
    return found


def _coop_files(sizes: dict[str, int | None], row: TaskRow, where: str) -> list[str]:
    wanted = _plain(PurePosixPath(row.location).name)
    folder = [name for name in sizes if "/" in name and _plain(name.split("/")[0]) == wanted]
    archive = [name for name in sizes if _plain(_archive_stem(name)) == wanted]
    if not folder and len(archive) != 1:
        held = sorted({name.split("/")[0] for name in sizes})
        raise InputError(
            f"{where} has {len(archive)} archives or folders named like {row.location}: expected one "
            f"among {', '.join(held)}"
        )
    return archive or folder


def _data_files(sizes: dict[str, int | None], where: str) -> list[str]:
    """The parquet files of a data set where there are some, else all but code and what describes it."""
    found = [
        name
        for name in sizes
        if not is_system(name.split("/")[0]) and PurePosixPath(name).suffix.lower() not in NO_DATA
    ]
    if not found:
        raise InputError(f"{where} holds no data: expected images, or files of them")
    packed = [name for name in found if name.lower().endswith(".parquet")]
    return packed or found


def _archive_stem(name: str) -> str:
    """The name of an archive without its folders and its extension; "" if it is none."""
    name = PurePosixPath(name).name
    return next((name[: -len(end)] for end in ARCHIVES if name.endswith(end)), "")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _has_foreign(copy: Copy, folder: Path) -> bool:
    """Whether a folder has content of which no record tells, nor notes of an interrupted fetch."""
    if not folder.exists() or next(folder.iterdir(), None) is None:
        return False
    notes = [RECORD] if copy.row.kind == "coop" else [RECORD, ".cache/huggingface"]
    return not any((folder / note).exists() for note in notes)


def _check_space(copy: Copy, folder: Path, target: Path) -> None:
    """Raise `InputError` where the disk has no room for what is not yet in `target`."""
    above = next(path for path in folder.parents if path.exists())
    size = copy.size or 0
    there = sum(
        path.stat().st_size
        for path in target.rglob("*")
        if path.is_file() and UNPACKED not in path.relative_to(target).parts[:1]
    )
    # What is packed lies there twice for a while. Images are hardly smaller packed.
    needed = size * (2 if copy.archive else 1) - min(there, size)
    free = shutil.disk_usage(above).free
    if free < needed:
        raise InputError(
            f"task {copy.row.task} needs {needed / 1e9:.1f} GB in {above}, where {free / 1e9:.1f} GB are "
            "free: expected more room"
        )


def _download(copy: Copy, target: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            copy.row.repo,
            repo_type=copy.repo_type,
            revision=copy.commit,
            local_dir=target,
            allow_patterns=[_literal(name) for name in copy.files],
        )
    except Exception as error:  # the client's network library is its own affair
        raise _unreachable(copy.row.repo, error) from error


def _literal(name: str) -> str:
    """A pattern that matches just `name`."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _unpacked(copy: Copy, part: Path) -> Path:
    """The folder with the splits, wherever it is in what was downloaded."""
    content = part
    if copy.archive:
        content = part / UNPACKED
        shutil.rmtree(content, ignore_errors=True)  # of an interrupted fetch
        try:
            if copy.archive.endswith(".zip"):
                with zipfile.ZipFile(part / copy.archive) as archive:
                    archive.extractall(content)
            else:
                with tarfile.open(part / copy.archive) as tar:
                    tar.extractall(content, filter="data")
        except DAMAGE as error:
            raise InputError(
                f"archive {part / copy.archive} cannot be unpacked ({first_line(error)}): expected it "
                "whole, and room on the disk; delete it and fetch again"
            ) from error
    found = [path for path in (content, *sorted(content.rglob("*/"))) if find_splits(path)]
    if not found:
        raise InputError(
            f"{', '.join(copy.files) if copy.archive else 'folder'} of repository {copy.row.repo} has no "
            f"{PATTERN}: expected a data set with CoOp's splits"
        )
    return found[0]
