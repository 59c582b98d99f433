"""Draw the study's figures as PNG, SVG and PDF."""

from typing import Any

from adapter import logged

snakemake: Any  # what Snakemake hands to the script

with logged(snakemake):
    from pathlib import Path

    from mvlpt_analysis.catalogue import STUDY_TABLES, drawings
    from mvlpt_analysis.figures.gallery import draw_figures
    from mvlpt_analysis.read.pairs import read_frame, write_frame
    from mvlpt_analysis.read.study import of_shots, read_tables
    from mvlpt_analysis.view import View

    source = snakemake.input
    frames = read_tables({name: source[name] for name in STUDY_TABLES})
    frames["similarity"] = read_frame(source.similarity, empty=True)
    curves = read_frame(source.curves, empty=True)
    frames["curves"] = of_shots(curves, int(snakemake.wildcards.shots))
    params = snakemake.params
    view = View(params.tasks, params.methods, factors=params.factors, sources=params.sources)
    kinds = {"has_factors": bool(params.factors), "has_estimates": params.estimates}
    captions = draw_figures(
        frames,
        view,
        Path(snakemake.output.captions).parent,
        wanted=drawings(view.methods, view.measures, **kinds),
        workers=snakemake.threads,
    )
    write_frame(captions, snakemake.output.captions)
