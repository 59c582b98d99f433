"""Groups of tasks that promise to gain from joint tuning."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from mvlpt_analysis.read.pairs import read_frame, write_frame
    from mvlpt_analysis.read.study import of_shots, read_tables
    from mvlpt_analysis.study import groups

    table = groups(
        read_tables({"gains": snakemake.input.gains})["gains"],
        of_shots(read_frame(snakemake.input.transfer, empty=True), int(snakemake.wildcards.shots)),
        snakemake.params.tasks,
        snakemake.params.methods,
        **snakemake.params.draws,
        workers=snakemake.threads,
    )
    write_frame(table, snakemake.output[0])
