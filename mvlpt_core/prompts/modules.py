"""The three prompt methods. A prompt only makes vectors; the backbone joins them to its tokens.

Every parameter has a leading `runs` axis: R independent prompts, tuned side by side. How a run begins is
not decided here: see `starts`.

- text (CoOp, arXiv 2109.01134): context vectors around the class name;
- visual (VPT, arXiv 2203.12119): prompt tokens at every layer (deep) or at the first (shallow);
- unified (UPT, arXiv 2210.07225): both, passed together through one small transformer layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.methods import Method, TextMethod, UnifiedMethod, VisualMethod

State = dict[str, Tensor]  # one prompt: tensors without a runs axis


@dataclass(frozen=True)
class Vectors:
    """What a prompt gives the towers: `text` [R, n, W]; `visual` [R, L, n, W]."""

    text: Tensor | None = None
    visual: Tensor | None = None

    def take(self, runs: list[int]) -> Vectors:
        """The vectors of some of the runs."""
        return Vectors(
            None if self.text is None else self.text[runs],
            None if self.visual is None else self.visual[runs],
        )


@dataclass(frozen=True)
class Towers:
    """What a prompt must know of a backbone."""

    text_width: int
    image_width: int
    layers: int  # of the image tower
    patch_size: int
    device: torch.device
    dtype: torch.dtype

    @staticmethod
    def of(backbone: Backbone) -> Towers:
        image = backbone.image
        return Towers(
            backbone.text.width,
            image.width,
            len(image.blocks),
            image.patch_size,
            backbone.device,
            backbone.dtype,
        )

    def visual_shape(self, depth: str, n_ctx: int) -> tuple[int, int, int]:
        return (self.layers if depth == "deep" else 1, n_ctx, self.image_width)


class Prompt(nn.Module):
    """R prompts of one method. `forward()` makes the vectors that the towers take."""

    method: ClassVar[str]
    settings: Method

    def __init__(self, settings: Any, towers: Towers, runs: int) -> None:
        super().__init__()
        self.settings, self.towers, self.runs = settings, towers, runs

    def forward(self) -> Vectors:
        raise AssertionError("each method makes its own vectors")

    def fresh(self, generator: torch.Generator) -> State:
        """A random prompt of this kind, drawn with `generator`."""
        raise AssertionError("each method draws its own vectors")

    def fill(self, run: int, state: Mapping[str, Tensor], where: str) -> None:
        """Put one prompt into a run; strict in names and shapes.

        Raises `InputError` naming `where` it comes from, the tensor and both shapes.
        """
        own = dict(self.named_parameters())
        if set(state) != set(own):
            raise InputError(f"{where} holds the tensors {sorted(state)}: expected {sorted(own)}")
        with torch.no_grad():
            for name, value in state.items():
                if value.shape != own[name].shape[1:]:
                    raise InputError(
                        f"{where} holds '{name}' with shape {list(value.shape)}: expected "
                        f"{list(own[name].shape[1:])}"
                    )
                own[name][run].copy_(value)

    def state_of(self, run: int) -> State:
        """One run's parameters, without the runs axis, on the CPU in fp32."""
        return {
            name: value.detach()[run].to("cpu", torch.float32).clone()
            for name, value in self.named_parameters()
        }

    def _empty(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(
            torch.zeros(self.runs, *shape, device=self.towers.device, dtype=self.towers.dtype)
        )


class TextPrompt(Prompt):
    method = "text"

    def __init__(self, settings: TextMethod, towers: Towers, runs: int) -> None:
        super().__init__(settings, towers, runs)
        self.text = self._empty(settings.n_ctx, towers.text_width)

    def forward(self) -> Vectors:
        return Vectors(text=self.text)

    def fresh(self, generator: torch.Generator) -> State:
        return {"text": _normal(self.text.shape[1:], generator)}


class VisualPrompt(Prompt):
    method = "visual"

    def __init__(self, settings: VisualMethod, towers: Towers, runs: int) -> None:
        super().__init__(settings, towers, runs)
        self.visual = self._empty(*towers.visual_shape(settings.depth, settings.n_ctx))

    def forward(self) -> Vectors:
        return Vectors(visual=self.visual)

    def fresh(self, generator: torch.Generator) -> State:
        return {"visual": _vpt(self.visual.shape[1:], generator, self.towers)}


class UnifiedPrompt(Prompt):
    """Text and visual vectors, mixed by a coupler that every run tunes for itself.

    All text and visual vectors (of all layers) form one sequence: linear to `width`, one transformer
    layer with one head (pre-norm, QuickGELU), linear back; where a tower's width is `width` already,
    its two linear maps are left out, as in the published code. Under `coupling: per_token` each vector
    attends to itself alone: the published code hands its layer [1, T, w] where that expects sequence
    first.
    """

    method = "unified"
    settings: UnifiedMethod

    def __init__(self, settings: UnifiedMethod, towers: Towers, runs: int) -> None:
        super().__init__(settings, towers, runs)
        self.text = self._empty(settings.n_ctx_text, towers.text_width)
        self.visual = self._empty(*towers.visual_shape(settings.depth, settings.n_ctx_visual))
        self.coupler = nn.ParameterDict()
        for name, size_in, size_out in self._linears():
            self.coupler[f"{name}_weight"] = self._empty(size_out, size_in)
            self.coupler[f"{name}_bias"] = self._empty(size_out)
        for name in ("ln_1", "ln_2"):
            self.coupler[f"{name}_weight"] = self._empty(settings.width)
            self.coupler[f"{name}_bias"] = self._empty(settings.width)

    def _linears(self) -> list[tuple[str, int, int]]:
        """Name, size in and size out of the coupler's linear maps."""
        w = self.settings.width
        found = []
        for name, size in (("text", self.towers.text_width), ("visual", self.towers.image_width)):
            if size != w:
                found += [(f"{name}_in", size, w), (f"{name}_out", w, size)]
        return [*found, ("qkv", w, 3 * w), ("out", w, w), ("fc", w, 4 * w), ("proj", 4 * w, w)]

    def fresh(self, generator: torch.Generator) -> State:
        state = {
            "text": _normal(self.text.shape[1:], generator),
            "visual": _vpt(self.visual.shape[1:], generator, self.towers),
        }
        # torch's own initialisations: xavier for attention's input, else uniform with fan-in.
        for name, size_in, size_out in self._linears():
            bound = math.sqrt(6 / (size_in + size_out)) if name == "qkv" else 1 / math.sqrt(size_in)
            state[f"coupler.{name}_weight"] = _between(bound, (size_out, size_in), generator)
            attention = name in ("qkv", "out")
            bias = torch.zeros(size_out) if attention else _between(bound, (size_out,), generator)
            state[f"coupler.{name}_bias"] = bias
        width = self.coupler["ln_1_weight"].shape[-1]
        for name in ("ln_1", "ln_2"):
            state[f"coupler.{name}_weight"] = torch.ones(width)
            state[f"coupler.{name}_bias"] = torch.zeros(width)
        return state

    def _linear(self, name: str, x: Tensor) -> Tensor:
        """A linear map per run: x [R, T, in] to [R, T, out]."""
        weight, bias = self.coupler[f"{name}_weight"], self.coupler[f"{name}_bias"]
        return torch.baddbmm(bias[:, None], x, weight.mT)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        x = F.layer_norm(x, x.shape[-1:])
        return x * self.coupler[f"{name}_weight"][:, None] + self.coupler[f"{name}_bias"][:, None]

    def forward(self) -> Vectors:
        _, layers, n, width = self.visual.shape
        text: Tensor = self.text
        visual: Tensor = self.visual.flatten(1, 2)
        if "text_in_weight" in self.coupler:
            text = self._linear("text_in", text)
        if "visual_in_weight" in self.coupler:
            visual = self._linear("visual_in", visual)
        x = torch.cat([text, visual], 1)  # [R, T, w]
        q, k, v = self._linear("qkv", self._norm("ln_1", x)).chunk(3, -1)
        if self.settings.coupling == "joint":
            v = F.scaled_dot_product_attention(q, k, v)
        x = x + self._linear("out", v)  # a token's attention to itself alone is its own value
        hidden = self._linear("fc", self._norm("ln_2", x))
        x = x + self._linear("proj", hidden * torch.sigmoid(1.702 * hidden))
        text, visual = x[:, : self.text.shape[1]], x[:, self.text.shape[1] :]
        if "text_out_weight" in self.coupler:
            text = self._linear("text_out", text)
        if "visual_out_weight" in self.coupler:
            visual = self._linear("visual_out", visual)
        return Vectors(text=text, visual=visual.reshape(-1, layers, n, width))


_KINDS: dict[type[Any], type[Prompt]] = {
    TextMethod: TextPrompt,
    VisualMethod: VisualPrompt,
    UnifiedMethod: UnifiedPrompt,
}


def make_prompt(settings: Method, towers: Towers, runs: int) -> Prompt:
    """`runs` prompts of the method that the settings belong to, still to be filled by starts."""
    return _KINDS[type(settings)](settings, towers, runs)


# Settings of a method that do not decide whether a prompt fits.
_FREE = {"lr", "dropout", "class_text"}


def describe(prompt: Prompt) -> dict[str, Any]:
    """Method and settings that decide a prompt's shape and use, as written into its file's header."""
    return {"method": prompt.method, "settings": prompt.settings.model_dump(exclude=_FREE)}


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator) * 0.02


def _vpt(shape: tuple[int, ...], generator: torch.Generator, towers: Towers) -> Tensor:
    # VPT's initialisation: +-sqrt(6 / (3 p^2 + d)).
    bound = math.sqrt(6 / (3 * towers.patch_size**2 + towers.image_width))
    return _between(bound, shape, generator)


def _between(bound: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound
