"""From a task and a start to a tuned prompt, its predictions, scores and exports."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import load, save

import mvlpt_core as mvlpt
from mvlpt.cli import main
from mvlpt_analysis.gains.image_bootstrap import image_intervals
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.intervals import gain_interval, score_interval
from mvlpt_core.contract.outcomes import encode_truth
from mvlpt_core.contract.tensors import read_tensors, write_tensors
from mvlpt_core.use.backbone import OpenBackbone, model_name
from mvlpt_core.use.calibrate import temperature
from mvlpt_core.use.tune import TunedPrompt, recipe
from support.task_files import picture, write_birds

SETTINGS = {
    "text": {"n_ctx": 2, "lr": 0.03},
    "visual": {"n_ctx": 2, "lr": 0.005, "depth": "shallow"},
    "unified": {"n_ctx_text": 2, "n_ctx_visual": 2, "width": 16, "lr": 0.001},
}
TUNING = {"steps": 4, "batch_size": 8, "optimizer": "adamw"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> OpenBackbone:
    folder = tmp_path_factory.mktemp("backbone")
    return mvlpt.open_backbone("testbed", folder=folder, device="cpu")


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_birds(tmp_path_factory.mktemp("data") / "birds", 12)


@pytest.fixture(scope="module")
def tuned(
    clip: OpenBackbone, birds: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, TunedPrompt]:
    """A prompt of each method, tuned on the birds."""
    out = tmp_path_factory.mktemp("prompts")
    options = {"tuning": TUNING, "shots": 4}
    return {
        method: mvlpt.tune(
            mvlpt.open_task(birds),
            clip,
            out=out / f"{method}.safetensors",
            method=method,
            settings=settings,
            **options,
        )
        for method, settings in SETTINGS.items()
    }


@pytest.mark.parametrize("method", SETTINGS)
def test_a_prompt_file_is_sufficient_by_itself(
    tuned: dict[str, TunedPrompt], clip: OpenBackbone, birds: Path, method: str
) -> None:
    done = tuned[method]
    header = read_tensors(done.path, "prompt")[0]
    about = header["tasks"]["new_birds"]
    assert about["classnames"] == ["blue bird", "red bird"]
    assert (about["templates"], about["metric"]) == (["a photo of a {c}."], "accuracy")
    assert (header["suffix"], header["preprocess"]["size"]) == (".", 32)
    assert header["backbone_digest"] == clip.towers.digest
    assert (header["start"], header["started_from"]) == ("random", [])
    assert header["score"] == {"new_birds": done.after.interval.value}
    model = mvlpt.load(done.path, clip)
    again = model.evaluate(mvlpt.open_task(birds))
    assert again.interval == done.after.interval
    np.testing.assert_array_equal(again.outcomes, done.after.outcomes)
    files = [birds / "test/red_bird/0.png", birds / "test/blue_bird/3.png"]
    rows = model.predict(files, top=2)
    assert [row["rank"] for row in rows] == [1, 2, 1, 2]
    for file, pair in zip(files, (rows[:2], rows[2:]), strict=True):
        assert {row["file"] for row in pair} == {str(file)}
        assert sum(row["probability"] for row in pair) == pytest.approx(1)
        assert pair[0]["probability"] >= pair[1]["probability"]
        right = model.classnames[done.after.outcomes[0 if "blue" in str(file) else 12]]
        assert pair[0]["class"] == right


def test_tuning_from_a_prompt_is_as_the_prompt_was_tuned(
    tuned: dict[str, TunedPrompt], birds: Path, clip: OpenBackbone, tmp_path: Path
) -> None:
    source = tuned["text"]
    dots = mvlpt.open_task("testbed:dot_icy")
    done = mvlpt.transfer(source, dots, clip, out=tmp_path / "dots.safetensors")
    header = read_tensors(done.prompt.path, "prompt")[0]
    was = read_tensors(source.path, "prompt")[0]
    assert header["tuned_with"] == was["tuned_with"]
    assert (header["shots"], header["start"]) == (4, "new_birds")
    (origin,) = header["started_from"]
    assert (origin["group"], origin["start"], origin["seed"]) == ("new_birds", "random", 1)
    start = {k: v for k, v in read_tensors(done.prompt.path, "prompt")[1].items() if ":" in k}
    np.testing.assert_array_equal(
        start["start:text"], read_tensors(source.path, "prompt")[1]["text"]
    )
    gain = done.prompt.after.interval.value - done.scratch.interval.value
    assert done.gain.value == pytest.approx(gain)
    assert done.gain.low <= done.gain.value <= done.gain.high
    copied = mvlpt.save(done.prompt.model, tmp_path / "copy.safetensors")
    assert copied.read_bytes() == done.prompt.path.read_bytes()
    assert recipe(source.path, tuning={"epochs": 3}).tuning.steps is None


@pytest.mark.parametrize("method", SETTINGS)
def test_an_export_is_compared_with_open_clip(
    tuned: dict[str, TunedPrompt], tmp_path: Path, method: str
) -> None:
    model = tuned[method].model
    tensors, module = mvlpt.export(model, "open_clip", tmp_path / "birds.safetensors")
    loader = module.read_text().partition("class PromptedTower")[0]
    assert len([line for line in loader.splitlines() if line.strip()]) <= 12
    assert tensors.is_file()
    if method == "text":
        made = mvlpt.export(model, "transformers", tmp_path / "hf.safetensors")
        assert "get_image_features" in made[1].read_text()
    else:
        with pytest.raises(InputError, match=f"holds a {method} prompt, which the image tower"):
            mvlpt.export(model, "transformers", tmp_path / "hf.safetensors")
    with pytest.raises(InputError, match="--to is 'onnx': expected one of open_clip"):
        mvlpt.export(model, "onnx", tmp_path / "birds.safetensors")


def test_an_export_that_differs_is_refused(
    tuned: dict[str, TunedPrompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tuned["text"].model
    turned = model.class_weights()[::-1].copy()
    monkeypatch.setattr(type(model), "class_weights", lambda self: turned)
    with pytest.raises(InputError, match="cosines with it differ from ours by"):
        mvlpt.export(model, "open_clip", tmp_path / "birds.safetensors")


def test_the_commands_use_a_prompt(
    tuned: dict[str, TunedPrompt],
    clip: OpenBackbone,
    birds: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompt = str(tuned["text"].path)
    common = ["--prompt", prompt, "--backbone", str(clip.folder), "--device", "cpu"]
    out = tmp_path / "found.parquet"
    assert main(["predict", *common, str(birds / "test"), "--top", "2", "--out", str(out)]) == 0
    table = pd.read_parquet(out)
    assert list(table.columns) == ["file", "rank", "class", "probability"]
    assert len(table) == 48
    assert main(["evaluate", *common, "--task", str(birds)]) == 0
    assert str(tuned["text"].after) in capsys.readouterr().out
    kept = tmp_path / "tuned.safetensors"
    given = ["--task", str(birds), "--start", prompt, "--backbone", str(clip.folder)]
    assert main(["tune", *given, "--set", "steps=2", "--out", str(kept), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"reading {birds}\n")
    assert re.search(
        r"^before     accuracy [\d.]+ \[[\d.]+, [\d.]+\] on 24 images$", said.out, re.M
    )
    assert "tuning adds" in said.out
    assert kept.is_file()


def test_mistakes_are_one_sentence(
    tuned: dict[str, TunedPrompt], birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = tuned["text"].path
    header, tensors = read_tensors(prompt, "prompt")
    old, diverged, other = (tmp_path / f"{name}.safetensors" for name in "abc")
    write_tensors(old, "prompt", {k: v for k, v in header.items() if k != "tasks"}, tensors)
    write_tensors(diverged, "prompt", {**header, "status": "diverged"}, tensors)
    write_tensors(other, "prompt", {**header, "backbone_digest": "0"}, tensors)
    clip = str(tuned["text"].model.backbone.folder)
    start = ["tune", "--task", str(birds), "--start"]
    (file := tmp_path / "p.py").write_text("")
    cases = {
        "has no tasks: expected one of this version": [*start, str(old)],
        "its tuning diverged: expected one that finished": [*start, str(diverged)],
        "has other weights": [*start, str(other), "--backbone", clip],
        "--start random needs a backbone": [*start, "random"],
        "holds a text prompt: expected visual": [*start, str(prompt), "--method", "visual"],
        "unknown key 'lrr'": [*start, str(prompt), "--set", "lrr=1"],
        "expected a name that ends in": [*start, str(prompt), "--backbone", clip, "--out", "x"],
        "expected KEY=VALUE": [*start, str(prompt), "--set", "lr"],
        "p.py is a file: expected a folder": [
            *start,
            str(prompt),
            "--out",
            f"{file}/x.safetensors",
        ],
        "holds no image": ["predict", "--prompt", str(prompt), str(tmp_path)],
        "is not there: expected a folder": ["tune", "--task", "gone", "--start", str(prompt)],
    }
    for message, arguments in cases.items():
        assert main(arguments) == 2, arguments
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
        assert message in line


def test_a_folder_of_images_is_read_as_a_task_is(
    tuned: dict[str, TunedPrompt], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.PNG", "photo", "._a.png", "__MACOSX/b.png", "c.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "c.heic" else picture((250, 0, 0)))
    prompt, clip = tuned["text"].path, tuned["text"].model.backbone.folder
    given = ["predict", "--prompt", str(prompt), "--backbone", str(clip), str(tmp_path)]
    assert main(given) == 0
    out, err = capsys.readouterr()
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == [
        str(tmp_path / name) for name in ("a.PNG", "photo")
    ]
    assert "3 files passed over: 2 hidden or of the system, 1 .heic" in err
    for number in ("99999999999999999999", "-1", "1_0", "\u0661"):
        with pytest.raises(SystemExit):
            main([*given, "--top", number])
        assert "expected a whole number of at least 1, below 2**31" in capsys.readouterr().err


def test_images_are_read_as_those_that_were_tuned_on(clip: OpenBackbone, tmp_path: Path) -> None:
    """Halves of colour that stand as an EXIF tag says: turned, they are another class."""
    for split in ("train", "test"):
        for number, (name, box) in enumerate(
            (("left", (0, 0, 16, 32)), ("right", (16, 0, 32, 32)))
        ):
            (tmp_path / split / name).mkdir(parents=True)
            image, exif = Image.new("RGB", (32, 32), (9 * number, 0, 0)), Image.Exif()
            image.paste("white", box)
            exif[0x0112] = 6
            image.save(tmp_path / split / name / "0.png", exif=exif)
    names = ("up", "down")
    task = mvlpt.open_task(tmp_path, "toy", orientation="exif", names=names)
    options: dict[str, Any] = {"method": "text", "shots": 1, "tuning": TUNING}
    assert task.classnames == names
    done = mvlpt.tune(task, clip, out=tmp_path / "p.safetensors", **options)
    file = tmp_path / "test/left/0.png"
    for path in tmp_path.glob("t*/*/0.png"):
        copy = tmp_path / "upright" / path.relative_to(tmp_path)
        copy.parent.mkdir(parents=True)
        ImageOps.exif_transpose(Image.open(path)).save(copy)
    upright = mvlpt.open_task(tmp_path / "upright", "toy", names=names)
    same = mvlpt.tune(upright, clip, out=tmp_path / "q.safetensors", **options)
    tensors = [read_tensors(one.path, "prompt")[1]["text"] for one in (done, same)]
    np.testing.assert_array_equal(*tensors)  # the images tuned on were turned too
    turned = done.model.logits_of([ImageOps.exif_transpose(Image.open(file)).convert("RGB")])
    alone = done.model.logits_of([Image.open(file).convert("RGB")])
    assert not np.allclose(turned, alone, atol=1e-3)
    for model in (done.model, mvlpt.load(done.path, clip)):
        found = [row["probability"] for row in model.predict([file], top=2)]
        expected = np.sort(model.probabilities(turned)[0])[::-1]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        # A folder does not say how its images are read: the prompt does.
        assert (
            model.evaluate(mvlpt.open_task(tmp_path, names=names)).interval == done.after.interval
        )


def test_a_header_that_no_version_writes(tuned: dict[str, TunedPrompt], tmp_path: Path) -> None:
    header, tensors = read_tensors(tuned["text"].path, "prompt")
    task = header["tasks"]["new_birds"]
    bad = tmp_path / "bad.safetensors"
    for key, value in (
        *(
            ("tasks", {}),
            ("tasks", [1]),
            ("tasks", {"x": {}}),
            ("tasks", {"x": {**task, "metric": 1}}),
        ),
        *(("preprocess", {}), ("preprocess", 3), ("tuned_with", {}), ("suffix", 5)),
        *(("method", "magic"), ("method", [])),
    ):
        write_tensors(bad, "prompt", {**header, key: value}, tensors)
        with pytest.raises(
            InputError, match=r"bad.safetensors' has a header that no version writes"
        ):
            mvlpt.load(bad, tuned["text"].model.backbone)


def test_files_of_another_kind_are_named(tuned: dict[str, TunedPrompt], tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    np.savez(tmp_path / "archive", a=np.zeros(2))
    for content, kind in (
        ((tmp_path / "archive.npz").read_bytes(), "a zip archive"),
        (picture((1, 2, 3)), r"an image \(PNG\)"),
        (b"", "nothing"),
        (b'{"a": 1}', "JSON"),
        (b"<html>", "HTML or XML"),
    ):
        other.write_bytes(content)
        with pytest.raises(
            InputError, match=rf"not a prompt file of this project \(it holds {kind}"
        ):
            mvlpt.load(other)


def test_a_folder_that_is_no_whole_backbone(
    tuned: dict[str, TunedPrompt], clip: OpenBackbone, tmp_path: Path
) -> None:
    prompt = tuned["text"].path
    with pytest.raises(InputError, match=r"has no backbone.json: expected the folder of a conv"):
        mvlpt.load(prompt, tmp_path)
    about = json.loads(clip.about.read_text())
    weights = (clip.folder / "backbone.safetensors").read_bytes()
    less = {key: value for key, value in about.items() if key != "image"}
    part = save({key: value for key, value in load(weights).items() if "fc" not in key})
    whole = {**about, "weights_sha256": sha256(part).hexdigest()}
    flipped = bytearray(weights)
    flipped[-1] ^= 64
    for number, (text, data, message) in enumerate(
        (
            ("", weights, r"backbone.json: not a whole converted backbone \(Expecting value"),
            ("[1]", weights, r"backbone.json: .* \(not a mapping"),
            ("{", weights, r"backbone.json: .* \(Expecting property"),
            (json.dumps(less), weights, r"backbone.json: .* \(no 'image'"),
            (json.dumps(about), b"", r"backbone.safetensors: .* \(it holds nothing"),
            (json.dumps(about), weights[:-9], r"backbone.safetensors: .* \(Error while deserial"),
            (json.dumps(about), b"PK\3\4", r"backbone.safetensors: .* \(it holds a zip archive"),
            (json.dumps(whole), part, r"backbone.safetensors: .* \(no 'image.blocks.0.fc.weight'"),
            (json.dumps(about), part, r"backbone.safetensors: not what was written beside"),
            (
                json.dumps(about),
                bytes(flipped),
                r"backbone.safetensors: not what was written beside",
            ),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "backbone.json").write_text(text)
        (folder / "backbone.safetensors").write_bytes(data)
        with pytest.raises(InputError, match=message):
            mvlpt.load(prompt, folder)


def test_the_readme_tunes_and_transfers(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very lines of the README, on two folders."""
    (code,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    for name in ("cats", "dogs"):
        write_birds(tmp_path / name, 12)
    (tmp_path / "photo.png").write_bytes(picture((250, 0, 0)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "accuracy" in said
    assert (tmp_path / "new_dogs_text_from_new_cats.safetensors").is_file()


def test_a_temperature_by_hand() -> None:
    """With a margin m and a share p right, the best temperature is m / log(p / (1 - p))."""
    logits = np.tile([6.0, 0.0], (40, 1))
    labels = np.r_[np.zeros(30, int), np.ones(10, int)]
    assert temperature(logits, labels) == pytest.approx(6 / np.log(3), rel=1e-3)
    assert temperature(logits[:19], labels[-19:]) is None
    assert temperature(logits, np.zeros(40, int)) is None
    assert temperature(logits, np.eye(2, dtype=int)[labels]) is None


def test_intervals_of_scores() -> None:
    """Accuracy's are exact (Clopper and Pearson's own limits); a gain's are a study's."""
    none, some = np.zeros(10, int), np.r_[np.zeros(2, int), np.ones(8, int)]
    assert score_interval("accuracy", none, none + 1)[1:] == pytest.approx((0, 0.3085), abs=1e-4)
    assert score_interval("accuracy", some, none + 1) == pytest.approx(
        (0.8, 0.4439, 0.9748), abs=1e-4
    )
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 50)
    before, after = (np.where(rng.random(50) < p, truth, 0).astype("<u2") for p in (0.4, 0.7))
    for metric in ("accuracy", "mean_per_class"):
        frame = pd.DataFrame(
            {
                "method": "text",
                "source": ["scratch", "a"],
                "target": "t",
                "seed": 1,
                "metric": metric,
                "outcomes": [before.tobytes(), after.tobytes()],
                "outcome_kind": "prediction_u16",
            }
        )
        known = pd.DataFrame(
            {"target": ["t"], "metric": [metric], "n": [50], "truth": [encode_truth(truth)]}
        )
        row = image_intervals(frame, known, replicates=300).iloc[0]
        found = gain_interval(metric, before, after, truth, draws=300, task="t")
        assert found == pytest.approx((row["gain"], row["low"], row["high"]))


def test_names_of_backbones() -> None:
    assert model_name("ViT-B-16/openai") == ("ViT-B-16", "openai")
    assert model_name("hf-hub:a/b") == ("hf-hub:a/b", "")
    assert model_name("local-dir:x/y") == ("local-dir:x/y", "")


def test_the_public_names_are_there_and_cost_nothing() -> None:
    for name in mvlpt.__all__:
        assert getattr(mvlpt, name).__doc__ or name == "__version__"
        assert name.startswith("_") or f"`{name}" in (mvlpt.__doc__ or "")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        mvlpt.nothing  # noqa: B018
