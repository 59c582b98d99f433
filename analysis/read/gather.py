"""Collect the score rows of all runs in tidy tables."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import PROBE, RANDOM, ZERO_SHOT
from mvlpt_core.contract.rows import RUN, SCHEMA, read_rows

from ..catalogue import SCRATCH
from ..parallel import side_by_side

SCORE_COLUMNS = (
    *RUN,
    "target",
    "metric",
    "score",
    "scratch",
    "zero_shot",
    "linear_probe",
    "step0",
    "selected_step",
    "status",
    "n",
    "config_digest",
    "code_digest",
)
_PAIR = ("method", "source", "target", "shots", "seed")
TRANSFER_COLUMNS = (
    *_PAIR,
    "metric",
    "score",
    "scratch",
    "zero_shot",
    "linear_probe",
    "step0",
    "status",
    "n",
    "config_digest",
    "code_digest",
)
CURVE_COLUMNS = (*_PAIR, "step", "score", "split")
OUTCOME_COLUMNS = (*_PAIR, "metric", "outcomes", "outcome_kind")
TRUTH_COLUMNS = ("target", "metric", "n", "truth")
_RUN_TARGET = [*RUN, "target"]


def gather(
    run_files: Iterable[str | Path],
    zero_shot_files: Iterable[str | Path],
    replicate_files: Iterable[str | Path] = (),
    workers: int = 1,
) -> dict[str, pd.DataFrame]:
    """The tables of a study, by name.

    scores: one row a run and task that it is scored on (`SCORE_COLUMNS`); NaN where a run diverged.
    transfer: the runs of a task that start from another run's prompt, `source` the group that
    prompt was tuned on. curves: their scores on the fixed sample of the test split, and those of
    the runs from random, whose source is "scratch". outcomes: likewise, predictions of the selected
    row. truth: the test labels of each task. replicates: as transfer, of the `replicate_files`, runs that
    repeat some of the others with a second seed; no other table holds them. `workers`: the processes used.

    Raises `InputError`, naming file or run, for a file that is not whole, a run that occurs twice, a
    run without its scratch or zero-shot score, and a finished run that has not exactly one selected
    test row a task.
    """
    zero_shot_files, replicate_files = list(zero_shot_files), list(replicate_files)
    rows, zero = _read(run_files, zero_shot_files, workers)
    scores = _with_baselines(_summarise(rows), zero)
    # A run of one task is a run of a source and a target; several tasks tuned together are neither, nor
    # is a baseline without a prompt.
    alone = (rows["group"] == rows["target"]) & (rows["start"] != ZERO_SHOT)
    pairs = rows[alone].assign(source=rows["start"].where(rows["start"] != RANDOM, SCRATCH))
    chosen = pairs[pairs["selected"] & pairs["outcomes"].notna()]
    transfer = _transfer(scores)
    again = transfer.iloc[:0]
    if replicate_files:
        again = _transfer(_with_baselines(_summarise(_read(replicate_files, [])[0]), zero))
    return {
        "scores": scores[list(SCORE_COLUMNS)],
        "transfer": transfer,
        "replicates": again,
        "curves": _sorted(pairs[pairs["split"] == "curve"], CURVE_COLUMNS),
        "outcomes": _sorted(chosen, OUTCOME_COLUMNS),
        "truth": zero[list(TRUTH_COLUMNS)].sort_values("target", ignore_index=True),
    }


def gather_scores(
    run_files: Iterable[str | Path], zero_shot_files: Iterable[str | Path]
) -> pd.DataFrame:
    """The scores alone, of some runs of a study; errors as for all of them."""
    rows, zero = _read(run_files, zero_shot_files)
    return _with_baselines(_summarise(rows), zero)[list(SCORE_COLUMNS)]


def _read(
    run_files: Iterable[str | Path], zero_shot_files: Iterable[str | Path], workers: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    files = list(run_files)
    share = max(1, -(-len(files) // workers))
    calls = [partial(_rows, files[i : i + share]) for i in range(0, len(files), share)]
    rows = pa.concat_tables([SCHEMA.empty_table(), *side_by_side(calls, workers)]).to_pandas()
    zero = read_rows(zero_shot_files).to_pandas()
    repeated = rows.duplicated([*_RUN_TARGET, "split", "step"])
    if repeated.any():
        raise InputError(f"{_name(rows[repeated].iloc[0])} occurs more than once: expected once")
    if zero["target"].duplicated().any():
        task = zero.loc[zero["target"].duplicated(), "target"].iloc[0]
        raise InputError(f"task '{task}' has more than one zero-shot score: expected one")
    return rows, zero


def _rows(files: Iterable[str | Path]) -> pa.Table:
    """The rows of some files in one piece: a process hands over one much faster than one a file."""
    return read_rows(files).combine_chunks()


def _transfer(scores: pd.DataFrame) -> pd.DataFrame:
    """The runs of a task that start from another run's prompt."""
    alone = scores["group"] == scores["target"]
    started = scores[alone & ~scores["start"].isin([RANDOM, ZERO_SHOT])]
    return _sorted(started.rename(columns={"start": "source"}), TRANSFER_COLUMNS)


def _sorted(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    keys = [key for key in (*_PAIR, "step") if key in columns]
    return frame[list(columns)].sort_values(keys, ignore_index=True)


def _summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a run and target: metric, status, step 0, the selected step and its score, n."""
    tests = rows[rows["split"] == "test"]
    groups = rows.groupby(_RUN_TARGET, sort=True)
    found = groups[["metric", "config_digest", "code_digest"]].first()
    ok = (rows["status"] == "ok").groupby([rows[key] for key in _RUN_TARGET]).all()
    found["status"] = ok.map({True: "ok", False: "diverged"})
    found["step0"] = tests[tests["step"] == 0].set_index(_RUN_TARGET)["score"]
    found["n"] = tests.groupby(_RUN_TARGET)["n"].max()
    chosen = tests[tests["selected"]].set_index(_RUN_TARGET)
    count = chosen.groupby(level=_RUN_TARGET).size().reindex(found.index, fill_value=0)
    wrong = (found["status"] == "ok") & (count != 1)
    if wrong.any():
        run = found.index.to_frame()[wrong].iloc[0]
        raise InputError(
            f"{_name(run)} has {int(count[wrong].iloc[0])} selected test rows: expected one"
        )
    chosen = chosen[~chosen.index.duplicated()]
    found["score"] = chosen["score"].reindex(found.index).where(found["status"] == "ok")
    found["selected_step"] = chosen["step"].reindex(found.index).astype("Int64")
    return found.reset_index()


def _with_baselines(scores: pd.DataFrame, zero: pd.DataFrame) -> pd.DataFrame:
    """The scores with `scratch`, that of the target tuned alone from random with the same method,
    shots and seed, `zero_shot`, and `linear_probe`, with the target's sample (NaN without one)."""
    own = scores[(scores["group"] == scores["target"]) & (scores["start"] == RANDOM)]
    keys = ["method", "target", "shots", "seed"]
    scratch = own.set_index(keys)["score"]
    place = pd.MultiIndex.from_frame(scores[keys])
    # A gain needs its baseline; a target that is only scored along with others has none, a probe is one.
    alone = (scores["group"] == scores["target"]) & (scores["start"] != ZERO_SHOT)
    lost = alone.to_numpy() & ~place.isin(scratch.index)
    if lost.any():
        raise InputError(f"{_name(scores[lost].iloc[0])} has no scratch score: expected one")
    zero_shot = zero.set_index("target")["score"]
    unknown = ~scores["target"].isin(zero_shot.index)
    if unknown.any():
        task = scores.loc[unknown, "target"].iloc[0]
        raise InputError(f"task '{task}' has no zero-shot score: expected one")
    fitted = scores[scores["method"] == PROBE].set_index(keys[1:])["score"]
    sample = pd.MultiIndex.from_frame(scores[keys[1:]])
    return scores.assign(
        scratch=scratch.reindex(place).to_numpy(),
        zero_shot=scores["target"].map(zero_shot),
        linear_probe=fitted.reindex(sample).to_numpy(float),
    )


def _name(row: pd.Series) -> str:
    """A run as words, for messages."""
    return (
        f"run method '{row['method']}', group '{row['group']}', start '{row['start']}', shots "
        f"{row['shots']}, seed {row['seed']}, target '{row['target']}'"
    )
