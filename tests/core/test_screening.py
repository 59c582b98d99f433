"""Screening: each pair's loss and gradient, against one pair at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mvlpt_core.backbone.device import cached_backbone
from mvlpt_core.contract.methods import METHODS
from mvlpt_core.contract.rows import SCREEN, read_rows
from mvlpt_core.contract.seeds import number
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.contract.tensors import read_tensors
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Towers, make_prompt
from mvlpt_core.screen import screen_tasks
from mvlpt_core.tuning.problem import open_problem
from support import tiny_study
from support.tiny_study import NAMES, PROVENANCE, SETTINGS, TUNING, files_of, own_prompt


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study.build(tmp_path_factory.mktemp("study"))


def screened(root: Path, method: str, to: str, memory_gb: float = 3.0) -> list[dict[str, Any]]:
    """The rows of every task as a target, all tasks' own prompts as sources."""
    out = {name: root / to / method / f"{name}.parquet" for name in NAMES}
    screen_tasks(
        root / "backbone/backbone.json",
        files={name: files_of(root, name) for name in NAMES},
        prompts={name: own_prompt(root, method, name) for name in NAMES},
        out=out,
        settings=METHODS[method](**SETTINGS[method]),
        tuning=Tuning(**{**TUNING, "checkpoint": "best_val"}),
        shots=4,
        seed=1,
        device="cpu",
        memory_gb=memory_gb,
        provenance=PROVENANCE,
    )
    found: list[dict[str, Any]] = read_rows(out.values(), SCREEN).to_pylist()
    return found


def plain_loss_and_gradient(
    root: Path, method: str, target: str, start: starts.Start
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """One prompt's mean loss on a target's training images, one image after the other, its gradient, and
    the prompt."""
    clip = cached_backbone(root / "backbone", "cpu", "fp32")
    settings = METHODS[method](**SETTINGS[method])
    problem = open_problem(
        target,
        [target],
        {target: files_of(root, target)},
        clip,
        settings=settings,
        tuning=Tuning(**TUNING),
        joint=Joint(),
        memory_gb=3.0,
    )
    prompt = make_prompt(settings, Towers.of(clip), 1)
    start(prompt, 0)
    total = torch.zeros(())
    for i in range(len(problem.pool)):
        vectors, text = prompt(), problem.classifier.text
        image = problem.classifier.image(vectors, problem.pool.inputs[i : i + 1])
        logits = problem.classifier.logits(text(vectors), image)[0]
        total = total + F.cross_entropy(logits, problem.pool.targets[i : i + 1])
    loss = total / len(problem.pool)
    slopes = torch.autograd.grad(loss, list(prompt.parameters()))
    flat = [torch.cat([x.detach().flatten() for x in xs]) for xs in (slopes, prompt.parameters())]
    return float(loss.detach()), flat[0], flat[1]


@pytest.mark.parametrize("method", SETTINGS)
def test_screening_is_the_loss_and_gradient_of_each_pair_alone(study: Path, method: str) -> None:
    clip = cached_backbone(study / "backbone", "cpu", "fp32")
    found = {(r["source"], r["target"]): r for r in screened(study, method, "screen")}
    assert set(found) == {(s, t) for s in NAMES for t in NAMES}
    for target in NAMES[:2]:
        fresh = starts.random(number("init", method, target, 1))
        begin = plain_loss_and_gradient(study, method, target, fresh)
        for source in NAMES[:2]:
            row = found[source, target]
            path = own_prompt(study, method, source)
            own = plain_loss_and_gradient(study, method, target, starts.saved(path, clip.digest))
            assert row["loss"] == pytest.approx(own[0], abs=1e-5)
            assert row["start_loss"] == pytest.approx(begin[0], abs=1e-5)
            assert row["gradient"] == pytest.approx(float(own[1].norm()), rel=1e-4)
            toward = -float(begin[1] @ (own[2] - begin[2]))
            size = float(begin[1].norm() * (own[2] - begin[2]).norm())
            assert row["toward"] == pytest.approx(toward, abs=1e-4 * size)
    # Tuning began at the same random start, and moved from there.
    own = found[NAMES[0], NAMES[0]]
    _, tensors = read_tensors(own_prompt(study, method, NAMES[0]), "prompt")
    names = [name for name in tensors if not name.startswith("start:")]
    moved = sum(float(((tensors[n] - tensors[f"start:{n}"]) ** 2).sum()) for n in names)
    assert own["distance"] == pytest.approx(moved**0.5, rel=1e-5)
    assert own["loss"] < own["start_loss"]


@pytest.mark.parametrize("method", SETTINGS)
def test_a_screened_pair_does_not_depend_on_the_others(study: Path, method: str) -> None:
    together, alone = (screened(study, method, to, gb) for to, gb in (("all", 3.0), ("one", 1e-9)))
    for a, b in zip(together, alone, strict=True):
        for key, value in a.items():
            assert b[key] == (pytest.approx(value, rel=1e-3) if type(value) is float else value)
    row = together[0]
    assert {key: row[key] for key in PROVENANCE} == PROVENANCE
    assert row["n"] == 24
    # A pass over 24 images, or one over the class names, against 4 steps of 8 images.
    share = row["operations"] / row["run_operations"]
    assert share == pytest.approx({"text": 1 / 3, "visual": 1, "unified": 1}[method], rel=0.25)
