"""Groups of tasks: joint tuning against a plain loop, and what is scored when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mvlpt_core import jobs
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract import metrics
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.methods import METHODS, Method
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.contract.tensors import read_tensors, write_tensors
from mvlpt_core.features import encode_images
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Prompt, Towers, make_prompt
from mvlpt_core.tasks.fewshot import sample_test
from mvlpt_core.tasks.prepare import KIND
from mvlpt_core.tuning import problem as problems
from mvlpt_core.tuning.classifier import Pool
from mvlpt_core.tuning.loop import Tuned
from mvlpt_core.tuning.problem import Problem, TaskFiles, open_problem
from mvlpt_core.tuning.schedule import joint_order, schedule
from speed.plain import plain_image, plain_text
from support.engine_reference import DOT, NAMES, pixels, plain_lr, random_images, small_clip

SETTINGS: dict[str, Method] = {
    "text": METHODS["text"](n_ctx=2, lr=0.02),
    "visual": METHODS["visual"](n_ctx=2, lr=0.02, class_text="templates"),
    "unified": METHODS["unified"](n_ctx_text=2, n_ctx_visual=2, width=64, lr=0.02),
}
TUNING = Tuning(steps=3, batch_size=4, optimizer="adamw", evaluations=3, curve_images=5, warmup=1)
MULTI = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 0, 0], [0, 1, 1], [1, 1, 0]])
# name: class names' tokens, labels of the sample, labels of the test split, metric
TASKS: dict[str, tuple[list[list[int]], NDArray[Any], NDArray[Any], str]] = {
    "birds": (NAMES[:4], np.arange(9) % 4, np.arange(10) % 4, "accuracy"),
    "cars": (NAMES[4:], np.arange(7) % 3, np.arange(11) % 3, "mean_per_class"),
    "scenes": (NAMES[2:5], MULTI, np.tile(MULTI, (2, 1)), "map_11point"),
}


def write_images(path: Path, images: Tensor, header: dict[str, Any], tensors: Any) -> None:
    np.save(path.with_suffix(".npy"), images.numpy())
    write_tensors(path, KIND, {**header, "images": {"shape": list(images.shape)}}, tensors)


def write_task(root: Path, name: str, backbone: Backbone, held_out: int = 2) -> TaskFiles:
    """A task of random images, as preparation and encoding leave it."""
    names, few, many, metric = TASKS[name]
    files = TaskFiles(*(root / f"{name}_{part}.safetensors" for part in ("t", "s", "tf", "sf")))
    images = {
        path: random_images(len(labels), seed=len(name) + i)
        for i, (path, labels) in enumerate(((files.test, many), (files.sample, few)))
    }
    texts = np.random.default_rng(len(name)).normal(size=(len(names), 32)).astype("f")
    tokens = np.full((len(names), 4), -1)
    for row, ids in zip(tokens, names, strict=True):
        row[: len(ids)] = ids
    kept = len(few) - held_out
    header = {
        "name": name,
        "image_size": 24,
        "classnames": [f"class{i}" for i in range(len(names))],
    }
    about = {"templates": ["{c}"], "metric": metric, "multilabel": many.ndim == 2}
    write_images(
        files.test, images[files.test], {**header, **about, "part": "test"}, {"labels": many}
    )
    parts = {"labels": few, "train": np.arange(kept), "val": np.arange(kept, len(few))}
    write_images(
        files.sample,
        images[files.sample],
        {**header, "part": "sample", "shots": 2, "seed": 1},
        parts,
    )
    frozen = {"name": name, "backbone_digest": backbone.digest, "suffix": [DOT]}
    encoded = {
        path: encode_images(backbone, found.numpy()).float().numpy()
        for path, found in images.items()
    }
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    tensors = {"test_features": encoded[files.test], "text_features": texts, "tokens": tokens}
    write_tensors(files.test_features, KIND, frozen, tensors)
    write_tensors(files.sample_features, KIND, frozen, {"train_features": encoded[files.sample]})
    return files


class House:
    """A backbone and the files of all tasks."""

    def __init__(self, root: Path) -> None:
        self.model, self.backbone = small_clip()
        self.files = {name: write_task(root, name, self.backbone) for name in TASKS}

    def open(self, method: str, names: list[str], joint: Joint, tuning: Tuning) -> Problem:
        return open_problem(
            "+".join(names),
            names,
            self.files,
            self.backbone,
            settings=SETTINGS[method],
            tuning=tuning,
            joint=joint,
            memory_gb=1.0,
        )

    def prompt(self, method: str, seeds: list[int]) -> Prompt:
        prompt = make_prompt(SETTINGS[method], Towers.of(self.backbone), len(seeds))
        for run, seed in enumerate(seeds):
            starts.random(seed)(prompt, run)
        return prompt

    def tune(
        self,
        method: str,
        names: list[str],
        joint: Joint | None = None,
        tuning: Tuning = TUNING,
        seeds: tuple[int, ...] = (3, 4),
    ) -> tuple[Prompt, Tuned]:
        joint = joint or Joint()
        prompt = self.prompt(method, list(seeds))
        problem = self.open(method, names, joint, tuning)
        return prompt, jobs._tune(problem, prompt, tuning, joint, 1, "a test")

    def plain_logits(
        self, method: str, prompt: Prompt, names: list[str], images: Tensor, features: Tensor
    ) -> Tensor:
        """Logits over the classes of all tasks named, from open_clip's own modules."""
        vectors = prompt()
        if vectors.text is None:
            stored = [read_tensors(self.files[n].test_features, KIND)[1] for n in names]
            classes = torch.cat([torch.from_numpy(s["text_features"]) for s in stored]).double()
        else:
            tokens = [ids for name in names for ids in TASKS[name][0]]
            classes = plain_text(self.model, tokens, vectors.text[0], suffix=[DOT])
        if vectors.visual is not None:
            seen = pixels(images, self.backbone)
            features = plain_image(self.model, seen, vectors.visual[0])
        return self.backbone.logit_scale * features @ classes.T

    def sample(self, name: str) -> tuple[Tensor, Tensor]:
        """Images and frozen features of a task's whole few-shot sample."""
        images = np.load(self.files[name].sample.with_suffix(".npy"))
        stored = read_tensors(self.files[name].sample_features, KIND)[1]["train_features"]
        return torch.from_numpy(images), torch.from_numpy(stored).double()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


def naive_loss(
    logits: Tensor, name: str, label: Any, names: list[str], space: str, kind: str
) -> Tensor:
    """Loss of one image [C of all tasks] of the task `name`: cross entropy with weights shared by its
    classes, or for an image of several classes the mean of the binary ones."""
    counts = [len(TASKS[n][0]) for n in names]
    first = sum(counts[: names.index(name)])
    count = counts[names.index(name)]
    own = range(first, first + count)
    considered = own if space == "per_task" else range(sum(counts))
    if kind == "binary" and np.ndim(label):
        chance = torch.sigmoid(logits)
        yes = {first + int(c) for c in np.flatnonzero(label)}
        parts = [chance[c] if c in yes else 1 - chance[c] for c in considered]
        return -torch.stack(parts).log().mean()
    log_total = torch.logsumexp(torch.stack([logits[c] for c in considered]), 0)
    shown = [int(label)] if np.ndim(label) == 0 else np.flatnonzero(label).tolist()
    return sum((log_total - logits[first + c] for c in shown), torch.zeros(())) / len(shown)


@pytest.mark.parametrize("sampling", ["proportional", "balanced"])
@pytest.mark.parametrize("space", ["union", "per_task"])
@pytest.mark.parametrize(
    ("names", "loss"),
    [
        (["birds", "cars"], "cross_entropy"),
        (["cars", "scenes", "birds"], "cross_entropy"),
        (["cars", "scenes", "birds"], "binary"),
        (["scenes"], "binary"),
    ],
)
@pytest.mark.parametrize("method", SETTINGS)
def test_a_group_is_tuned_as_a_plain_loop_over_its_images_does(
    house: House, method: str, names: list[str], loss: str, space: str, sampling: str
) -> None:
    joint = Joint(label_space=space, sampling=sampling)  # type: ignore[arg-type]
    tuning = TUNING.model_copy(update={"multilabel_loss": loss})
    prompt, tuned = house.tune(method, names, joint, tuning)
    assert tuned.alive == [True, True]

    plain = house.prompt(method, [4])  # the second run, alone
    pool = [(name, i) for name in names for i in range(len(TASKS[name][1]) - 2)]
    sizes = [len(TASKS[name][1]) - 2 for name in names]
    steps = 3 * len(names)
    order = joint_order(
        sizes, schedule(TUNING, 1, sum(sizes), len(names)), joint, "+".join(names), 1
    )
    assert len(order) == steps
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1.0, weight_decay=TUNING.weight_decay)
    for step, batch in enumerate(order.tolist()):
        found = []
        for name, i in (pool[place] for place in batch):
            images, features = house.sample(name)
            logits = house.plain_logits(
                method, plain, names, images[i : i + 1], features[i : i + 1]
            )
            found.append(naive_loss(logits[0], name, TASKS[name][1][i], names, space, loss))
        for group in optimizer.param_groups:
            group["lr"] = plain_lr(0.02, len(names), TUNING.warmup_lr, step, steps)
        optimizer.zero_grad()
        torch.stack(found).mean().backward()
        optimizer.step()
    start = house.prompt(method, [4])
    for key, value in dict(plain.named_parameters()).items():
        found_value = dict(prompt.named_parameters())[key][1]
        assert (value[0] - dict(start.named_parameters())[key][0]).abs().max() > 1e-3
        torch.testing.assert_close(found_value, value[0], rtol=1e-6, atol=1e-7)

    # Each task is scored on its own images, with its own classes alone and its own metric.
    for name in names:
        images = torch.from_numpy(np.load(house.files[name].test.with_suffix(".npy")))
        stored = read_tensors(house.files[name].test_features, KIND)[1]["test_features"]
        features = torch.from_numpy(stored).double()
        with torch.no_grad():
            logits = house.plain_logits(method, plain, [name], images, features)
        (last,) = [
            e for e in tuned.evaluations if (e.target, e.split, e.step) == (name, "test", steps)
        ]
        _, _, labels, metric = TASKS[name]
        assert last.scores[1] == pytest.approx(float(metrics.score(metric, logits, labels)))
        each = [
            naive_loss(row, name, label, [name], "union", loss)
            for row, label in zip(logits, labels, strict=True)
        ]
        assert last.losses[1] == pytest.approx(float(torch.stack(each).mean()), abs=1e-6)


def test_joined_pools_by_hand() -> None:
    first = Pool(torch.tensor([[10.0], [11.0]]), torch.tensor([1, 0]))
    second = Pool(torch.tensor([[20.0]]), torch.tensor([2]))
    weights = Pool(torch.tensor([[30.0]]), torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    plain = problems._joined([(first, 2), (second, 3)], Joint(label_space="per_task"))
    assert plain.inputs.flatten().tolist() == [10, 11, 20]
    assert plain.targets.tolist() == [1, 0, 4]
    assert plain.allowed is not None
    assert plain.allowed.int().tolist() == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]]
    mixed = problems._joined([(first, 2), (weights, 2)], Joint())
    assert mixed.allowed is None
    assert mixed.targets.dtype == torch.float64
    assert mixed.targets.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0.5, 0.5]]


@pytest.mark.parametrize("method", ["text", "visual"])
@pytest.mark.parametrize(("curve_images", "size"), [(5, 5), (200, 10), (0, 0)])
def test_the_whole_test_split_is_encoded_where_it_is_reported(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, curve_images: int, size: int
) -> None:
    encoded: list[int] = []
    measured = problems.pool_logits

    def counted(classifier: Any, vectors: Any, pool: Pool) -> Tensor:
        encoded.append(len(pool))
        return measured(classifier, vectors, pool)

    monkeypatch.setattr(problems, "pool_logits", counted)
    tuning = TUNING.model_copy(update={"curve_images": curve_images})
    _, tuned = house.tune(method, ["birds"], tuning=tuning)
    between = [size] * 2 if size else []
    assert encoded == [10, *between, 10]
    found = {(e.step, e.split): e for e in tuned.evaluations}
    curve = [(step, "curve") for step in range(4)] if size else []
    assert sorted(found) == sorted([(0, "test"), (3, "test"), *curve])
    for step in (0, 3) if size else ():
        whole, part = found[step, "test"], found[step, "curve"]
        assert part.n == size
        assert part.outcomes == [None, None]
        index = sample_test(TASKS["birds"][2], curve_images, "birds")
        assert len(index) == size
        for run in range(2):
            raw = whole.outcomes[run]
            assert raw is not None
            right = (np.frombuffer(raw, "<u2") == TASKS["birds"][2])[index]
            assert part.scores[run] == right.mean()
            if size == 10:
                assert part.losses[run] == whole.losses[run]


@pytest.mark.parametrize("method", ["text", "unified"])
def test_the_mean_validation_score_of_a_group_chooses_and_the_choice_is_scored(
    house: House, method: str
) -> None:
    tuning = TUNING.model_copy(
        update={"checkpoint": "best_val", "steps": 8, "evaluations": 8, "curve_images": 0}
    )
    names = ["birds", "scenes"]
    _, tuned = house.tune(method, names, tuning=tuning, seeds=tuple(range(6)))
    problem = house.open(method, names, Joint(), tuning)
    val: dict[tuple[int, int], list[float]] = {}
    for found in tuned.evaluations:
        if found.split == "val":
            assert found.runs == list(range(6))
            for run, score in enumerate(found.scores):
                val.setdefault((found.step, run), []).append(score)
    steps = sorted({step for step, _ in val})
    assert steps == [2, 4, 6, 8, 10, 12, 14, 16]
    assert len(set(tuned.selected)) > 1  # or this test would say little
    for run in range(6):
        best = max(steps, key=lambda s: (sum(val[s, run]) / 2, -s))
        assert tuned.selected[run] == best
        for name in names:
            scored = [
                e
                for e in tuned.evaluations
                if e.split == "test" and e.target == name and run in e.runs
            ]
            assert sorted(e.step for e in scored) == sorted({0, best, 16})
            (chosen,) = [e for e in scored if e.step == best]
            # The prompt that is kept, scored by itself.
            alone = house.prompt(method, [0])
            alone.fill(0, tuned.states[run], "kept")
            task = problem.tasks[names.index(name)]
            again = task.scored(alone(), best, "test", [0])
            at = chosen.runs.index(run)
            assert again.scores[0] == chosen.scores[at]
            assert again.losses[0] == pytest.approx(chosen.losses[at], abs=1e-4)


def test_what_cannot_be_tuned_is_one_sentence(house: House, tmp_path: Path) -> None:
    few = write_task(tmp_path, "cars", house.backbone, held_out=0)
    best = TUNING.model_copy(update={"checkpoint": "best_val"})
    none = tmp_path / "none.safetensors"
    header, tensors = read_tensors(few.sample, KIND)
    none.with_suffix(".npy").write_bytes(few.sample.with_suffix(".npy").read_bytes())
    write_tensors(none, KIND, header, {**tensors, "train": np.arange(0)})
    wordy = tmp_path / "wordy.safetensors"
    header, tensors = read_tensors(few.test_features, KIND)
    longer = np.pad(tensors["tokens"], ((0, 0), (0, 30)), constant_values=-1)
    longer[1] = 5
    write_tensors(wordy, KIND, header, {**tensors, "tokens": longer})
    own = house.files["cars"]
    for files, tuning, message in (
        (few, best, "'cars' has no validation images, which tuning.checkpoint 'best_val' needs"),
        (replace(own, sample=none), TUNING, "none.* task 'cars' has no training images"),
        (
            replace(own, sample=house.files["birds"].sample),
            TUNING,
            "of task 'birds': expected 'cars'",
        ),
        (replace(own, test=house.files["birds"].test), TUNING, "of task 'birds': expected 'cars'"),
        (replace(own, test_features=wordy), TUNING, "class 'class1' of task cars needs .* tokens"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            open_problem(
                "pair",
                ["birds", "cars"],
                {**house.files, "cars": files},
                house.backbone,
                settings=SETTINGS["text"],
                tuning=tuning,
                joint=Joint(),
                memory_gb=1.0,
            )
        assert "\n" not in str(caught.value)
