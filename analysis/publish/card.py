"""The data card of a library: a data set's README as the Hugging Face hub reads it, made from the study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, StrictUndefined

from mvlpt_core.contract.settings import Study

from ..vocabulary import REPLICATES
from .library import TABLES


@dataclass(frozen=True)
class Facts:
    """What the card is made from: the configuration, the tables by name, the licence that the publisher
    gives ("" for none), this package's version, images that samples and test splits have in common."""

    study: Study
    tables: Mapping[str, pd.DataFrame]
    license: str
    version: str
    leaks: pd.DataFrame

    @property
    def sentence(self) -> str:
        """What the data are."""
        gains, tasks = self.tables["gains"], self.tables["tasks"]
        methods = ", ".join(self.study.methods.by_name())
        pairs = int((~gains["diagonal"].astype(bool)).sum())
        return (
            f"Transfer gains of prompt tuning on a frozen {self.backbone}: {pairs:,} pairs of a source's "
            f"prompt and a target ({methods}; {len(tasks)} tasks; shots {_list(self.study.shots)}; seeds "
            f"{_list(self.study.seeds)}), with the prompts."
        )

    @property
    def backbone(self) -> str:
        return str(self.tables["prompts"]["backbone"].iloc[0])


def limits(facts: Facts) -> list[str]:
    """What the grid does not tell, a sentence each."""
    gains, tasks = facts.tables["gains"], facts.tables["tasks"]
    prompts = facts.tables["prompts"]
    found = ["Gains hold for this backbone, these shots and these settings; others were not tried."]
    if REPLICATES in set(gains["interval"]):
        found.append(
            "One seed: gains are those of one few-shot sample; intervals and q hold the noise of seeds as it "
            "was measured on pairs that were repeated with a second one."
        )
    elif len(facts.study.seeds) == 1:
        found.append(
            "One seed: intervals and q are about the noise of test images alone; another few-shot sample can "
            "turn a gain into a loss."
        )
    diverged = int(gains["n_diverged"].sum())
    if diverged:
        found.append(f"{diverged:,} runs diverged and have no score.")
    lost = int((prompts["status"] != "ok").sum())
    if lost:
        found.append(f"{lost:,} prompts are of runs that diverged: do not start from them.")
    near = tasks[tasks["zero_shot"] <= tasks["chance"]]["task"]
    if len(near):
        found.append(f"Zero-shot is not above chance on {', '.join(near)}.")
    if len(facts.leaks):
        found.append(
            f"{int(facts.leaks['shared'].sum()):,} images of few-shot samples are in a test split too."
        )
    noted = tasks[tasks["note"] != ""]
    found += [f"{task}: {note}." for task, note in zip(noted["task"], noted["note"], strict=True)]
    unnamed = tasks[(tasks["license"] == "") & (tasks["kind"] != "testbed")]["task"]
    if len(unnamed):
        found.append(
            f"The suite names no licence of the images of {len(unnamed)} of {len(tasks)} tasks: look them up "
            "before you use what was made from them."
        )
    return found


def data_card(facts: Facts) -> str:
    """The card as Markdown, with the header that the hub reads."""
    text = files(__package__).joinpath("card.md.j2").read_text(encoding="utf-8")
    prompts = facts.tables["prompts"]
    tasks = facts.tables["tasks"]
    said = tasks.where(tasks.notna(), "").map(_cell).to_dict("records")
    return (
        Environment(keep_trailing_newline=True, undefined=StrictUndefined)
        .from_string(text)
        .render(
            study=facts.study,
            license=facts.license,
            tables=TABLES,
            sentence=facts.sentence,
            backbone=facts.backbone,
            backbone_digest=prompts["backbone_digest"].iloc[0],
            version=facts.version,
            config_digests=sorted(set(prompts["config_digest"])),
            code_digests=sorted(set(prompts["code_digest"])),
            tasks=said,
            limits=limits(facts),
        )
    )


def _cell(value: object) -> object:
    """Text that does not end a table's cell."""
    return value.replace("|", "\\|") if isinstance(value, str) else value


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
