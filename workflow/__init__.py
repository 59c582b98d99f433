"""The Snakemake workflow, as files beside this one."""
