"""The Snakemake workflow, as files beside this one, and where they and the configurations lie.

`SNAKEFILE` may be the `snakefile:` of a module in a workflow of one's own.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SNAKEFILE = FOLDER / "Snakefile"
# What rules say they need, as `snakemake --lint` asks them to; it belongs to a checkout alone.
ENVIRONMENT = next(map(str, FOLDER.parent.glob("environment.yml")), None)


def located(path: str | Path) -> str:
    """A path of a configuration: below the working directory, or else among what is shipped.

    Shipped suites, configurations and the testbed lie beside the workflow in a checkout; installed,
    config/ lies in the workflow's folder.
    """
    if not Path(path).exists():
        for above in (FOLDER, FOLDER.parent):
            if (above / path).exists():
                return str(above / path)
    return str(path)
