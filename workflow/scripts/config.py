"""Write the resolved configuration beside the study's results."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    import yaml

    from mvlpt_core.contract.files import write_atomic

    text = yaml.safe_dump(dict(snakemake.params.study), sort_keys=False, allow_unicode=True)
    write_atomic(snakemake.output[0], text)
