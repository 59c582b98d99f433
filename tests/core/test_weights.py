"""Weights: found, fetched or missing in one sentence; open_clip's features from what was converted."""

import time
from pathlib import Path

import pytest
import torch

from mvlpt_core.backbone import convert
from mvlpt_core.backbone.convert import convert_backbone, load_open_clip
from mvlpt_core.backbone.device import load_backbone
from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.contract.errors import InputError
from support.open_clip_folder import write_open_clip


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


def test_without_a_network_the_hub_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    asked = []

    def no_address(host: str, port: int) -> None:
        asked.append(host)
        raise OSError("no address")

    monkeypatch.setattr(convert.socket, "getaddrinfo", no_address)
    monkeypatch.setattr(convert, "getproxies", dict)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"could not be fetched .* or a 'local-dir:' folder"):
        load_open_clip("hf-hub:nobody/none", "")
    assert time.monotonic() - start < 20  # the client would try again for a minute
    assert (asked, constants.HF_HUB_OFFLINE) == (["hub.invalid"], True)
    # Behind a proxy the host's address says nothing.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(convert, "getproxies", lambda: {"https": "proxy"})
    convert._fail_fast_offline()
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("ViT-B-32", "timm/vit_base_patch32_clip_224.openai"),
        ("ViT-B-16", "timm/vit_base_patch16_clip_224.openai"),
        ("ViT-L-14", "timm/vit_large_patch14_clip_224.openai"),
        ("hf-hub:someone/clip", "someone/clip"),
    ],
)
def test_weights_that_are_nowhere_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, hub: str
) -> None:
    import open_clip
    from huggingface_hub.constants import HF_HUB_CACHE

    asked: list[object] = []

    def unreachable(*args: object, **kwargs: object) -> None:
        asked.append(kwargs["force_quick_gelu"])
        raise ConnectionError("Failed to resolve host")

    monkeypatch.setattr(open_clip, "create_model", unreachable)
    monkeypatch.setattr(convert, "_fail_fast_offline", lambda: None)
    tag = "" if ":" in name else "openai"
    with pytest.raises(InputError) as caught:
        load_open_clip(name, tag)
    message = str(caught.value)
    for part in (f"'{hub}'", f"'{HF_HUB_CACHE}'", "(Failed to resolve host): expected a network"):
        assert part in message
    assert "\n" not in message
    assert asked == [tag == "openai"]  # OpenAI's weights are QuickGELU's


def test_a_folder_with_quick_gelu_gives_open_clips_features(tmp_path: Path) -> None:
    """The layout of OpenAI's weights, in small: read by open_clip itself, then by us."""
    import open_clip

    name = write_open_clip(tmp_path / "clip", quick_gelu=True)
    convert_backbone(name, "", tmp_path / "backbone")
    backbone = load_backbone(tmp_path / "backbone", "cpu", "fp32")
    model = open_clip.create_model(name).eval()
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    names = [[320, 1000], [530], [7, 8, 9]]
    sos, eos = backbone.text.sos, backbone.text.eos
    tokens = torch.zeros(3, backbone.text.context_length, dtype=torch.long)
    for row, ids in zip(tokens, names, strict=True):
        row[: len(ids) + 2] = torch.tensor([sos, *ids, eos])
    seen = ((images / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
    layout = text_layout(names, sos=sos, eos=eos, context_length=backbone.text.context_length)
    with torch.no_grad():
        for found, expected in (
            (backbone.image(images)[0], model.encode_image(seen, normalize=True)),
            (backbone.text(layout)[0], model.encode_text(tokens, normalize=True)),
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    other = write_open_clip(tmp_path / "plain")
    plain = open_clip.create_model(other).eval()
    with torch.no_grad():  # or this test would say nothing
        assert (plain.encode_image(seen) - model.encode_image(seen)).abs().max() > 1e-3


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "list"])
@pytest.mark.parametrize("name", ["backbone.json", "backbone.safetensors"])
def test_a_converted_folder_that_is_not_whole_is_one_sentence(
    tmp_path: Path, name: str, damage: str
) -> None:
    whole = tmp_path / "whole"
    convert_backbone(write_open_clip(tmp_path / "clip"), "", whole)
    for file in ("backbone.json", "backbone.safetensors"):
        (tmp_path / file).write_bytes((whole / file).read_bytes())
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(
            {"empty": b"", "cut": content[: len(content) // 2], "list": b"[1]"}[damage]
        )
    with pytest.raises(InputError, match=rf"{name}: not a whole converted backbone") as caught:
        load_backbone(tmp_path, "cpu", "fp32")
    assert "\n" not in str(caught.value)
