"""What the scripts share: the job's log, its place in the study, the files it reads and writes, and how a
user's mistake ends it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.provenance import config_digest
from mvlpt_core.contract.registered import MACHINE
from mvlpt_workflow.running import join, study_root
from mvlpt_workflow.written import check_inputs, record


@contextmanager
def logged(snakemake: Any) -> Iterator[dict[str, Any]]:
    """Send log records to the job's log; an InputError ends the job with its sentence.

    What the job reads is checked before, and what it wrote is recorded after it, with what the job puts
    into the mapping that it is given.
    """
    log = snakemake.log[0]
    logging.basicConfig(
        filename=log, filemode="w", level=logging.INFO, format="%(asctime)s %(message)s"
    )
    logging.captureWarnings(True)
    root = study_root(log)
    join(root)
    about: dict[str, Any] = {}
    try:
        check_inputs(root, snakemake.input)
        yield about
    except InputError as error:
        logging.error("%s", error)
        sys.exit(f"error: {error}")
    except Exception:
        logging.exception("the job failed")
        raise
    settings = {key: value for key, value in snakemake.config.items() if key not in MACHINE}
    record(
        root,
        snakemake.output,
        rule=snakemake.rule,
        configuration=config_digest(settings),
        code=_code(snakemake.params),
        **about,
    )
    logging.info("done")


def _code(params: Any) -> str:
    """The digest of the code behind a job; "" where none counts."""
    provenance = params.get("provenance") or {}
    return str(params.get("code") or provenance.get("code_digest", ""))
