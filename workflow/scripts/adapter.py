"""What the scripts share: the job's log, how user errors end a job, and what a path stands for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.errors import InputError as AnalysisInputError

if TYPE_CHECKING:
    from mvlpt_core.jobs import Job


@contextmanager
def logged(log: str) -> Iterator[None]:
    """Send log records to the file `log`; an InputError ends the job with its sentence."""
    logging.basicConfig(
        filename=log, filemode="w", level=logging.INFO, format="%(asctime)s %(message)s"
    )
    logging.captureWarnings(True)
    try:
        yield
    except (InputError, AnalysisInputError) as error:
        logging.error("%s", error)
        sys.exit(f"error: {error}")
    except Exception:
        logging.exception("the job failed")
        raise
    logging.info("done")


def by_task(paths: Iterable[str]) -> dict[str, Path]:
    """{task: path} of files named <task>.<suffix>."""
    return {Path(path).stem: Path(path) for path in paths}


def by_source_seed(paths: Iterable[str]) -> dict[tuple[str, int], Path]:
    """{(source, seed): path} of files .../<source>/seed<k>.<suffix>, in the order given."""
    return {(Path(path).parent.name, _seed(path)): Path(path) for path in paths}


def by_target(paths: Iterable[str]) -> dict[str, list[str]]:
    """{target: paths} of cell files .../<target>/<source>/seed<k>.parquet."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(Path(path).parent.parent.name, []).append(path)
    return groups


def _seed(path: str) -> int:
    return int(Path(path).stem.removeprefix("seed"))


def opened_job(snakemake: Any, prepared: Path, features: Path) -> Job:
    """What a tuning job's rule says about one task, loaded."""
    from mvlpt_core.jobs import open_job

    return open_job(
        Path(snakemake.input.backbone).parent,
        prepared,
        features,
        method=snakemake.wildcards.method,
        method_settings=snakemake.params.method,
        tuning=snakemake.params.tuning,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        memory_gb=snakemake.config["memory_gb"],
        provenance=snakemake.params.provenance,
    )
