"""A linear probe on the frozen features, started from the zero-shot text features: the cheap baseline.

N images, C classes, D feature size. The classifier W [C, D] gives logits s f W', with f a unit feature
and s CLIP's logit scale; W = T, the text features, is zero-shot classification. It minimises

    mean cross entropy + s^2 / (2 N r^2) |W - T|^2,

multinomial logistic regression with a normal prior around zero-shot: r, the *spread*, is the standard
deviation that the prior gives to what training adds to a logit (features have length 1, so it is the same
for every image). The objective is strictly convex for finite r: there is one answer, whatever the solver.

After LP++ (Huang et al. 2024, "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP", CVPR,
arXiv 2404.02285). Taken from there: logits are a visual classifier's plus the text classifier's, all
weights are trained at once on full batches of cached features, from a start that is known beforehand, with
no learning rate to search. Not taken: the blending factor a_c a class (logits f (v_c + a_c t_c)), for
v_c = W_c - a_c t_c holds it already, and without a pull on it the objective has no minimum where classes
can be separated; the start at class means; the step sizes from Lipschitz constants (the solver here is
L-BFGS, run to convergence); and the absence of a validation part: where there is one, it chooses the spread
(LP++ derives its step sizes and its blending's start from the training data alone).

Time on one CPU core, features of size 512, 20 shots, spread chosen among all: 0.1 s for 10 classes, 1 s for
100, a minute and a half for 1,000. Give small tasks one thread: their products are too short to share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from mvlpt_core.contract import metrics, outcomes
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import PROBE, ZERO_SHOT
from mvlpt_core.contract.rows import finite, write_rows
from mvlpt_core.contract.tensors import read_tensors
from mvlpt_core.features import targets
from mvlpt_core.tasks.prepare import KIND

SPREADS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # logits; what the validation part chooses from
SPREAD = 4.0  # where there is none; compared on the built-in testbed, whose test scores it suits
_MOST_STEPS = 5000
# A fit ends when a step lowers the objective by less than this part of it; the precision is the features'.
_TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-13}


@dataclass(frozen=True)
class Probe:
    """A fitted classifier: `weights` [C, D], the `spread` it was fitted with, the number of solver
    `steps` from zero-shot, and the `objective` before the first and after each step of the last fit."""

    weights: NDArray[np.float64]
    spread: float
    steps: int
    objective: tuple[float, ...]


@dataclass(frozen=True)
class ProbeTask:
    """What a probe needs of a task: unit features [., D], labels [.] or multi-hot [., C]; `train` and
    `val` index into the sample."""

    name: str
    metric: str
    scale: float
    text: NDArray[np.float32]
    sample: NDArray[np.float32]
    sample_labels: NDArray[Any]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[Any]


def fit(
    train: NDArray[np.floating],
    goal: Tensor,
    text: NDArray[np.floating],
    scale: float,
    *,
    val: NDArray[np.floating] | None = None,
    val_goal: Tensor | None = None,
    spreads: Sequence[float] = SPREADS,
    default: float = SPREAD,
) -> Probe:
    """The probe of unit features `train` [N, D] with the targets `goal`, class numbers [N] or class
    weights [N, C] (`features.targets`), around the zero-shot classifier `text` [C, D].

    With a validation part `val` [M, D], M > 0, the spread of least validation loss among `spreads` (the
    smaller of equals), else `default`; spreads are tried from small to large, each fit from the
    last. A spread of infinity is logistic regression without a pull. Raises `InputError` without
    training images, for shapes that do not fit, and where there is no minimum to be found.
    """
    if len(train) == 0:
        raise InputError("a linear probe has no training images: expected at least one")
    if len(goal) != len(train) or train.shape[1:] != text.shape[1:]:
        raise InputError(
            f"features {train.shape} do not fit {len(goal)} targets and text features {text.shape}"
        )
    if not scale > 0 or not min([default, *spreads]) > 0:
        raise InputError("logit scale and spreads of a linear probe must be above 0")
    dtype = torch.float32 if train.dtype == np.float32 else torch.float64
    base, x = scale * _tensor(text, dtype), _tensor(train, dtype)  # [C, D], [N, D]
    held, goal = None, _weights(goal, dtype)
    wanted = [default]
    if val is not None and val_goal is not None and len(val):
        held, wanted = _tensor(val, dtype), sorted(spreads)
    added, steps, least, best = torch.zeros_like(base), 0, np.inf, None
    for spread in wanted:
        added, objective = _descend(x, goal, base, added, spread)
        steps += len(objective) - 1
        loss = 0.0
        if held is not None and val_goal is not None:
            loss = float(F.cross_entropy(held @ (base + added).T, _weights(val_goal, dtype)))
        if best is None or loss < least:
            least = loss
            weights = text.astype(np.float64) + added.numpy() / scale
            best = Probe(weights, spread, steps, tuple(objective))
    assert best is not None
    return best


def _descend(
    x: Tensor, goal: Tensor, base: Tensor, added: Tensor, spread: float
) -> tuple[Tensor, list[float]]:
    """Minimise over V [C, D] from `added`: mean CE(x (base + V)', goal) + |V|^2 / (2 N r^2), V = s (W - T).

    Returns V and the objective at the start and after each step, which never rises.
    """
    fixed = x @ base.T  # [N, C]
    pull = 1 / (len(x) * spread**2)

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        v = torch.from_numpy(flat).to(x.dtype).view_as(base)
        logits = torch.addmm(fixed, x, v.T).requires_grad_()
        loss = F.cross_entropy(logits, goal)
        (slope,) = torch.autograd.grad(loss, logits)
        gradient = torch.addmm(pull * v, slope.T, x)
        value = float(loss.detach() + pull / 2 * v.square().sum())
        return value, gradient.flatten().double().numpy()

    start = added.flatten().double().numpy()
    objective = [value_and_gradient(start)[0]]

    def record(intermediate_result: Any) -> None:
        objective.append(float(intermediate_result.fun))

    found = minimize(
        value_and_gradient,
        start,
        method="L-BFGS-B",
        jac=True,
        callback=record,
        options={
            "maxiter": _MOST_STEPS,
            "maxfun": 2 * _MOST_STEPS,
            "ftol": _TOLERANCE[x.dtype],
            "gtol": 0.0,
        },
    )
    if found.nit >= _MOST_STEPS or not np.isfinite(found.fun):
        raise InputError(
            f"a linear probe has no minimum after {found.nit} steps with spread {spread}: expected a "
            "finite spread, or features that are no numbers are among the images"
        )
    return torch.from_numpy(found.x).to(x.dtype).view_as(base), objective


def probe_tasks(
    tasks: Mapping[str, Mapping[str, Path]],
    scores: Mapping[str, Path],
    *,
    shots: int,
    seed: int,
    provenance: Mapping[str, str],
) -> None:
    """Fit and score each task's probe, and write its score rows to `scores[task]`.

    `tasks` gives the files of each task (see `read_task`). Two rows of the test split: step 0, zero-shot,
    and the fitted probe, whose step is the number of solver steps, selected, both with outcomes.
    `provenance` goes into every row; the name of the backbone (`backbone`) belongs to it.
    """
    for name, path in scores.items():
        task = read_task(name, **tasks[name])
        run = {"method": PROBE, "group": name, "start": ZERO_SHOT, "shots": shots, "seed": seed}
        rows = [{**run, **row, **provenance} for row in probe_rows(task)]
        write_rows(path, rows)


def read_task(
    name: str, *, test: Path, sample: Path, test_features: Path, sample_features: Path
) -> ProbeTask:
    """Read a task's prepared labels (`test`, `sample`) and its features; no image is opened.

    Raises `InputError`, naming the file, for another task's and for features of two backbones.
    """
    about, labels = _read(test, name)
    _, drawn = _read(sample, name)
    header, whole = _read(test_features, name, ("logit_scale", "backbone_digest"))
    other, few = _read(sample_features, name, ("backbone_digest",))
    if header["backbone_digest"] != other["backbone_digest"]:
        raise InputError(f"{sample_features}: was made with another backbone: delete it, run again")
    for path, features, known in (
        (test_features, whole["test_features"], labels["labels"]),
        (sample_features, few["train_features"], drawn["labels"]),
    ):
        if len(features) != len(known):
            raise InputError(
                f"{path}: holds {len(features)} images: expected {len(known)} as prepared"
            )
    return ProbeTask(
        name=name,
        metric=about["metric"],
        scale=float(header["logit_scale"]),
        text=whole["text_features"],
        sample=few["train_features"],
        sample_labels=drawn["labels"],
        train=drawn["train"],
        val=drawn["val"],
        test=whole["test_features"],
        test_labels=labels["labels"],
    )


def probe_rows(task: ProbeTask) -> list[dict[str, Any]]:
    """Score rows (what belongs to the evaluation) of zero-shot and of the fitted probe."""
    goal = targets(np.asarray(task.sample_labels))
    probe = fit(
        task.sample[task.train],
        goal[task.train],
        task.text,
        task.scale,
        val=task.sample[task.val],
        val_goal=goal[task.val],
    )
    rows = [_scored(task, task.text, 0)]
    if probe.steps:
        rows.append(_scored(task, probe.weights.astype(np.float32), probe.steps))
    rows[-1]["selected"] = True
    return rows


def _scored(task: ProbeTask, weights: NDArray[np.float32], step: int) -> dict[str, Any]:
    # In the order and precision of the zero-shot score, so that step 0 is that score.
    logits = task.scale * torch.from_numpy(task.test) @ torch.from_numpy(weights).T
    values = logits.numpy()
    goal = targets(np.asarray(task.test_labels))
    return {
        "target": task.name,
        "step": step,
        "split": "test",
        "metric": task.metric,
        "score": float(metrics.score(task.metric, values, task.test_labels)),
        "loss": finite(float(F.cross_entropy(logits, goal))),
        "n": len(values),
        "status": "ok",
        "selected": False,
        "outcomes": outcomes.encode(values, task.metric),
        "outcome_kind": outcomes.kind(task.metric),
    }


def _read(
    path: Path, task: str, keys: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    header, tensors = read_tensors(path, KIND, ("name", *keys))
    if header["name"] != task:
        raise InputError(f"{path}: is of task '{header['name']}': expected '{task}'")
    return header, tensors


def _tensor(values: NDArray[np.floating], dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.array(values)).to(dtype)


def _weights(goal: Tensor, dtype: torch.dtype) -> Tensor:
    """Class numbers as they are, class weights in the precision of the solver."""
    return goal.to(dtype) if goal.is_floating_point() else goal
