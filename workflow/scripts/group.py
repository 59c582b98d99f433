"""Write the members of a named group, a task a line."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    from mvlpt_core.contract.files import write_atomic

    write_atomic(snakemake.output[0], "".join(f"{task}\n" for task in snakemake.params.members))
