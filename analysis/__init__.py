"""Statistics of task transfer: gains, similarities, what explains gain, which source to choose.

Works on tidy `source, target, score` tables, made by a study or by anyone else. Imports neither
torch nor Snakemake: functions take arrays or frames and return values or frames. Where to find what:

- `catalogue`: every table and figure, known before any is made; imports nothing heavy
- `study`, `foreign`, `new_task`: the orders of work, for a study, for tables of others, and for a
  task that was in no study; `tables`: the calls they are made of; `view`: order and words
- read: pair tables, gathered runs, features, a study's tables
- stats, similarity, gains, association, choice: from arrays and pair tables to numbers
- figures: one module a figure, all in `gallery`; report: sentences, protocol, page
"""
