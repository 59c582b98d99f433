"""What the scripts share: the job's log, place and device, the files it reads and writes, and how a user's
mistake ends it."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mvlpt_core.contract.errors import InputError, lack_of_the_machine
from mvlpt_core.contract.provenance import config_digest
from mvlpt_core.contract.registered import MACHINE
from mvlpt_workflow import devices
from mvlpt_workflow.running import DONE, FAILED, STOPPED, join, stopped, stopping, study_root
from mvlpt_workflow.written import check_inputs, record


@contextmanager
def logged(snakemake: Any, computes: bool = False) -> Iterator[dict[str, Any]]:
    """Send log records to the job's log; an InputError ends the job with its sentence.

    A job that `computes` has taken a device, as the study says, before torch is imported. What
    the job reads is checked before, and what it wrote is recorded after it, with what the job puts into the
    mapping that it is given.
    """
    # Imports make hundreds of thousands of objects, none of them garbage.
    gc.set_threshold(20_000)
    log = snakemake.log[0]
    root = study_root(log)
    try:
        join(root)
    except InputError as error:  # of a run that is over: not even the log is its own any more
        sys.exit(f"error: {error}")
    logging.basicConfig(
        filename=log, filemode="w", level=logging.INFO, format="%(asctime)s %(message)s"
    )
    logging.captureWarnings(True)
    logging.raiseExceptions = (
        False  # on a full disk the log is full too, and a stack on the terminal says less
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped)
    end = FAILED
    about: dict[str, Any] = {}
    try:
        if computes:
            devices.take(snakemake.config["device"], snakemake.config["packs_per_device"])
        check_inputs(root, snakemake.input)
        yield about
        _record(root, snakemake, about)
    except InputError as error:
        logging.error("%s", error)
        sys.exit(f"error: {error}")
    except SystemExit:
        end = STOPPED
        raise
    except Exception as error:
        if stopping.is_set():  # what the stop met on its way, such as an import that it broke off
            end = STOPPED
            raise SystemExit(1) from None
        lack = lack_of_the_machine(error)
        if lack:
            logging.error("%s", lack)
            sys.exit(f"error: {lack}")
        logging.exception("the job failed")
        raise
    else:
        end = DONE
    finally:
        logging.info(end)
        # With torch, Python would look for garbage among them for half a second more before it ends.
        gc.freeze()


def _record(root: str, snakemake: Any, about: dict[str, Any]) -> None:
    """Leave the records of what a job wrote."""
    settings = {key: value for key, value in snakemake.config.items() if key not in MACHINE}
    provenance = snakemake.params.get("provenance") or {}
    record(
        root,
        snakemake.output,
        rule=snakemake.rule,
        configuration=config_digest(settings),
        code=str(snakemake.params.get("code") or provenance.get("code_digest", "")),
        **about,
    )
