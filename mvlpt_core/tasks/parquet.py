"""Parquet files with an image and its label a row, as Hugging Face data sets have them.

    data/train-00000-of-00001.parquet       the split is told by the file's name, or its folder's
    data/test-00000-of-00001.parquet

An image is a struct of `bytes` and `path`, or just bytes. A label is a `ClassLabel` (or a list of them, for
multi-label data), whose names are in the files' own notes, else a column called as in a `table`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line
from mvlpt_core.tasks.base import (
    Load,
    Place,
    Split,
    TaskSource,
    check_classnames,
    is_below,
    read_files,
)
from mvlpt_core.tasks.decode import counted, decode_image
from mvlpt_core.tasks.files import is_system, left_over, split_in, split_of
from mvlpt_core.tasks.folder import TEXTS, read_templates_of
from mvlpt_core.tasks.labels import as_text, check_given, classes_of, doubtful, numbered
from mvlpt_core.tasks.splits import WHOLE, chosen, roles
from mvlpt_core.tasks.table import LABEL, NAME_IT

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"
_SHARD = re.compile(r"-(\d+)-of-(\d+)$")
_BATCH = 64  # rows of images in memory at once


def open_parquet(
    task: str, path: Path, home: Path, test_split: str = "", label_column: str = ""
) -> TaskSource:
    """The parquet files below `path`, or the one at it, with the labels of `label_column` where several
    columns could hold them; raises `InputError` for files that are not whole or
    not alike, for columns that are not clear, and for rows without a label."""
    parts = _files_by_part(path)
    folder = path if path.is_dir() else path.parent
    first = next(iter(parts.values()))[0]
    schema = _opened(first).schema_arrow
    image, label, names = told = _columns(schema, first, label_column)
    labels: dict[str, list[list[str]]] = {}
    places: dict[str, list[Place]] = {}
    for part, files in parts.items():
        for file in files:
            opened = _opened(file)
            if _columns(opened.schema_arrow, file, label_column) != told:
                raise InputError(
                    f"{file} has other columns or names of classes than {first}: expected the same"
                )
            own = _labels(opened, file, label, names)
            labels.setdefault(part, []).extend(own)
            places.setdefault(part, []).extend(Place(str(file), str(i)) for i in range(len(own)))
    multilabel = _is_list(schema.field(label).type)
    order = [str(number) for number in range(len(names))]
    if names:
        classnames = check_classnames([name.replace("_", " ") for name in names], first)
    else:
        order, classnames = classes_of([own for part in labels.values() for own in part], folder)
    check_given([own for part in labels.values() for own in part], str(folder))
    unused = [column for column in schema.names if column not in (image, label)]
    said = [f"columns that are not used: {', '.join(unused)}"] if unused else []
    said += doubtful(order, classnames)
    there = {part: f"{part} ({counted(len(own))})" for part, own in labels.items()}
    train, test = roles(there, test_split, str(home))

    def read(part: str) -> Split:
        found = numbered(labels[part], order, multilabel)
        split = Split(found, places[part], partial(_read, image))
        if part != train:
            return split
        used = {*find_parquet(path), *(folder / name for name in TEXTS)}
        passed = left_over(folder, used, "images beside the parquet files") if path.is_dir() else {}
        return replace(split, passed=passed, said=tuple(said))

    return TaskSource(
        task,
        classnames,
        read_templates_of(folder),
        multilabel,
        chosen({part: partial(read, part) for part in parts}, train, test, folder, home),
    )


def find_parquet(path: Path) -> list[Path]:
    """The parquet files at or below `path`, by name."""
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.suffix.lower() == SUFFIX and file.is_file())
    return sorted(f for f in found if not any(map(is_system, f.relative_to(path).parts)))


def _files_by_part(path: Path) -> dict[str, list[Path]]:
    parts: dict[str, list[Path]] = {}
    folders: dict[tuple[str, ...], Path] = {}
    for file in find_parquet(path):
        above = file.relative_to(path).parts[:-1]
        folder = next((part for name in reversed(above) if (part := split_of(name))), "")
        folders.setdefault(tuple(name for name in above if not split_of(name)), file)
        parts.setdefault(split_in(file.stem) or folder, []).append(file)
    for part, files in parts.items():
        _check_shards(part, files)
    if len(folders) > 1:  # a data set of several configurations, each whole in itself
        first, second, *_ = folders.values()
        raise InputError(
            f"{path} has parquet files of several data sets ({first.relative_to(path)}, "
            f"{second.relative_to(path)}): expected the folder of one as the location"
        )
    if not parts:
        raise InputError(f"{path} has no files ending in {SUFFIX}: expected one a split or more")
    if WHOLE in parts and len(parts) > 1:
        raise InputError(
            f"{parts[WHOLE][0]}: neither its name nor its folder's tells a split, as others' do: expected "
            "train, val or test in it"
        )
    return parts


def _check_shards(part: str, files: Sequence[Path]) -> None:
    """Raise `InputError` where files say of how many they are (`-00000-of-00003`), and not all are there."""
    there = {
        (int(found[1]), int(found[2])) for file in files if (found := _SHARD.search(file.stem))
    }
    for total in {total for _, total in there}:
        numbers = {number for number, of in there if of == total}
        missing = next(number for number in range(len(numbers) + 1) if number not in numbers)
        if missing < total:
            raise InputError(
                f"{files[0].parent} has {len(numbers)} of {total} parquet files of {part or 'the data'}: "
                f"expected number {missing:05d} as well"
            )


def _opened(file: Path) -> Any:
    import pyarrow.parquet as pq  # a second

    try:
        opened = pq.ParquetFile(file)
        _ = opened.schema_arrow.names  # are they text?
        return opened
    except (OSError, ValueError) as error:  # pyarrow's own are among these
        raise InputError(f"{file} is not a whole parquet file ({first_line(error)})") from None


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What the writer notes of each column."""
    try:
        notes = json.loads((schema.metadata or {})[b"huggingface"])
        return dict(notes["info"]["features"])
    except (KeyError, ValueError, TypeError):
        return {}


def _columns(schema: pa.Schema, file: Path, wanted: str) -> tuple[str, str, list[str]]:
    """The columns of images and of labels, and the names of the labels where the file has them."""
    import pyarrow as pa

    features = _features(schema)
    structs, plain, named = [], [], {}
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            structs.append(field.name)
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            plain.append(field.name)
        if names := _names(features.get(field.name)):
            named[field.name] = names
    labels = list(named) or [name for name in schema.names if name.lower() in LABEL]
    if wanted and wanted not in schema.names:
        raise InputError(
            f"{file} has no column {wanted!r}, which label_column names: expected one of "
            + ", ".join(schema.names)
        )
    if len(labels) > 1 and "label" in labels:
        labels = ["label"]
    labels = [wanted] if wanted else labels
    bytes_ = " of their bytes, or of structs with them"
    for found, what, how in ((structs or plain, "images", bytes_), (labels, "labels", NAME_IT)):
        if len(found) != 1:
            has = (
                f"columns {', '.join(found)}" if found else f"none among {', '.join(schema.names)}"
            )
            raise InputError(f"{file} has {has} for {what}: expected one{how}")
    return (structs or plain)[0], labels[0], named.get(labels[0], [])


def _names(feature: Any) -> list[str]:
    """The names of a `ClassLabel`, or of a list of them."""
    while isinstance(feature, (dict, list)):
        if isinstance(feature, list):  # a list of labels, as older versions note it
            feature = feature[0] if feature else None
        elif feature.get("_type") == "ClassLabel":
            return [str(name) for name in feature.get("names") or ()]
        else:
            feature = feature.get("feature")
    return []


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _labels(opened: Any, file: Path, column: str, names: Sequence[str]) -> list[list[str]]:
    """The labels of each row, as text."""
    try:
        values = opened.read(columns=[column], use_threads=False).column(column).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{file}: column {column} cannot be read ({first_line(error)})") from None
    found = []
    for row, value in enumerate(values):
        where = f"{file}, row {row} (from 0): label {value!r}"
        several = value if isinstance(value, list) else [value]
        own = (
            as_text(several, where) if several else []
        )  # of several labels an image none are a few, too
        if names and any(not label.isdigit() or int(label) >= len(names) for label in own):
            raise InputError(f"{where}: expected 0 to {len(names) - 1}")
        found.append(own)
    return found


def _read(column: str, places: Sequence[Place]) -> Iterator[tuple[int, Load]]:
    wanted: dict[str, dict[int, int]] = {}
    for position, place in enumerate(places):
        wanted.setdefault(place.file, {})[int(place.member)] = position
    for file, rows in wanted.items():
        for row, value in _values(Path(file), column, rows):
            held = value if isinstance(value, dict) else {"bytes": value}
            where = f"row {row} of {file}"
            if held.get("bytes") is not None:
                yield rows[row], partial(decode_image, held["bytes"], where)
            elif is_below(path := str(held.get("path") or "")):
                for _, load in read_files([Place(str(Path(file).parent / path))]):
                    yield rows[row], load
            else:
                raise InputError(f"{where} holds no image: expected its bytes")


def _values(file: Path, column: str, rows: dict[int, int]) -> Iterator[tuple[int, Any]]:
    """(row, value) of the wanted rows, in their order; groups without one are not read."""
    opened = _opened(file)
    start = 0
    for group in range(opened.num_row_groups):
        stop = start + opened.metadata.row_group(group).num_rows
        row = start
        if any(start <= wanted < stop for wanted in rows):
            try:
                for batch in opened.iter_batches(_BATCH, [group], [column], use_threads=False):
                    for i in range(batch.num_rows):
                        if row + i in rows:
                            yield row + i, batch.column(0)[i].as_py()
                    row += batch.num_rows
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{file} is not a whole parquet file ({first_line(error)})"
                ) from None
        start = stop
