"""Prompts: shapes and vectors, strict filling, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.methods import METHODS
from mvlpt_core.contract.tensors import write_tensors
from mvlpt_core.prompts.file import load_prompt, save_prompt
from mvlpt_core.prompts.modules import Prompt, State, Towers, Vectors, describe, make_prompt

TOWERS = Towers(12, 10, 3, 8, torch.device("cpu"), torch.float64)
HEADER = {
    "method": "text",
    "settings": {"n_ctx": 2, "position": "middle"},
    "backbone": "small",
    "backbone_digest": "d",
    "status": "ok",
}


def prompt_of(method: str, runs: int = 2, **settings: Any) -> Prompt:
    return make_prompt(METHODS[method](**settings), TOWERS, runs)


def shape(vectors: Vectors) -> tuple[list[int] | None, list[int] | None]:
    text, visual = vectors.text, vectors.visual
    return (
        None if text is None else list(text.shape),
        None if visual is None else list(visual.shape),
    )


def test_vectors_have_a_run_axis_and_the_widths_of_the_towers() -> None:
    assert shape(prompt_of("text", n_ctx=4)()) == ([2, 4, 12], None)
    assert shape(prompt_of("visual", n_ctx=4)()) == (None, [2, 3, 4, 10])
    assert shape(prompt_of("visual", n_ctx=4, depth="shallow")()) == (None, [2, 1, 4, 10])
    for width in (12, 10, 7):  # as wide as the text tower, the image tower, neither
        unified = prompt_of("unified", n_ctx_text=4, n_ctx_visual=5, width=width)
        assert shape(unified()) == ([2, 4, 12], [2, 3, 5, 10])


def published_coupler(state: State, per_token: bool) -> torch.Tensor:
    """The published coupler, torch's own layer, on a prompt whose towers are as wide as it is."""
    layer = torch.nn.TransformerEncoderLayer(
        12, 1, 48, 0.0, lambda x: x * torch.sigmoid(1.702 * x), norm_first=True
    ).double()
    names = {
        "self_attn.in_proj_": "qkv",
        "self_attn.out_proj.": "out",
        "linear1.": "fc",
        "linear2.": "proj",
        "norm1.": "ln_1",
        "norm2.": "ln_2",
    }
    layer.load_state_dict(
        {
            f"{theirs}{part}": state[f"coupler.{ours}_{part}"]
            for theirs, ours in names.items()
            for part in ("weight", "bias")
        }
    )
    x = torch.cat([state["text"], state["visual"].flatten(0, 1)]).double()
    # The layer takes [sequence, batch, width]: its [1, tokens, width] are sequences of one token.
    return layer(x[None])[0] if per_token else layer(x[:, None])[:, 0]


def test_the_coupler_couples_or_repeats_the_published_code() -> None:
    towers = Towers(12, 12, 3, 8, torch.device("cpu"), torch.float64)
    found = {}
    for coupling in ("joint", "per_token"):
        settings = METHODS["unified"](n_ctx_text=2, n_ctx_visual=2, width=12, coupling=coupling)
        prompt = make_prompt(settings, towers, 2)
        state = prompt.fresh(torch.Generator().manual_seed(1))
        prompt.fill(1, state, "the state")
        vectors = prompt()
        assert vectors.text is not None
        assert vectors.visual is not None
        found[coupling] = torch.cat([vectors.text[1], vectors.visual[1].flatten(0, 1)])
        expected = published_coupler(state, coupling == "per_token")
        torch.testing.assert_close(found[coupling], expected, rtol=0, atol=1e-12)
    assert (found["joint"] - found["per_token"]).abs().max() > 1e-3


def test_some_runs_of_the_vectors_can_be_taken() -> None:
    vectors = Vectors(torch.arange(3.0)[:, None, None], None)
    taken = vectors.take([2, 0])
    assert taken.text is not None
    assert taken.text.flatten().tolist() == [2, 0]
    assert taken.visual is None


def test_a_run_is_filled_whole_or_refused() -> None:
    prompt = prompt_of("text", n_ctx=2)
    prompt.fill(1, {"text": torch.ones(2, 12)}, "a state")
    assert prompt.state_of(0)["text"].sum() == 0
    assert prompt.state_of(1)["text"].sum() == 24
    assert prompt.state_of(1)["text"].dtype == torch.float32
    with pytest.raises(InputError, match=r"^here holds the tensors \['b'\]: expected \['text'\]$"):
        prompt.fill(0, {"b": torch.ones(2, 12)}, "here")
    message = r"^here holds 'text' with shape \[12\]: expected \[2, 12\]$"
    with pytest.raises(InputError, match=message):  # which would broadcast
        prompt.fill(0, {"text": torch.ones(12)}, "here")


def test_what_does_not_decide_whether_a_prompt_fits_is_not_compared() -> None:
    one = describe(prompt_of("visual", lr=0.1, dropout=0.3, class_text="templates"))
    other = describe(prompt_of("visual"))
    assert one == other == {"method": "visual", "settings": {"n_ctx": 16, "depth": "deep"}}


def test_a_file_gives_back_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "deep/prompt.safetensors"
    state = {"text": torch.randn(2, 12)}
    save_prompt(path, state, HEADER)
    found = load_prompt(path, "text", {"n_ctx": 2}, "d")
    assert set(found) == {"text"}
    assert torch.equal(found["text"], state["text"])
    assert list(tmp_path.glob("deep/*")) == [path]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"method": "visual"}, "holds a visual prompt: expected text"),
        ({"backbone_digest": "e"}, "tuned on backbone 'small' with other weights"),
        ({"settings": {"n_ctx": 3}}, r"tuned with text\.n_ctx = 3: expected 2"),
        ({"settings": {}}, r"tuned with text\.n_ctx = None: expected 2"),
        ({"settings": [1]}, r"settings \[1\]: expected a mapping"),
        ({"method": None}, "holds a None prompt: expected text"),
        *(
            ({key: ...}, f"has no '{key}'")
            for key in ("method", "settings", "backbone", "backbone_digest", "status")
        ),
    ],
)
def test_a_file_of_another_prompt_is_one_sentence(
    tmp_path: Path, header: dict[str, Any], message: str
) -> None:
    path = tmp_path / "prompt.safetensors"
    merged = {key: value for key, value in {**HEADER, **header}.items() if value is not ...}
    write_tensors(path, "prompt", merged, {"text": torch.zeros(2, 12).numpy()})
    with pytest.raises(InputError, match=message) as caught:
        load_prompt(path, "text", {"n_ctx": 2}, "d")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensors_that_changed_since_they_were_written_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompt.safetensors"
    save_prompt(path, {"text": torch.zeros(2, 12)}, HEADER)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + b"\x01")
    assert load_file(path)["text"].flatten()[-1] != 0  # whole, but not what was written
    with pytest.raises(InputError, match="not what was written"):
        load_prompt(path, "text", {"n_ctx": 2}, "d")
    path.write_bytes(raw[:-1])
    with pytest.raises(InputError, match="not a prompt file"):
        load_prompt(path, "text", {"n_ctx": 2}, "d")
    for metadata in ({"prompt": "[1]"}, {"prompt": "{"}, {"other": "{}"}, None):
        save_file({"text": torch.zeros(2, 12)}, path, metadata=metadata)
        with pytest.raises(InputError, match="prompt"):
            load_prompt(path, "text", {"n_ctx": 2}, "d")


def test_a_prompt_with_a_nan_is_refused_unless_it_is_said_to_have_diverged(tmp_path: Path) -> None:
    path = tmp_path / "prompt.safetensors"
    save_prompt(path, {"text": torch.full((2, 12), torch.nan)}, HEADER)
    with pytest.raises(InputError, match="holds a NaN or an infinity"):
        load_prompt(path, "text", {"n_ctx": 2}, "d")
    save_prompt(path, {"text": torch.full((2, 12), torch.nan)}, {**HEADER, "status": "diverged"})
    assert load_prompt(path, "text", {"n_ctx": 2}, "d")["text"].isnan().all()
