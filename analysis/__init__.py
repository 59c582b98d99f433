"""Statistics of task transfer: gains, similarities, what explains gain, which source to choose.

Works on tidy `source, target, score` tables, made by a study or by anyone else. Imports neither
torch nor Snakemake: functions take arrays or frames and return values or frames. Where to find what:

- `catalogue`: every table and figure, known before any is made; imports nothing heavy
- `study`, `foreign`, `new_task`: the orders of work, for a study, for tables of others, and for a
  task that was in no study; `tables`: the calls they are made of; `view`: order and words
- read: pair tables, gathered runs, features, a study's tables
- stats, similarity, gains, association, choice: from arrays and pair tables to numbers
- figures: one module a figure, all in `gallery`; report: sentences, protocol, page

For use from Python, each imported when it is first asked for:

- `open_study(folder)`: its `gains` with intervals, `correlations`, `similarity`, any `table(name)`, the
  `outcomes(task)` of its runs, and `heatmap(ax, method)` on one's own axes
- `read_outcomes(folder, task)`: what every run said about each test image
- `gain_table(transfer)`, `image_intervals(outcomes, truth)`: gains with intervals, from frames
- `correlation_table(data)` of `matrices(gains, similarity, kinds)`: what goes with gain, from frames
- `draw_gain_heatmap(ax, frame, order)` of `gain_frame(gains, method, order)`: a heatmap, from frames
- `analyse_tables(tables, out)`: figures and a report for tables of others
"""

from importlib import import_module

# Where each lies. Names as text: importing this package costs nothing, and what a result depends on
# is found by following import statements, of which these are none.
_PUBLIC = {
    "analyse_tables": "foreign",
    "correlation_table": "association.tables",
    "draw_gain_heatmap": "figures.heatmaps",
    "gain_frame": "figures.heatmaps",
    "gain_table": "gains.table",
    "image_intervals": "gains.image_bootstrap",
    "matrices": "association.tables",
    "open_study": "opened",
    "read_outcomes": "opened",
}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mvlpt_analysis' has no attribute '{name}'")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
