"""Gains with their uncertainty, what goes with them, and which sources to choose."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from mvlpt_analysis.read.pairs import read_frame, write_frame
    from mvlpt_analysis.read.study import of_shots
    from mvlpt_analysis.study import statistics
    from mvlpt_core.contract.rows import SCREEN, read_rows

    shots = int(snakemake.wildcards.shots)
    transfer, outcomes = (
        of_shots(read_frame(path, empty=True), shots)
        for path in (snakemake.input.transfer, snakemake.input.outcomes)
    )
    # There may be some at other shots alone.
    replicates = read_frame(snakemake.input.replicates, empty=True)
    replicates = replicates[replicates["shots"] == shots].drop(columns="shots")
    tables = statistics(
        transfer,
        outcomes,
        read_frame(snakemake.input.truth),
        read_frame(snakemake.input.similarity, empty=True),
        snakemake.params.tasks,
        snakemake.params.methods,
        snakemake.params.factors,
        replicates=replicates,
        **snakemake.params.draws,
        workers=snakemake.threads,
        screen=read_rows(snakemake.input.screen, SCREEN).to_pandas(),
    )
    for name, table in tables.items():
        write_frame(table, snakemake.output[name])
    write_frame(tables["correlations"], snakemake.output.correlations_csv)
