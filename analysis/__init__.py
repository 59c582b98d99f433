"""Statistics of task transfer: gains, similarities, what explains gain, which source to choose.

Works on tidy `source, target, score` tables, made by a study or by anyone else. Imports neither
torch nor Snakemake: functions take arrays or frames and return values or frames. Where to find what:

- read: `tables`, `taskfiles`, `gather` (cells into one table), `frames` (an analysed folder)
- gains: `gains`, `moderate` and `images` (their uncertainty), `controls`, `relations`
- similarity: `measures`, `transport`, `transferability`, all pairs in `similarity`
- association: `correlate`, `kendall`, `dyads`, as tables in `explain`; `multiplicity`
- choice: `selection` (ranking quality), `model`, `recommend`, `grouping`
- put together: `battery`, `study` (a study's folder), `foreign` (tables of others), `parallel`
- show: `figures` (style), `heatmaps`, `plots`, `labels`, `panels`, `curves`, all in `gallery`;
  `answers` (sentences), `report` (the page), `vocabulary` (names of things)
- check: `simulate` (do intervals and tests keep what they promise)
"""
