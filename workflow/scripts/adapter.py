"""What the scripts share: the job's log, place and device, and how a user's mistake ends a job."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mvlpt_core.contract.errors import InputError
from mvlpt_workflow import devices
from mvlpt_workflow.running import DONE, FAILED, STOPPED, join, stopped, study_root


@contextmanager
def logged(log: str, device: str = "cpu") -> Iterator[None]:
    """Send log records to the file `log`; an InputError ends the job with its sentence.

    A job that computes says on which `device`, and has taken one of its own before torch is imported.
    """
    try:
        join(study_root(log))
    except InputError as error:  # of a run that is over: not even the log is its own any more
        sys.exit(f"error: {error}")
    logging.basicConfig(
        filename=log, filemode="w", level=logging.INFO, format="%(asctime)s %(message)s"
    )
    logging.captureWarnings(True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped)
    end = FAILED
    try:
        devices.take(device)
        yield
    except InputError as error:
        logging.error("%s", error)
        sys.exit(f"error: {error}")
    except SystemExit:
        end = STOPPED
        raise
    except Exception:
        logging.exception("the job failed")
        raise
    else:
        end = DONE
    finally:
        logging.info(end)
