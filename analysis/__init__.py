"""Statistics of task transfer: gains, similarities, what explains gain, and relations.

Works on tidy `source, target, score` tables, made by a study or by anyone else. Imports neither
torch nor Snakemake: every function takes arrays or frames and returns values or frames.
"""
