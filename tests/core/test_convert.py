"""Conversion: what open_clip reads is what we read, for the weights at hand; else the reason is told."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from mvlpt_core.backbone import convert
from mvlpt_core.backbone.activation import with_other_activation
from mvlpt_core.backbone.convert import convert_backbone
from mvlpt_core.backbone.device import load_backbone
from mvlpt_core.backbone.named import check_named, text_settings
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.features import encode_test, encode_texts
from mvlpt_core.tasks.prepare import prepare_test, read_preprocess
from support.open_clip_folder import write_open_clip

WEIGHTS = "open_clip_model.safetensors"
NAMES = ["Boxer", "under_score", "caf\u00e9 & co.!", "\uff14 cats"]


@pytest.mark.parametrize("clean", [None, "lower", "whitespace", "canonicalize"])
def test_texts_are_cleaned_as_open_clip_cleans_them(tmp_path: Path, clean: str | None) -> None:
    name = write_open_clip(tmp_path / "clip", tokenizer={"clean": clean} if clean else None)
    convert_backbone(name, "", tmp_path / "out")
    found = encode_texts(
        load_backbone(tmp_path / "out", "cpu", "fp32"), NAMES, ["a photo of a {c}."]
    )
    model = open_clip.create_model(name, require_pretrained=True).eval()
    texts = open_clip.get_tokenizer(name)([f"a photo of a {n}." for n in NAMES], context_length=24)
    with torch.no_grad():
        expected = model.encode_text(texts, normalize=True)
    torch.testing.assert_close(found.view_as(expected), expected, rtol=0, atol=1e-5)


def test_a_cleaning_changes_the_features(tmp_path: Path) -> None:
    found = []
    for clean in ("lower", "canonicalize"):
        name = write_open_clip(tmp_path / clean, tokenizer={"clean": clean})
        convert_backbone(name, "", tmp_path / clean / "out")
        backbone = load_backbone(tmp_path / clean / "out", "cpu", "fp32")
        found.append(encode_texts(backbone, ["under_score!"], ["{c}"]))
    assert float((found[0] - found[1]).abs().max()) > 0.01


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        ({"clean": "upper"}, r"could not make its tokenizer \(Invalid clean function"),
        ({"reduction_mask": "simple"}, r"cleans or shortens its texts in a way of its own"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(
    tmp_path: Path, tokenizer: dict[str, str], message: str
) -> None:
    name = write_open_clip(tmp_path / "clip", tokenizer=tokenizer)
    with pytest.raises(InputError, match=message):
        convert_backbone(name, "", tmp_path / "out")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("image.blocks.0.fc.weight", "its image features differ from open_clip's by"),
        ("text.blocks.1.proj.bias", "its text features differ from open_clip's by"),
    ],
)
def test_a_conversion_that_differs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, message: str
) -> None:
    real = convert.convert_model

    def wrong(model: torch.nn.Module, label: str) -> tuple[dict, dict]:
        weights, config = real(model, label)
        weights[part] = weights[part] * 1.5 + 0.1
        return weights, config

    monkeypatch.setattr(convert, "convert_model", wrong)
    name = write_open_clip(tmp_path / "clip")
    with pytest.raises(InputError, match=message):
        convert_backbone(name, "", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    name = write_open_clip(tmp_path / "clip")
    file = tmp_path / "clip" / WEIGHTS
    whole = load_file(file)
    absent = {key: value for key, value in whole.items() if key != "visual.proj"}
    for weights, message in (
        (absent, r'could not load it \(.*Missing key\(s\) in state_dict: "visual.proj"'),
        ({**whole, "more": torch.zeros(2)}, r'Unexpected key\(s\) in state_dict: "more"'),
        ({**whole, "visual.proj": torch.zeros(2, 3)}, r"size mismatch for visual.proj"),
        (
            {**whole, "visual.proj": whole["visual.proj"] * torch.nan},
            r"image features that are no num",
        ),
    ):
        save_file(weights, file)
        with pytest.raises(InputError, match=message) as told:
            convert_backbone(name, "", tmp_path / "out")
        assert "\n" not in str(told.value)


def test_files_of_another_kind_are_named_before_any_job(tmp_path: Path) -> None:
    name = write_open_clip(tmp_path / "clip")
    file = tmp_path / "clip" / WEIGHTS
    data = file.read_bytes()
    torch.save({}, tmp_path / "torch")
    np.savez(tmp_path / "numpy", a=np.zeros(2))
    for content, message in (
        (b"", "it holds nothing"),
        (data[:100], "Error while deserializing header"),
        (
            (tmp_path / "torch").read_bytes(),
            "it holds a zip archive, as .zip, .npz and PyTorch's .pt",
        ),
        ((tmp_path / "numpy.npz").read_bytes(), "it holds a zip archive"),
        (b"\x80\x04K\x01.", "it holds a pickle"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it holds a pointer to a file in Git LFS",
        ),
    ):
        file.write_bytes(content)
        (tmp_path / "given.safetensors").write_bytes(content)
        for given in ((name, ""), ("ViT-B-16", str(tmp_path / "given.safetensors"))):
            with pytest.raises(InputError, match=message) as raised:
                check_named(*given)
            assert not str(raised.value).endswith(".")


def test_names_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\3\4")
    for name, pretrained, message in (
        ("ViT-B-16", "weights/gone.safetensors", "there is no such file"),
        ("ViT-B-16", "gone.pt", "there is no such file"),
        ("ViT-B-16", str(tmp_path), "there is no such file"),
        ("ViT-B-16", "opnai", "no such tag or file; backbone.pretrained must be one of openai"),
        (
            "ViT-S-32",
            "gone",
            "no such tag or file; backbone.pretrained must be the path of weights",
        ),
        (write_open_clip(tmp_path / "clip"), "openai", "a 'local-dir:' model has its own weights"),
        (str(tmp_path / "x.zip"), "", "unknown model name .*x.zip' holds a zip archive"),
        (str(tmp_path / "clip"), "", r"unknown model name \(is the folder meant, 'local-dir:/"),
    ):
        with pytest.raises(InputError, match=message) as raised:
            check_named(name, pretrained)
        assert not str(raised.value).endswith(".")
    config = tmp_path / "clip/open_clip_config.json"
    for content in ("{", "[1]", "{}", '{"model_cfg": {}}'):
        config.write_text(content)
        with pytest.raises(InputError, match=r"open_clip_config.json: no text_cfg can be read"):
            text_settings(f"local-dir:{tmp_path}/clip")


def test_the_other_activation_is_that_of_the_other_model(tmp_path: Path) -> None:
    plain, quick = (
        _converted(write_open_clip(tmp_path / str(q), quick_gelu=q), tmp_path / f"out{q}")
        for q in (False, True)
    )
    assert (plain.activation, quick.activation) == ("GELU", "QuickGELU")
    expected = encode_texts(quick, NAMES, ["{c}"])
    assert float((encode_texts(plain, NAMES, ["{c}"]) - expected).abs().max()) > 1e-3
    for one, other in ((plain, quick), (quick, plain)):
        found = encode_texts(with_other_activation(one), NAMES, ["{c}"])
        torch.testing.assert_close(found, encode_texts(other, NAMES, ["{c}"]), rtol=0, atol=1e-5)


def _converted(name: str, out: Path) -> Backbone:
    convert_backbone(name, "", out)
    return load_backbone(out, "cpu", "fp32")


def test_weights_from_a_file_are_scored_with_either_activation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_open_clip(tmp_path / "clip")
    given = str(tmp_path / "clip" / WEIGHTS)
    assert "does not say its activation; read with GELU" in check_named("ViT-B-16", given)[0]
    assert "read with QuickGELU" in check_named("ViT-B-16-quickgelu", given)[0]
    assert check_named("ViT-B-16", "openai") == []

    out = tmp_path / "out"
    convert_backbone(f"local-dir:{tmp_path}/clip", "", out)
    about = json.loads((out / "backbone.json").read_text())
    assert about["activation_known"] is True
    row = TaskRow("object_rosy", "testbed", "object_rosy", "accuracy")
    preprocess = read_preprocess(out / "backbone.json")
    prepare_test(row, None, preprocess, max_test=20, out=tmp_path / "t.safetensors")
    for known in (True, False):
        (out / "backbone.json").write_text(json.dumps({**about, "activation_known": known}))
        copy = tmp_path / str(known)
        out.rename(copy)  # backbones are kept by their folder
        files = ([tmp_path / "t.safetensors"], [tmp_path / "f"], [tmp_path / "z.parquet"])
        with caplog.at_level(logging.WARNING):
            encode_test(copy / "backbone.json", *files, device="cpu", precision="fp32")
        copy.rename(out)
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == (not known)
    assert said[0].startswith("task object_rosy: zero-shot accuracy ")
    assert " with GELU, as the backbone's name says, and " in said[0]
