"""Croissant metadata (MLCommons, version 1.0) of a library: its files, and the columns of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    name: str,
    description: str,
    license: str,
    version: str,
    tables: Mapping[str, tuple[str, str, pa.Schema]],
    files: Mapping[str, tuple[str, int]],
    limits: Sequence[str],
) -> dict[str, Any]:
    """JSON-LD of a data set: `tables` are (file, what a row is, schema) by name, `files` (SHA-256, bytes) of
    every file by name; `license` may be empty."""
    formats = {".parquet": "application/x-parquet", ".md": "text/markdown", ".yaml": "text/yaml"}
    distribution = [
        {
            "@type": "cr:FileObject",
            "@id": file,
            "name": file,
            "contentUrl": file,
            "contentSize": f"{size} B",
            "encodingFormat": formats.get(
                f".{file.rpartition('.')[2]}", "application/octet-stream"
            ),
            "sha256": digest,
        }
        for file, (digest, size) in files.items()
    ]
    records = [
        {
            "@type": "cr:RecordSet",
            "@id": table,
            "name": table,
            "description": f"A row is {what}.",
            "field": [
                {
                    "@type": "cr:Field",
                    "@id": f"{table}/{column.name}",
                    "name": column.name,
                    "dataType": _kind(column.type),
                    "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}},
                }
                for column in schema
            ],
        }
        for table, (file, what, schema) in tables.items()
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        **({"license": license} if license else {}),
        "version": version,
        "rai:dataLimitations": list(limits),
        "distribution": distribution,
        "recordSet": records,
    }


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
