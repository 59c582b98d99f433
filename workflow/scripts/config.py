"""Write the resolved configuration beside the study's results."""

from pathlib import Path
from typing import Any

import yaml

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake.log[0]):
    text = yaml.safe_dump(dict(snakemake.params.study), sort_keys=False, allow_unicode=True)
    Path(snakemake.output[0]).write_text(text, encoding="utf-8")
