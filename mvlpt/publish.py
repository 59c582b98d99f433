"""`mvlpt publish`: a finished study as a folder for others."""

from __future__ import annotations

from pathlib import Path

from mvlpt_analysis.publish.write import write_library
from mvlpt_analysis.read.finished import open_finished
from mvlpt_core.contract.suite import read_suite
from mvlpt_workflow import located
from mvlpt_workflow.written import check_inputs


def publish_study(folder: Path, out: Path | None, license: str) -> str:
    """Write the library of the study in `folder` (results/<study>) and return what was written, in words.

    Raises `InputError` for a study that is not finished or not whole, and where `out` is there already.
    """
    study = open_finished(folder, None).study
    suites = [study.suite, *filter(None, [study.source_suite])]
    rows = {row.task: row for suite in suites for row in read_suite(located(suite))}
    out = out or Path(f"{study.study}_library")
    library = write_library(
        folder, out, rows, license, lambda paths: check_inputs(str(folder), paths)
    )
    files = library.files()
    size = sum(path.stat().st_size for path in files) / 2**20
    prompts = sum(path.suffix == ".safetensors" and "prompts" in path.parts for path in files)
    lines = [
        f"{out}: {len(files):,} files, {size:.1f} MB, {prompts:,} prompts; see its {library.card.name}",
        f"use:    mvlpt recommend --library {out} --task /data/birds",
        "upload: the folder as it is (a data set of the Hugging Face hub, for example)",
    ]
    if not license:
        lines.append("note:   no licence is given: --license cc-by-4.0, for example")
    return "\n".join(lines)
