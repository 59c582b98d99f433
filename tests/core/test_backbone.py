"""The frozen backbone against open_clip's own towers, with and without prompts."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import CustomTextCLIP

from mvlpt_core.backbone.convert import convert_model
from mvlpt_core.backbone.device import resolve_device, resolve_precision
from mvlpt_core.backbone.textlayout import POSITIONS, TextLayout, text_layout
from mvlpt_core.backbone.towers import build_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.methods import METHODS
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Towers, make_prompt
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from speed.plain import plain_image, plain_text
from support.engine_reference import (
    CONTEXT,
    DOT,
    EOS,
    NAMES,
    SOS,
    pixels,
    random_images,
    small_clip,
    small_clip_weights,
)

VARIANTS = [
    {"quick_gelu": False, "custom": False, "layer_scale": None},
    {"quick_gelu": True, "custom": False, "layer_scale": None},
    {"quick_gelu": False, "custom": True, "layer_scale": 0.1},
    {"quick_gelu": True, "custom": True, "layer_scale": 0.1},
]
# Folding layer scale and QuickGELU's factor into the stored fp32 weights rounds them once.
FOLDED = 1e-6


def layout(suffix: list[int] | None = None, **options: object) -> TextLayout:
    return text_layout(
        NAMES, sos=SOS, eos=EOS, suffix=suffix or [], context_length=CONTEXT, **options
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_a_prompt_features_equal_open_clip(variant: dict[str, object]) -> None:
    model, backbone = small_clip(**variant)  # type: ignore[arg-type]
    images = random_images(5)
    tokens = torch.zeros(len(NAMES), CONTEXT, dtype=torch.long)
    for row, name in zip(tokens, NAMES, strict=True):
        row[: len(name) + 2] = torch.tensor([SOS, *name, EOS])
    expected_image = model.encode_image(pixels(images, backbone), normalize=True)
    expected_text = model.encode_text(tokens, normalize=True)
    torch.testing.assert_close(backbone.image(images)[0], expected_image, rtol=0, atol=FOLDED)
    torch.testing.assert_close(backbone.text(layout())[0], expected_text, rtol=0, atol=FOLDED)


@pytest.mark.parametrize("depth", ["deep", "shallow"])
@pytest.mark.parametrize("layers", [1, 3])
def test_visual_prompts_equal_the_plain_tower(depth: str, layers: int) -> None:
    model, backbone = small_clip(layers=layers)
    images = random_images(5)
    prompt = torch.randn(4, layers if depth == "deep" else 1, 3, 64, dtype=torch.float64)
    found = backbone.image(images, prompt)
    for run in range(4):
        expected = plain_image(model, pixels(images, backbone), prompt[run])
        torch.testing.assert_close(found[run], expected, rtol=0, atol=1e-12)


def test_visual_prompts_of_each_image_equal_the_plain_tower() -> None:
    model, backbone = small_clip()
    images = random_images(5)
    prompt = torch.randn(2, 3, 5, 3, 64, dtype=torch.float64)  # [R, L, B, P, W]
    found = backbone.image(images, prompt)
    for run in range(2):
        expected = plain_image(model, pixels(images, backbone), prompt[run].transpose(0, 1))
        torch.testing.assert_close(found[run], expected, rtol=0, atol=1e-12)


def test_each_run_may_have_its_own_images() -> None:
    _, backbone = small_clip()
    images = torch.stack([random_images(5, seed) for seed in range(3)])
    prompt = torch.randn(3, 3, 2, 64, dtype=torch.float64)
    together = backbone.image(images, prompt)
    for run in range(3):
        alone = backbone.image(images[run], prompt[run : run + 1])
        torch.testing.assert_close(together[run], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("n_ctx", [1, 4, 5])
@pytest.mark.parametrize("max_tokens", [None, 12])
def test_text_prompts_equal_the_plain_tower(
    position: str, n_ctx: int, max_tokens: int | None
) -> None:
    model, backbone = small_clip()
    shape = (3, n_ctx, 48)
    context = torch.randn(*shape, dtype=torch.float64)
    where = layout([DOT], n_ctx=n_ctx, position=position, max_tokens=max_tokens)
    assert len(where.chunks) == 1 if max_tokens is None else len(where.chunks) > 1
    found = backbone.text(where, context)
    for run in range(3):
        expected = plain_text(model, NAMES, context[run], position, [DOT])
        torch.testing.assert_close(found[run], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["text", "unified"])
@pytest.mark.parametrize("classes", [1, 3])
def test_chunks_of_classes_change_neither_logits_nor_gradients(method: str, classes: int) -> None:
    _, backbone = small_clip()
    context = {"text": {"n_ctx": 4}, "unified": {"n_ctx_text": 4, "n_ctx_visual": 2}}
    own = METHODS[method](**context[method])
    prompt = make_prompt(own, Towers.of(backbone), 2)
    for run in range(2):
        starts.random(run)(prompt, run)
    images, labels = random_images(5), torch.arange(5)
    found = []
    for whole in (True, False):
        # Prefix, then names of one to four tokens with the rest of the context, stop and end.
        rest = own.text_ctx - own.text_ctx // 2 + 2
        bound = None if whole else 1 + own.text_ctx // 2 + classes * (4 + rest)
        where = layout([DOT], n_ctx=own.text_ctx, max_tokens=bound)
        assert len(where.chunks) == 1 if whole else len(where.chunks) >= len(NAMES) / (classes + 1)
        classifier, vectors = Classifier(backbone, where), prompt()
        logits = classifier.logits(classifier.text(vectors), classifier.image(vectors, images))
        loss = losses(logits, Pool(images, labels)).sum()
        found.append([logits, *torch.autograd.grad(loss, list(prompt.parameters()))])
    for at_once, chunked in zip(*found, strict=True):
        assert at_once.abs().max() > 0
        torch.testing.assert_close(chunked, at_once, rtol=0, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=9),
    n_ctx=st.integers(0, 5),
    position=st.sampled_from(POSITIONS),
    max_tokens=st.none() | st.integers(1, 40),
)
def test_layout_holds_every_token_once(
    lengths: list[int], n_ctx: int, position: str, max_tokens: int | None
) -> None:
    names = [[10 * c + j + 1 for j in range(n)] for c, n in enumerate(lengths)]
    where = text_layout(
        names,
        sos=SOS,
        eos=EOS,
        suffix=[DOT],
        n_ctx=n_ctx,
        position=position,
        context_length=CONTEXT,
        max_tokens=max_tokens,
    )
    assert sorted(where.order.tolist()) == list(range(len(names)))
    ends = [row for chunk in where.chunks for row in chunk.end_rows.tolist()]
    assert len(ends) == len(names)
    kept = [t for c in where.chunks for t in (c.tokens * c.is_token[:, 0].long()).tolist()]
    assert sorted(t for t in kept if 0 < t < DOT) == sorted(t for name in names for t in name)
    for chunk in where.chunks:
        assert torch.equal(chunk.selection.sum(1), 1 - chunk.is_token[:, 0])
        assert chunk.positions.max() < CONTEXT


def test_a_text_longer_than_the_tower_is_an_error() -> None:
    with pytest.raises(InputError, match="class 5 needs 21 text tokens with 15 context vectors"):
        layout(n_ctx=15)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_products_stay_close_to_fp32(half: torch.dtype) -> None:
    weights, config = small_clip_weights()
    features = []
    for dtype in (torch.float32, half):
        backbone = build_backbone(weights, config, torch.device("cpu"), dtype)
        prompt = torch.randn(2, 3, 2, 64, generator=torch.Generator().manual_seed(1))
        features.append(backbone.image(random_images(5), prompt))
        assert features[-1].dtype == torch.float32
    similarity = (features[0] * features[1]).sum(-1)
    assert similarity.min() > 0.999


def test_weights_need_no_gradient() -> None:
    _, backbone = small_clip()
    tensors = [backbone.text.embedding, *(b.qkv.weight for b in backbone.image.blocks)]
    assert not any(t.requires_grad for t in tensors)


def test_absent_device_and_unknown_precision_are_errors() -> None:
    with pytest.raises(InputError, match="device 'cuda:99' is not there"):
        resolve_device("cuda:99")
    with pytest.raises(InputError, match="device 'tpu9' is not there"):
        resolve_device("tpu9")
    with pytest.raises(InputError, match=r"backbone\.precision 'fp8' is unknown"):
        resolve_precision("fp8", torch.device("cpu"), 768)


@pytest.mark.parametrize(
    ("able", "width", "chosen"),
    [
        ({"amx_bf16": True}, 768, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False}, 768, torch.float32),
        ({"amx_bf16": True}, 192, torch.float32),  # small products: nothing to gain
        ({"avx512_f": True}, 768, torch.float32),
        ({}, 768, torch.float32),
    ],
)
def test_auto_is_bf16_on_processors_that_gain_from_it(
    monkeypatch: pytest.MonkeyPatch, able: dict, width: int, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert resolve_precision("auto", torch.device("cpu"), width) == chosen
    assert resolve_precision("fp32", torch.device("cpu"), width) == torch.float32


_STEPS = """
import resource, sys, torch
from mvlpt_core.backbone.device import keep_freed_memory
if sys.argv[1:]:
    keep_freed_memory(torch.device("cpu"))
for step in range(30):
    if step == 10:  # the first ones still find pieces that are too small
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.full((64 << 18,), 1.0)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_activations_of_the_next_step_need_no_new_memory() -> None:
    given_back, kept = (
        int(subprocess.check_output([sys.executable, "-c", _STEPS, *given]))
        for given in ([], ["keep"])
    )
    assert kept < given_back / 4


@pytest.mark.parametrize(
    ("capability", "chosen"), [((7, 5), torch.float32), ((9, 0), torch.bfloat16)]
)
def test_auto_is_fp32_on_gpus_that_emulate_bf16(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], chosen: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda"), 192) == chosen


@pytest.mark.parametrize(
    ("vision", "text", "message"),
    [
        ({"pool_type": "avg"}, {}, "its image tower has no class token"),
        ({}, {"no_causal_mask": True}, "its text tower is not causal"),
        ({}, {"pool_type": "last"}, "its text is pooled by 'last'"),
        ({"layers": [1, 1, 1, 1]}, {}, "its image tower is a ModifiedResNet"),
        ({"block_type": "custom"}, {}, "it has blocks of type CustomResidualAttentionBlock"),
    ],
)
def test_what_is_not_a_vit_clip_is_an_error(vision: dict, text: dict, message: str) -> None:
    model = CustomTextCLIP(
        32,
        {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32, **vision},
        {"context_length": 8, "vocab_size": 20, "width": 32, "heads": 1, "layers": 1, **text},
    )
    with pytest.raises(InputError, match=message):
        convert_model(model, "other")
