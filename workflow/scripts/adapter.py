"""What the scripts share: the job's log and place in the study, and how a user's mistake ends a job."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mvlpt_core.contract.errors import InputError
from mvlpt_workflow.running import join, study_root


@contextmanager
def logged(log: str) -> Iterator[None]:
    """Send log records to the file `log`; an InputError ends the job with its sentence."""
    logging.basicConfig(
        filename=log, filemode="w", level=logging.INFO, format="%(asctime)s %(message)s"
    )
    logging.captureWarnings(True)
    join(study_root(log))
    try:
        yield
    except InputError as error:
        logging.error("%s", error)
        sys.exit(f"error: {error}")
    except Exception:
        logging.exception("the job failed")
        raise
    logging.info("done")
