"""The tuning job on a tiny random backbone: files in, files out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from mvlpt_core import jobs
from mvlpt_core.backbone.device import cached_backbone, load_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.methods import METHODS
from mvlpt_core.contract.metrics import weighted_scores
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.contract.tensors import read_tensors, write_tensors
from mvlpt_core.features import encode_class_texts, encode_sample
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Towers, make_prompt
from mvlpt_core.tasks.prepare import (
    load_sample,
    load_test,
    prepare_sample,
    read_preprocess,
)
from mvlpt_core.tuning.classifier import losses
from mvlpt_core.tuning.loop import Tuned, tune
from mvlpt_core.tuning.problem import Problem, TaskFiles, open_problem
from support import tiny_study
from support.tiny_study import (
    MATES,
    NAMES,
    PROVENANCE,
    SETTINGS,
    TUNING,
    files_of,
    own_prompt,
    pack,
    rows,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study.build(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("method", SETTINGS)
def test_a_run_does_not_depend_on_its_pack(study: Path, method: str) -> None:
    target = {NAMES[1]: [NAMES[1]]}
    together = pack(study, method, target, list(NAMES), "together")
    halved = pack(study, method, target, list(NAMES), "halved", memory_gb=1e-9)  # one at a time
    for start in NAMES:
        alone = pack(study, method, target, [start], "alone")
        a, b, c = (rows(f / NAMES[1] / f"{start}.parquet") for f in (together, alone, halved))
        assert {(r["group"], r["start"], r["target"], r["seed"]) for r in a} == {
            (NAMES[1], start, NAMES[1], 1)
        }
        for key in ("score", "loss", "step", "split", "selected", "status"):
            expected = [r[key] for r in b]
            if key in ("score", "loss"):
                assert [r[key] for r in a] == pytest.approx(expected, abs=1e-4)
                assert [r[key] for r in c] == pytest.approx(expected, abs=1e-4)
            else:
                assert [r[key] for r in a] == expected


@pytest.mark.parametrize("method", SETTINGS)
def test_the_same_inputs_give_the_same_bytes(study: Path, method: str) -> None:
    again = pack(study, method, {NAMES[0]: [NAMES[0]]}, ["random"], "again", keep=True)
    for ending in ("parquet", "safetensors"):
        first = study / f"own/{method}/{NAMES[0]}/random.{ending}"
        assert first.read_bytes() == (again / f"{NAMES[0]}/random.{ending}").read_bytes()


@pytest.mark.parametrize("method", SETTINGS)
def test_step_0_of_the_diagonal_is_the_end_of_scratch(study: Path, method: str) -> None:
    """A prompt used as it is on its own task scores what its tuning ended with."""
    out = pack(study, method, {NAMES[0]: [NAMES[0]]}, [NAMES[0]], "diagonal")
    own = rows(study / f"own/{method}/{NAMES[0]}/random.parquet")
    (end,) = [r for r in own if r["selected"]]
    start = next(r for r in rows(out / f"{NAMES[0]}/{NAMES[0]}.parquet") if r["split"] == "test")
    assert start["step"] == 0
    assert start["score"] == end["score"]
    assert start["loss"] == pytest.approx(end["loss"], abs=1e-5)
    assert start["outcomes"] == end["outcomes"]


def test_the_test_split_is_scored_where_a_number_is_reported(study: Path) -> None:
    """Step 0 and the end on all test images, every evaluation on the fixed sample."""
    found = rows(study / f"own/text/{NAMES[0]}/random.parquet")
    steps = {
        split: [r["step"] for r in found if r["split"] == split] for split in ("test", "curve")
    }
    assert steps == {"test": [0, 4], "curve": [0, 2, 4]}
    assert [r["n"] for r in found if r["split"] == "curve"] == [10] * 3
    assert {r["outcomes"] is None for r in found if r["split"] == "curve"} == {True}
    (last,) = [r for r in found if r["selected"]]
    assert {k: last[k] for k in PROVENANCE} == PROVENANCE
    assert (last["method"], last["group"], last["start"]) == ("text", NAMES[0], "random")
    assert (last["shots"], last["seed"], last["status"], last["n"]) == (4, 1, "ok", 40)
    predicted = np.frombuffer(last["outcomes"], dtype="<u2")
    labels = load_test(files_of(study, NAMES[0]).test).labels
    assert last["score"] == weighted_scores("accuracy", predicted[None], labels, np.ones((1, 40)))
    bare = pack(
        study, "text", {NAMES[0]: [NAMES[0]]}, ["random"], "bare", tuning={"curve_images": 0}
    )
    assert {r["split"] for r in rows(bare / f"{NAMES[0]}/random.parquet")} == {"test"}


def test_the_chosen_checkpoint_is_scored_on_all_test_images(study: Path) -> None:
    tuning = {"checkpoint": "best_val", "steps": 12, "evaluations": 6}
    out = pack(
        study, "visual", {NAMES[0]: [NAMES[0]]}, list(NAMES), "best_val", True, tuning=tuning
    )
    for start in NAMES:
        found = rows(out / f"{NAMES[0]}/{start}.parquet")
        val = {r["step"]: r["score"] for r in found if r["split"] == "val"}
        assert list(val) == [2, 4, 6, 8, 10, 12]
        best = max(val, key=lambda s: (val[s], -s))
        (chosen,) = [r for r in found if r["selected"]]
        assert (chosen["step"], chosen["split"], chosen["n"]) == (best, "test", 40)
        assert {r["step"] for r in found if r["split"] == "test"} == {0, best, 12}
        # The row is the score of the prompt that was kept.
        again = pack(
            study,
            "visual",
            {NAMES[0]: [NAMES[0]]},
            ["x"],
            "kept",
            prompts={(NAMES[0], "x"): [out / f"{NAMES[0]}/{start}.safetensors"]},
        )
        first = rows(again / f"{NAMES[0]}/x.parquet")[0]
        assert chosen["score"] in (
            first["score"],
            rows(again / f"{NAMES[0]}/x.parquet")[1]["score"],
        )


@pytest.mark.parametrize("method", SETTINGS)
def test_a_group_is_tuned_jointly_and_starts_its_members(study: Path, method: str) -> None:
    """A group of two from random, both members and a third task from its prompt."""
    out = pack(study, method, {"pair": list(NAMES[1:])}, ["random"], "pair", keep=True)
    found = rows(out / "pair/random.parquet")
    for task in NAMES[1:]:
        own = [r for r in found if r["target"] == task]
        assert sum(r["selected"] for r in own) == 1
        # Each task's own budget: two tasks take twice the steps.
        assert [r["step"] for r in own if r["split"] == "test"] == [0, 8]
    prompt = out / "pair/random.safetensors"
    everyone = {name: [name] for name in NAMES}
    from_pair = pack(
        study, method, everyone, ["pair"], "from", prompts={(n, "pair"): [prompt] for n in NAMES}
    )
    for task in NAMES[1:]:
        start = next(r for r in rows(from_pair / f"{task}/pair.parquet") if r["split"] == "test")
        end = next(r for r in found if r["target"] == task and r["selected"])
        assert start["score"] == end["score"]
    assert rows(from_pair / f"{NAMES[0]}/pair.parquet")[-1]["status"] == "ok"


@pytest.mark.parametrize("method", SETTINGS)
def test_label_spaces_of_tasks_that_share_their_classes_differ_by_log_2(
    study: Path, method: str
) -> None:
    """Two tasks with the same class names: every class stands twice in the union with equal logits, so
    that the loss is the per-task loss plus log 2, with the same gradient."""
    clip = cached_backbone(study / "backbone", "cpu", "fp32")
    values = {}
    for space in ("union", "per_task"):
        settings = METHODS[method](**SETTINGS[method])
        problem = open_problem(
            "mates",
            MATES,
            {name: files_of(study, name) for name in MATES},
            clip,
            settings=settings,
            tuning=Tuning(**TUNING),
            joint=Joint(label_space=space),  # type: ignore[arg-type]
            memory_gb=3.0,
        )
        prompt = make_prompt(settings, Towers.of(clip), 1)
        starts.random(3)(prompt, 0)
        vectors = prompt()
        logits = problem.classifier.logits(
            problem.classifier.text(vectors),
            problem.classifier.image(vectors, problem.pool.inputs),
        )
        loss = losses(logits, problem.pool).sum()
        loss.backward()
        logits = logits.detach()
        gradient = torch.cat([p.grad.flatten() for p in prompt.parameters() if p.grad is not None])
        values[space] = (float(loss.detach()), gradient)
        n, classes = len(problem.pool), logits.shape[-1] // 2
        targets = problem.pool.targets
        if space == "per_task":  # a naive loop: each task's images over its own classes
            own = [
                F.cross_entropy(logits[0, i, c : c + classes][None], targets[i][None] - c)
                for i in range(n)
                for c in [int(targets[i]) // classes * classes]
            ]
            assert float(loss.detach()) == pytest.approx(float(torch.stack(own).mean()), abs=1e-5)
        else:
            naive = F.cross_entropy(logits[0], targets)
            assert float(loss.detach()) == pytest.approx(float(naive), abs=1e-5)
    assert values["union"][0] == pytest.approx(values["per_task"][0] + np.log(2), abs=1e-4)
    torch.testing.assert_close(values["union"][1], values["per_task"][1], rtol=1e-3, atol=1e-5)


def test_a_start_may_be_the_mean_of_several_prompts(study: Path) -> None:
    clip = cached_backbone(study / "backbone", "cpu", "fp32")
    paths = [own_prompt(study, "text", name) for name in NAMES[:2]]
    prompt = make_prompt(METHODS["text"](**SETTINGS["text"]), Towers.of(clip), 2)
    starts.saved(paths[0], clip.digest)(prompt, 0)
    starts.mean(paths, clip.digest)(prompt, 1)
    states = [read_tensors(path, "prompt")[1]["text"] for path in paths]
    np.testing.assert_array_equal(prompt.state_of(0)["text"], states[0])
    np.testing.assert_allclose(prompt.state_of(1)["text"], (states[0] + states[1]) / 2, atol=1e-7)
    with pytest.raises(InputError, match="at least one prompt file"):
        starts.mean([], clip.digest)


def test_a_random_start_does_not_depend_on_its_neighbours(study: Path) -> None:
    clip = cached_backbone(study / "backbone", "cpu", "fp32")
    for method, settings in SETTINGS.items():
        alone = make_prompt(METHODS[method](**settings), Towers.of(clip), 1)
        starts.random(7)(alone, 0)
        beside = make_prompt(METHODS[method](**settings), Towers.of(clip), 2)
        starts.random(1)(beside, 0)
        starts.random(7)(beside, 1)
        for name, value in alone.state_of(0).items():
            assert torch.equal(beside.state_of(1)[name], value)


def test_zero_shot_is_the_score_of_the_frozen_features(study: Path) -> None:
    (row,) = rows(study / f"zero_shot/{NAMES[0]}.parquet")
    header, tensors = read_tensors(files_of(study, NAMES[0]).test_features, "task")
    logits = header["logit_scale"] * tensors["test_features"] @ tensors["text_features"].T
    labels = load_test(files_of(study, NAMES[0]).test).labels
    assert row["score"] == (logits.argmax(1) == labels).mean()
    assert np.frombuffer(row["truth"], "<u2").tolist() == labels.tolist()
    run = [row[key] for key in ("method", "group", "start", "shots", "seed")]
    assert run == [None] * 5
    norms = np.linalg.norm(tensors["test_features"], axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_study_may_tune_on_augmented_views(study: Path, tmp_path: Path, method: str) -> None:
    name = NAMES[0]
    files = files_of(study, name)
    sample, features = tmp_path / "sample.safetensors", tmp_path / "features.safetensors"
    about = study / "backbone/backbone.json"
    drawn = {"shots": 4, "seed": 1, "val_share": 0.25, "short_classes": "error"}
    prepare_sample(
        name, "testbed", name, None, read_preprocess(about), out=sample, views=2, **drawn
    )
    encode_sample(about, [sample], [features], device="cpu")
    clip = load_backbone(study / "backbone", "cpu")
    with_views = replace(files, sample=sample, sample_features=features)

    def opened(files: TaskFiles, **tuning: Any) -> Problem:
        return open_problem(
            name,
            [name],
            {name: files},
            clip,
            settings=METHODS[method](**SETTINGS[method]),
            tuning=Tuning(**TUNING, **tuning),
            joint=Joint(),
            memory_gb=3.0,
        )

    pool = opened(with_views, augment="crop_flip", views=2).pool
    assert pool.views is not None
    assert pool.views.shape == (2, *pool.inputs.shape)
    held = load_sample(sample)
    for view in range(2):
        expected = torch.from_numpy(held.views[view])
        if method == "text":
            expected = clip.image(expected)[0]
        torch.testing.assert_close(pool.seen(view + 2).inputs, expected)
    message = r"has 2 augmented views .*: expected 0 \(tuning\.augment, tuning\.views\)"
    with pytest.raises(InputError, match=message):
        opened(with_views)
    with pytest.raises(InputError, match=r"has 0 augmented views .*: expected 8"):
        opened(files, augment="crop_flip")


def test_the_visual_method_may_have_a_text_of_its_own(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "texts.safetensors"
    where = (study / "backbone/backbone.json", [files_of(study, NAMES[0]).test], [out])
    encode_class_texts(*where, "{c}", device="cpu")
    bare = read_tensors(files_of(study, NAMES[0]).test_features, "task")[1]["class_features"]
    np.testing.assert_allclose(read_tensors(out, "task")[1]["text_features"], bare, atol=1e-6)
    with pytest.raises(InputError, match=r"'a thing' of methods\.visual\.class_text: exp"):
        encode_class_texts(*where, "a thing", device="cpu")


def test_a_diverged_run_is_an_outcome_and_its_neighbours_finish(
    study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header, tensors = read_tensors(own_prompt(study, "visual", NAMES[0]), "prompt")
    spoiled = study / "spoiled.safetensors"
    header["status"] = "diverged"
    write_tensors(spoiled, "prompt", header, {"visual": tensors["visual"] * np.nan})
    out = pack(
        study,
        "visual",
        {NAMES[1]: [NAMES[1]]},
        ["spoiled", NAMES[0]],
        "diverged",
        prompts={
            (NAMES[1], "spoiled"): [spoiled],
            (NAMES[1], NAMES[0]): [own_prompt(study, "visual", NAMES[0])],
        },
    )
    bad, fine = (rows(out / NAMES[1] / f"{s}.parquet") for s in ("spoiled", NAMES[0]))
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    where = f"visual, {NAMES[1]} from spoiled"
    assert said == [f"{where}: diverged, its loss is not finite after step 0"]
    assert {r["status"] for r in bad} == {"diverged"}
    assert not any(r["selected"] for r in bad)
    assert {r["score"] for r in bad} == {None}
    assert {r["outcomes"] for r in bad} == {None}
    assert {r["status"] for r in fine} == {"ok"}
    assert sum(r["selected"] for r in fine) == 1


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_where_memory_is_full_fewer_runs_are_tuned_side_by_side(
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """Room for one run: the rows are those of runs that were given a job each. Room for none: a sentence."""
    room = 1

    def tune_within(*given: Any, **options: Any) -> Tuned:
        if given[1].runs > room:
            raise error
        return tune(*given, **options)

    monkeypatch.setattr(jobs, "tune", tune_within)
    target = {NAMES[1]: [NAMES[1]]}
    out = pack(study, "text", target, list(NAMES), f"full {type(error).__name__}")
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said[0] == f"memory is full with {len(NAMES)} runs side by side: going on with 1"
    for start in NAMES:
        alone = pack(study, "text", target, [start], "alone")
        found, expected = (f / NAMES[1] / f"{start}.parquet" for f in (out, alone))
        assert rows(found) == rows(expected)
    room = 0
    with pytest.raises(InputError, match=r"memory is full with this one alone: .* memory_gb"):
        pack(study, "text", target, list(NAMES), "full")
    monkeypatch.setattr(jobs, "tune", lambda *given, **options: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        pack(study, "text", target, list(NAMES), "wrong")


def test_prompts_that_do_not_fit_are_one_sentence(study: Path, tmp_path: Path) -> None:
    text = own_prompt(study, "text", NAMES[0])
    header, tensors = read_tensors(text, "prompt")
    reshaped, foreign, odd, torn = (tmp_path / f"{n}.safetensors" for n in "abcd")
    write_tensors(reshaped, "prompt", header, {"text": tensors["text"][:, :8]})
    write_tensors(foreign, "prompt", {**header, "backbone_digest": "other"}, tensors)
    save_file({"text": torch.zeros(2, 16)}, odd, metadata={"prompt": "[1]"})
    torn.write_bytes(text.read_bytes()[:-5])
    cases = [
        (tmp_path / "none.safetensors", "no such file"),
        (own_prompt(study, "visual", NAMES[0]), "holds a visual prompt: expected text"),
        (reshaped, r"'text' with shape \[2, 8\]: expected \[2, 16\]"),
        (foreign, "tuned on backbone .* with other weights"),
        (odd, "has no header 'prompt'"),
        (torn, "not a prompt file"),
    ]

    def start_from(path: Path, **options: Any) -> None:
        target = {NAMES[1]: [NAMES[1]]}
        prompts = {(NAMES[1], "s"): [path]}
        pack(study, "text", target, ["s"], "never", prompts=prompts, **options)

    for path, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            start_from(path)
        assert str(path) in str(caught.value)
    with pytest.raises(InputError, match=r"was tuned with text\.n_ctx = 2: expected 3"):
        start_from(text, settings={"n_ctx": 3, "lr": 0.01})
    assert not (study / "never").exists()


def test_features_of_another_backbone_or_task_are_refused(study: Path, tmp_path: Path) -> None:
    files = files_of(study, NAMES[1])
    header, tensors = read_tensors(files.test_features, "task")
    kept = files.test_features.read_bytes()
    try:
        for changes, message in (
            ({"backbone_digest": "x"}, "made with another backbone"),
            ({"name": NAMES[0]}, f"features of task '{NAMES[0]}': expected '{NAMES[1]}'"),
        ):
            write_tensors(files.test_features, "task", {**header, **changes}, tensors)
            with pytest.raises(InputError, match=message):
                pack(study, "text", {NAMES[1]: [NAMES[1]]}, ["random"], "never")
    finally:
        files.test_features.write_bytes(kept)


def test_portions_are_near_equal() -> None:
    assert [len(p) for p in jobs.portions(list("x" * 20), 19)] == [10, 10]
    assert [len(p) for p in jobs.portions(list("x" * 7), 3)] == [2, 2, 3]
    assert list(jobs.portions([], 3)) == []
