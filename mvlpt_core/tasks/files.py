"""The files below a task's folder: which are images, and by what reason the others are passed over."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.decode import FORMATS, counted

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp"),
    *(".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
)
SPLIT_FILE = ".split.tsv"  # of what `splits` writes beside data
_SHOWN = 4  # names in a message
CACHE_VARIABLE = "MVLPT_CACHE"
HIDDEN = "hidden or of the system"
DANGLING = "dangling links"
# Folders and files that systems and tools leave behind, in lower case.
_SYSTEM = (
    *("__macosx", "__pycache__", "$recycle.bin", "system volume information", "@eadir"),
    *("lost+found", "thumbs.db", "desktop.ini"),
)


def is_system(name: str) -> bool:
    """Whether a file or folder of this name holds no data, whatever is in it."""
    return name.startswith(".") or name.endswith(SPLIT_FILE) or name.lower() in _SYSTEM


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that may hold data, by name."""
    return [Path(entry.path) for entry in _entries(folder) if _is_data_folder(entry)]


def images_in(folder: Path, skip: Collection[Path] = ()) -> tuple[list[Path], Counter[str]]:
    """The images in a folder and below it, but for the folders to `skip`; how many files are none, by reason.

    A file is an image by its suffix (which one that does not decode is refused for) or, with any other or
    none, by its first bytes. Links are followed, but not back to a folder above.
    """
    found: list[Path] = []
    passed: Counter[str] = Counter()
    for path, reason in _walk(folder, (), frozenset(skip)):
        if not reason and _is_image(path):
            found.append(path)
        else:
            passed[reason or _kind(path)] += 1
    return found, passed


def left_over(
    folder: Path, used: Collection[Path], images: str, skip: Collection[Path] = ()
) -> Counter[str]:
    """How many files in a folder and below it, but for the folders to `skip`, are not among those `used`, by
    reason; that of images is given."""
    passed: Counter[str] = Counter()
    for path, reason in _walk(folder, (), frozenset(skip)):
        if path not in used:
            passed[reason or (images if _is_image(path) else _kind(path))] += 1
    return passed


def walk(path: Path) -> Iterator[Path]:
    """Every file below a folder that may be data, in an order that its names alone settle; the file itself
    if it is one."""
    if path.is_file():
        yield path
    else:
        yield from (file for file, reason in _walk(path, (), ()) if not reason)


def content_root(path: Path) -> Path:
    """The folder that holds the data: `path`, or while there is just one folder in it and nothing else,
    that one. The folder of a class is none, nor that of a split that does not hold those of splits itself."""
    while path.is_dir() and (inner := _only_folder(path)) and (names := _names(inner)):
        if split_of(inner.name) and not all(map(split_of, names)):
            break
        path = inner
    return path


def split_root(folder: Path) -> Path:
    """The folder of a split, or the one of the same split that is all it holds: `train/train`, as archives
    unpack to."""
    while (inner := _only_folder(folder)) and split_of(inner.name) == split_of(folder.name):
        folder = inner
    return folder


def _only_folder(folder: Path) -> Path | None:
    inside = [entry for entry in _entries(folder) if not is_system(entry.name)]
    return Path(inside[0].path) if len(inside) == 1 and inside[0].is_dir() else None


def _names(folder: Path) -> list[str]:
    return [inside.name for inside in folders_in(folder)]


SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def split_of(name: str) -> str:
    """The split, `train`, `val` or `test`, that a folder's name or a table's word stands for; "" if none."""
    word = name.strip().lower()
    return next((split for split, names in SPLIT_NAMES.items() if word in names), "")


def split_in(stem: str) -> str:
    """The one split of which a file's name tells (`train-00000-of-00001`, `test_labels`); "" if none."""
    found = {split for word in re.split(r"[^a-zA-Z]+", stem) if (split := split_of(word))}
    return found.pop() if len(found) == 1 else ""


def cache_folder(what: str) -> Path:
    """The folder for what is made of data and can be made again: `MVLPT_CACHE`, else the user's."""
    base = os.environ.get(CACHE_VARIABLE)
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(base) if base else Path(user) / "mvlpt").expanduser() / what


def held_by(folder: Path) -> str:
    """What a folder holds, for a message: how many images, and the first other files and folders."""
    images = len(images_in(folder)[0])
    names = [
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in _entries(folder)
        if not is_system(entry.name)
    ]
    others = [name for name in names if not name.lower().endswith(EXTENSIONS)]
    more = [f"{len(others) - _SHOWN} more"] if len(others) > _SHOWN else []
    return ", ".join([counted(images), *others[:_SHOWN], *more])


def told(passed: Counter[str]) -> str:
    """One line: how many files are passed over, by reason; "" for none."""
    if not passed:
        return ""
    number = passed.total()
    most = sorted(passed.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in most)
    return f"{number:,} file{'' if number == 1 else 's'} passed over: {reasons}"


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read ({error.strerror})") from None


def _is_data_folder(entry: os.DirEntry[str]) -> bool:
    return not is_system(entry.name) and entry.is_dir()


def _walk(
    folder: Path, above: tuple[str, ...], skip: Collection[Path], hidden: bool = False
) -> Iterator[tuple[Path, str]]:
    """(file, why it is passed over or "") of every file; folders after the files beside them."""
    real = os.path.realpath(folder)
    inside = []
    for entry in _entries(folder):
        path = Path(entry.path)
        if entry.is_dir():
            inside.append(path)
        elif hidden or is_system(entry.name):
            yield path, HIDDEN
        elif entry.is_symlink() and not path.exists():
            yield path, DANGLING
        else:
            yield path, "" if entry.is_file() else "not plain files"
    for path in inside:
        if path in skip:
            continue
        inner = os.path.realpath(path)
        if inner in above or Path(real).is_relative_to(inner):
            yield path, "links back to a folder above"
        else:
            yield from _walk(path, (*above, real), skip, hidden or is_system(path.name))


def _kind(path: Path) -> str:
    return path.suffix.lower() or "without a suffix"


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in EXTENSIONS:
        return True
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # anything else that a file may hold
        return False
