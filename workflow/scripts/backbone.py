"""Convert the open_clip model once, so that no other job imports open_clip or needs the network."""

from pathlib import Path
from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from mvlpt_core.backbone.convert import convert_backbone
    from mvlpt_core.backbone.named import located_backbone

    convert_backbone(
        snakemake.params.name,
        snakemake.params.pretrained,
        Path(snakemake.output.json).parent,
        located_backbone(snakemake.params.name),
    )
