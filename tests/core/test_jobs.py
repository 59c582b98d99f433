"""The jobs of a study on a tiny random backbone: files in, files out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mvlpt_core import encode, jobs
from mvlpt_core.backbone.convert import convert_backbone, load_open_clip
from mvlpt_core.backbone.towers import load_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.metrics import score_predictions
from mvlpt_core.contract.rows import SCHEMA
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.features import extract
from mvlpt_core.jobs import Job, open_job, tune_cells, tune_sources
from mvlpt_core.tasks.prepare import load_prepared, prepare_task
from mvlpt_core.testbed import TASKS
from support.engine_reference import random_clip
from support.task_files import write_birds

VISION = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
SEEDS = (1, 2)
NAMES = tuple(TASKS)[:3]
TUNING = {"steps": 4, "batch_size": 8, "optimizer": "adamw", "evaluations": 2}
METHODS: dict[str, dict[str, Any]] = {
    "text": {"n_ctx": 2, "lr": 0.01},
    "visual": {"n_ctx": 2, "lr": 0.01},
    "unified": {"n_ctx_text": 2, "n_ctx_visual": 2, "width": 16, "lr": 0.01},
}
PROVENANCE = {"study": "tiny", "config_digest": "c0", "code_digest": "d0"}


def write_open_clip(folder: Path, *, weights: str = "open_clip_model.safetensors") -> str:
    """A folder as open_clip's `local-dir:` takes it; returns its name."""
    model_config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_config, "preprocess_cfg": preprocess})
    )
    model = random_clip(vision=VISION, text=TEXT, embed_dim=16)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / weights)
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Backbone, prepared tasks, features and source prompts of three tasks."""
    root = tmp_path_factory.mktemp("study")
    convert_backbone(write_open_clip(root / "clip"), "", root / "backbone")
    preprocess = json.loads((root / "backbone/backbone.json").read_text())["preprocess"]
    for name in NAMES:
        row = TaskRow(name, "testbed", name, "accuracy", TASKS[name].templates)
        prepare_task(
            row, None, preprocess, 4, SEEDS, 0.25, 40, root / f"prepared/{name}.safetensors"
        )
    extract(
        root / "backbone",
        [root / f"prepared/{n}.safetensors" for n in NAMES],
        [root / f"features/{n}.safetensors" for n in NAMES],
        [root / f"zero_shot/{n}.parquet" for n in NAMES],
        device="cpu",
        provenance=PROVENANCE,
    )
    for method in METHODS:
        for name in NAMES:
            tune_source(root, method, name, SEEDS)
    return root


def job_for(
    root: Path, method: str, name: str, features: Path | None = None, **options: Any
) -> Job:
    settings = {
        "method_settings": METHODS[method],
        "tuning": TUNING,
        "device": "cpu",
        "provenance": PROVENANCE,
        **options,
    }
    return open_job(
        root / "backbone",
        root / f"prepared/{name}.safetensors",
        features or root / f"features/{name}.safetensors",
        method=method,
        **settings,
    )


def tune_source(
    root: Path, method: str, name: str, seeds: tuple[int, ...], to: str = "sources"
) -> None:
    base = root / to / method / name
    outputs = {s: (base / f"seed{s}.parquet", base / f"seed{s}.safetensors") for s in seeds}
    tune_sources(job_for(root, method, name), outputs)


def tune_pack(
    root: Path, method: str, target: str, pack: tuple[str, ...], to: str, **options: Any
) -> Path:
    keys = [(source, seed) for source in pack for seed in SEEDS]
    out = root / to / method / target
    tune_cells(
        job_for(root, method, target, **options),
        prompts={(s, k): root / f"sources/{method}/{s}/seed{k}.safetensors" for s, k in keys},
        outputs={(s, k): out / s / f"seed{k}.parquet" for s, k in keys},
    )
    return out


def rows(path: Path) -> list[dict[str, Any]]:
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    return table.to_pylist()


@pytest.mark.parametrize("method", METHODS)
def test_a_cell_does_not_depend_on_its_pack(study: Path, method: str) -> None:
    target = NAMES[1]
    together = tune_pack(study, method, target, NAMES, "together")
    halved = tune_pack(study, method, target, NAMES, "halved", memory_gb=1e-9)  # one run at a time
    for source in NAMES:
        alone = tune_pack(study, method, target, (source,), "alone")
        for seed in SEEDS:
            a, b, c = (rows(f / source / f"seed{seed}.parquet") for f in (together, alone, halved))
            assert [(r["source"], r["target"], r["seed"]) for r in a] == [
                (source, target, seed)
            ] * 3
            for key in ("score", "loss", "step", "selected", "status"):
                expected = [r[key] for r in b]
                if key in ("score", "loss"):
                    assert [r[key] for r in a] == pytest.approx(expected, abs=1e-4)
                    assert [r[key] for r in c] == pytest.approx(expected, abs=1e-4)
                else:
                    assert [r[key] for r in a] == expected


@pytest.mark.parametrize("method", METHODS)
def test_the_same_inputs_give_the_same_bytes(study: Path, method: str) -> None:
    name = NAMES[0]
    tune_source(study, method, name, SEEDS, to="again")
    for seed in SEEDS:
        for ending in ("parquet", "safetensors"):
            first = study / f"sources/{method}/{name}/seed{seed}.{ending}"
            again = study / f"again/{method}/{name}/seed{seed}.{ending}"
            assert first.read_bytes() == again.read_bytes()


def test_step_0_of_the_diagonal_is_the_end_of_scratch(study: Path) -> None:
    """The source prompt used as it is on its own task scores what its tuning ended with."""
    for method in METHODS:
        out = tune_pack(study, method, NAMES[0], (NAMES[0],), "diagonal")
        end = [
            r for r in rows(study / f"sources/{method}/{NAMES[0]}/seed1.parquet") if r["selected"]
        ]
        start = rows(out / NAMES[0] / "seed1.parquet")[0]
        assert start["step"] == 0
        assert len(end) == 1
        assert start["score"] == end[0]["score"]
        assert start["loss"] == pytest.approx(end[0]["loss"], abs=1e-5)
        assert start["outcomes"] == end[0]["outcomes"]


def test_rows_tell_what_was_run(study: Path) -> None:
    found = rows(study / f"sources/text/{NAMES[0]}/seed2.parquet")
    assert [r["step"] for r in found] == [0, 2, 4]
    assert [r["selected"] for r in found] == [False, False, True]
    last = found[-1]
    assert {k: last[k] for k in PROVENANCE} == PROVENANCE
    assert (last["method"], last["source"], last["target"]) == ("text", "scratch", NAMES[0])
    assert (last["shots"], last["seed"], last["status"], last["n"]) == (4, 2, "ok", 40)
    predicted = np.frombuffer(last["outcomes"], dtype="<u2")
    labels = load_prepared(study / f"prepared/{NAMES[0]}.safetensors").test_labels
    assert last["score"] == score_predictions("accuracy", predicted, labels)
    assert last["outcome_kind"] == "prediction_u16"


def test_zero_shot_is_the_score_of_the_frozen_logits(study: Path) -> None:
    (row,) = rows(study / f"zero_shot/{NAMES[0]}.parquet")
    tensors = load_file(study / f"features/{NAMES[0]}.safetensors")
    expected = (
        (tensors["zero_shot_logits"].argmax(1) == tensors["test_labels"]).double().mean().item()
    )
    assert row["score"] == expected
    assert row["method"] == "zero_shot"
    assert row["step"] == 0
    norms = tensors["train_features"].norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    assert torch.equal(tensors["visual_text_features"], tensors["text_features"])


def test_the_visual_method_may_have_a_text_of_its_own(study: Path, tmp_path: Path) -> None:
    own, name_alone = tmp_path / "own.safetensors", tmp_path / "bare.safetensors"
    task = study / f"prepared/{NAMES[0]}.safetensors"

    def encode(out: Path, **options: Any) -> dict[str, torch.Tensor]:
        scores = [tmp_path / "scores.parquet"]
        extract(
            study / "backbone",
            [task],
            [out],
            scores,
            device="cpu",
            provenance=PROVENANCE,
            **options,
        )
        return load_file(out)

    tensors = encode(own, class_text="a {c} thing")
    assert not torch.equal(tensors["visual_text_features"], tensors["text_features"])
    bare = encode(name_alone, class_text="{c}")
    torch.testing.assert_close(bare["visual_text_features"], bare["class_features"])
    with pytest.raises(InputError, match=r"methods\.visual\.class_text is 'a thing'"):
        encode(own, class_text="a thing")


def test_a_diverged_cell_is_an_outcome_and_its_neighbours_finish(study: Path) -> None:
    spoiled = study / "sources/visual/spoiled/seed1.safetensors"
    spoiled.parent.mkdir(parents=True)
    good = study / f"sources/visual/{NAMES[0]}/seed1.safetensors"
    with safe_open(good, framework="pt") as file:
        header, tensors = file.metadata(), {"visual": file.get_tensor("visual") * float("nan")}
    save_file(tensors, spoiled, metadata=header)
    out = study / "diverged"
    tune_cells(
        job_for(study, "visual", NAMES[1]),
        prompts={("spoiled", 1): spoiled, (NAMES[0], 1): good},
        outputs={(s, 1): out / f"{s}.parquet" for s in ("spoiled", NAMES[0])},
    )
    bad, fine = rows(out / "spoiled.parquet"), rows(out / f"{NAMES[0]}.parquet")
    assert {r["status"] for r in bad} == {"diverged"}
    assert not any(r["selected"] for r in bad)
    assert {r["score"] for r in bad} == {None}
    assert {r["outcomes"] for r in bad} == {None}
    assert {r["status"] for r in fine} == {"ok"}
    assert sum(r["selected"] for r in fine) == 1


def test_best_val_scores_validation_images_of_each_seed(study: Path) -> None:
    base = study / "best_val"
    outputs = {s: (base / f"{s}.parquet", base / f"{s}.safetensors") for s in SEEDS}
    tuning = {**TUNING, "checkpoint": "best_val"}
    tune_sources(job_for(study, "visual", NAMES[0], tuning=tuning), outputs)
    for seed in SEEDS:
        found = rows(outputs[seed][0])
        val = {r["step"]: r["score"] for r in found if r["split"] == "val"}
        chosen = [r["step"] for r in found if r["selected"]]
        assert chosen == [max(val, key=lambda s: (val[s], -s))]


def _first_prompt(study: Path, method: str) -> Path:
    return study / f"sources/{method}/{NAMES[0]}/seed1.safetensors"


def _cell_from(study: Path, prompt: Path, **options: Any) -> None:
    tune_cells(
        job_for(study, "text", NAMES[1], **options),
        prompts={("s", 1): prompt},
        outputs={("s", 1): study / "never.parquet"},
    )


def test_prompts_that_do_not_fit_are_one_sentence(study: Path, tmp_path: Path) -> None:
    text = _first_prompt(study, "text")
    with safe_open(text, framework="pt") as file:
        header, state = file.metadata(), file.get_tensor("text")
    reshaped, foreign, bare, torn = (tmp_path / f"{n}.safetensors" for n in "abcd")
    save_file({"text": state[:, :8].contiguous()}, reshaped, metadata=header)
    other = {"prompt": json.dumps({**json.loads(header["prompt"]), "backbone_digest": "other"})}
    save_file({"text": state}, foreign, metadata=other)
    save_file({"text": state}, bare)
    torn.write_bytes(text.read_bytes()[:-5])
    cases = [
        (tmp_path / "none.safetensors", "is not there"),
        (_first_prompt(study, "visual"), "holds a visual prompt; expected text"),
        (reshaped, r"'text' with shape \[2, 8\]; expected \[2, 16\]"),
        (foreign, "tuned on backbone .* with other weights"),
        (bare, "has no 'prompt' header"),
        (torn, "cannot be read as safetensors"),
    ]
    for path, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            _cell_from(study, path)
        assert str(path) in str(caught.value)
    three = {"n_ctx": 3, "lr": 0.01}
    with pytest.raises(InputError, match=r"was tuned with text\.n_ctx = 2; expected 3"):
        _cell_from(study, text, method_settings=three)
    assert not (study / "never.parquet").exists()


def test_features_of_another_backbone_are_refused(study: Path, tmp_path: Path) -> None:
    file = study / f"features/{NAMES[1]}.safetensors"
    with safe_open(file, framework="pt") as opened:
        meta = json.loads(opened.metadata()["task"])
    other = tmp_path / "other.safetensors"
    save_file(
        load_file(file), other, metadata={"task": json.dumps({**meta, "backbone_digest": "x"})}
    )
    with pytest.raises(InputError, match="made with another backbone"):
        _cell_from(study, _first_prompt(study, "text"), features=other)
    other.write_bytes(b"no")
    with pytest.raises(InputError, match="is not a features file"):
        _cell_from(study, _first_prompt(study, "text"), features=other)


def test_portions_are_near_equal() -> None:
    assert [len(p) for p in jobs._portions(range(20), 19)] == [10, 10]
    assert [len(p) for p in jobs._portions(range(7), 3)] == [2, 2, 3]
    assert list(jobs._portions([], 3)) == []


def test_backbones_that_cannot_be_loaded_are_one_sentence(tmp_path: Path) -> None:
    pickled = write_open_clip(tmp_path / "pickled", weights="open_clip_model.bin")
    cases = [
        ("ViT-Z-99", "", "unknown model name"),
        ("ViT-B-16", "openia", "backbone.pretrained must be one of openai"),
        ("ViT-B-16", "", "backbone.pretrained must be one of openai"),
        (f"local-dir:{tmp_path}/none", "", "open_clip_config.json' is not there"),
        (pickled, "", "open_clip_model.safetensors' is not there"),
    ]
    for name, pretrained, message in cases:
        with pytest.raises(InputError, match=message):
            load_open_clip(name, pretrained)


def test_an_unreachable_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def unreachable(*args: object, **kwargs: object) -> None:
        raise ConnectionError("Failed to resolve host")

    monkeypatch.setattr(open_clip, "create_model", unreachable)
    with pytest.raises(
        InputError, match=r"the weights could not be fetched .*Failed to resolve host"
    ):
        load_open_clip("ViT-B-16", "openai")


def test_a_folder_of_images_is_encoded_like_a_task_of_the_study(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"shots": 2, "seeds": [1], "val_share": 0.0, "max_test": None}
    (study / "config.yaml").write_text(
        yaml.safe_dump({**settings, "backbone": {"precision": "fp32"}})
    )
    birds = write_birds(tmp_path / "Birds 1", 2)
    out = tmp_path / "birds.safetensors"
    command = ["--study", str(study), "--out", str(out), "--device", "cpu", "--task"]
    assert encode.main([*command, str(birds)]) == 0
    tensors = load_file(out)
    assert tensors["train_features"].shape == (4, 16)
    with safe_open(out, framework="pt") as file:
        meta = json.loads(file.metadata()["task"])
    assert (meta["name"], meta["classnames"]) == ("birds_1", ["blue bird", "red bird"])
    assert encode.main([*command, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"error: task folder '{tmp_path}/none' is not there\n"


def test_a_converted_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a converted backbone"):
        load_backbone(tmp_path, "cpu", "fp32")
