"""Write the study's report: one HTML file with its tables and figures."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from pathlib import Path

    from mvlpt_analysis.catalogue import STUDY_TABLES, TEXT, figures
    from mvlpt_analysis.play.data import kept_prompts
    from mvlpt_analysis.read.leakage import told
    from mvlpt_analysis.read.pairs import read_frame
    from mvlpt_analysis.read.study import of_shots, read_tables
    from mvlpt_analysis.read.tasks import sample_sizes, task_sizes
    from mvlpt_analysis.report.made import made_today
    from mvlpt_analysis.report.page import Part, write_report
    from mvlpt_analysis.report.protocol import study_protocol
    from mvlpt_analysis.view import View
    from mvlpt_core.contract.layout import Layout

    params = snakemake.params
    at = Layout(str(Path(snakemake.output[0]).parent))
    kinds = {"has_factors": bool(params.factors), "has_estimates": params.estimates}
    names = figures(params.methods, **kinds)
    gathered = {
        name: read_frame(snakemake.input[name], empty=True) for name in ("curves", "transfer")
    }
    replicates = read_frame(snakemake.input.replicates, empty=True)
    gathered["samples"] = sample_sizes(snakemake.input.sample)
    parts = {}
    for shots in params.shots:
        paths = {name: Path(at.table(shots, name)) for name in STUDY_TABLES}
        frames = read_tables(paths | {"correlations": Path(at.correlations(shots))})
        frames["similarity"] = read_frame(at.similarity(shots), empty=True)
        for name, frame in gathered.items():
            frames[name] = of_shots(frame, shots)
        # There may be some at other shots alone.
        frames["replicates"] = replicates[replicates["shots"] == shots].drop(columns="shots")
        captions = read_frame(at.captions(shots), text=TEXT)
        parts[shots] = Part(
            frames, captions, {name: Path(at.figure(shots, name, "png")) for name in names}
        )
    write_report(
        Path(snakemake.output[0]),
        params.protocol["study"],
        parts,
        View(params.tasks, params.methods, factors=params.factors, sources=params.sources),
        study_protocol(params.protocol, params.notes),
        [Path(path) for path in snakemake.input.benchmarks],
        told(read_frame(snakemake.input.leakage, text={"source", "target"}, empty=True)),
        plan=next(iter(snakemake.input.plan), None),
        configuration=params.plan["configuration"],
        sizes=task_sizes(snakemake.input.test),
        made=made_today(),
        prompts=kept_prompts(**params.prompts),
    )
