# The study's workflow, so that `snakemake --cores all` works from here: see workflow/Snakefile.


include: "workflow/Snakefile"


workflow.default_target = "all"  # of an included file Snakemake takes no default
