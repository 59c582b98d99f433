"""The three prompt methods. A prompt only makes vectors; the backbone joins them to its tokens.

Every parameter has a leading `runs` axis: R independent prompts, tuned side by side.

- text (CoOp, arXiv 2109.01134): context vectors around the class name;
- visual (VPT, arXiv 2203.12119): prompt tokens at every layer (deep) or at the first (shallow);
- unified (UPT, arXiv 2210.07225): both, passed together through one small transformer layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvlpt_core.backbone.textlayout import POSITIONS
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError

METHODS = ("text", "visual", "unified")
DEPTHS = ("deep", "shallow")


@dataclass(frozen=True)
class Vectors:
    """What a prompt gives the towers: `text` [R, n, W] or [R, C, n, W]; `visual` [R, L, n, W]."""

    text: Tensor | None = None
    visual: Tensor | None = None


@dataclass(frozen=True)
class TextSettings:
    n_ctx: int = 16
    position: str = "middle"
    class_specific: bool = False

    def __post_init__(self) -> None:
        _positive("text.n_ctx", self.n_ctx)
        _one_of("text.position", self.position, POSITIONS)


@dataclass(frozen=True)
class VisualSettings:
    n_ctx: int = 16
    depth: str = "deep"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _positive("visual.n_ctx", self.n_ctx)
        _one_of("visual.depth", self.depth, DEPTHS)
        _share("visual.dropout", self.dropout)


@dataclass(frozen=True)
class UnifiedSettings:
    n_ctx_text: int = 4
    n_ctx_visual: int = 4
    position: str = "middle"
    depth: str = "deep"
    width: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for key in ("n_ctx_text", "n_ctx_visual", "width"):
            _positive(f"unified.{key}", getattr(self, key))
        _one_of("unified.position", self.position, POSITIONS)
        _one_of("unified.depth", self.depth, DEPTHS)
        _share("unified.dropout", self.dropout)


def _positive(key: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"methods.{key} is {value!r}; expected a whole number of at least 1.")


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"methods.{key} is '{value}'; expected one of {', '.join(known)}.")


def _share(key: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(
            f"methods.{key} is {value}; expected a share from 0 up to, not including, 1."
        )


class Prompt(nn.Module):
    """R prompts of one method. `forward()` makes the vectors that the towers take."""

    method: ClassVar[str]
    settings: Any
    dropout: float = 0.0

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.runs = runs

    def forward(self) -> Vectors:
        raise AssertionError("each method makes its own vectors")

    def start_from(self, run: int, state: Mapping[str, Tensor], path: object) -> None:
        """Put a saved prompt (tensors without a runs axis) into one run; strict in names and shapes.

        Raises `InputError` naming `path`, the tensor and both shapes.
        """
        own = dict(self.named_parameters())
        if set(state) != set(own):
            raise InputError(
                f"prompt file '{path}' holds the tensors {sorted(state)}; expected {sorted(own)}."
            )
        with torch.no_grad():
            for name, value in state.items():
                if value.shape != own[name].shape[1:]:
                    raise InputError(
                        f"prompt file '{path}' holds '{name}' with shape {list(value.shape)}; expected "
                        f"{list(own[name].shape[1:])}."
                    )
                own[name][run].copy_(value)

    def state_of(self, run: int) -> dict[str, Tensor]:
        """One run's parameters, without the runs axis, on the CPU in fp32."""
        return {
            name: value.detach()[run].to("cpu", torch.float32).clone()
            for name, value in self.named_parameters()
        }


class TextPrompt(Prompt):
    method = "text"

    def __init__(
        self, settings: TextSettings, seeds: Sequence[int], backbone: Backbone, n_classes: int
    ) -> None:
        super().__init__(len(seeds))
        self.settings = settings
        per_class = (n_classes,) if settings.class_specific else ()
        shape = (*per_class, settings.n_ctx, backbone.text.width)
        self.text = _parameter([_normal(shape, g) for g in _generators(seeds)], backbone)

    def forward(self) -> Vectors:
        return Vectors(text=self.text)


class VisualPrompt(Prompt):
    method = "visual"

    def __init__(self, settings: VisualSettings, seeds: Sequence[int], backbone: Backbone) -> None:
        super().__init__(len(seeds))
        self.settings = settings
        self.dropout = settings.dropout
        shape = _visual_shape(backbone, settings.depth, settings.n_ctx)
        self.visual = _parameter(
            [_uniform(shape, g, backbone) for g in _generators(seeds)], backbone
        )

    def forward(self) -> Vectors:
        return Vectors(visual=self.visual)


class UnifiedPrompt(Prompt):
    """Text and visual vectors, mixed by a coupler that every run tunes for itself.

    All text and visual vectors (of all layers) form one sequence: linear to `width`, one transformer
    layer with one head (pre-norm, QuickGELU), linear back; where a tower's width is `width` already,
    its two linear maps are left out, as in the published code.
    """

    method = "unified"

    def __init__(self, settings: UnifiedSettings, seeds: Sequence[int], backbone: Backbone) -> None:
        super().__init__(len(seeds))
        self.settings = settings
        self.dropout = settings.dropout
        text_shape = (settings.n_ctx_text, backbone.text.width)
        visual_shape = _visual_shape(backbone, settings.depth, settings.n_ctx_visual)
        generators = _generators(seeds)
        self.text = _parameter([_normal(text_shape, g) for g in generators], backbone)
        self.visual = _parameter(
            [_uniform(visual_shape, g, backbone) for g in generators], backbone
        )
        self.coupler = nn.ParameterDict()
        w = settings.width
        for name, size in (("text", text_shape[-1]), ("visual", visual_shape[-1])):
            if size != w:
                self._add_linear(f"{name}_in", size, w, generators, backbone)
                self._add_linear(f"{name}_out", w, size, generators, backbone)
        for name, size_in, size_out in (
            ("qkv", w, 3 * w),
            ("out", w, w),
            ("fc", w, 4 * w),
            ("proj", 4 * w, w),
        ):
            self._add_linear(name, size_in, size_out, generators, backbone)
        for name in ("ln_1", "ln_2"):
            self.coupler[f"{name}_weight"] = _parameter([torch.ones(w) for _ in seeds], backbone)
            self.coupler[f"{name}_bias"] = _parameter([torch.zeros(w) for _ in seeds], backbone)

    def _add_linear(
        self, name: str, size_in: int, size_out: int, generators: list[Any], backbone: Backbone
    ) -> None:
        # torch's own initialisations: xavier for attention's input, else uniform with fan-in.
        bound = math.sqrt(6 / (size_in + size_out)) if name == "qkv" else 1 / math.sqrt(size_in)
        weight = [_between(bound, (size_out, size_in), g) for g in generators]
        attention = name in ("qkv", "out")
        bias = [
            torch.zeros(size_out) if attention else _between(bound, (size_out,), g)
            for g in generators
        ]
        self.coupler[f"{name}_weight"] = _parameter(weight, backbone)
        self.coupler[f"{name}_bias"] = _parameter(bias, backbone)

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
        x = x + self._linear("out", F.scaled_dot_product_attention(q, k, v))
        hidden = self._linear("fc", self._norm("ln_2", x))
        x = x + self._linear("proj", hidden * torch.sigmoid(1.702 * hidden))
        text, visual = x[:, : self.text.shape[1]], x[:, self.text.shape[1] :]
        if "text_out_weight" in self.coupler:
            text = self._linear("text_out", text)
        if "visual_out_weight" in self.coupler:
            visual = self._linear("visual_out", visual)
        return Vectors(text=text, visual=visual.reshape(-1, layers, n, width))


def parse_settings(method: str, settings: Mapping[str, Any]) -> Any:
    """The method's settings from a mapping; keys that belong to the job (`lr`, `class_text`) pass."""
    kinds: dict[str, Any] = {
        "text": TextSettings,
        "visual": VisualSettings,
        "unified": UnifiedSettings,
    }
    if method not in kinds:
        raise InputError(f"method '{method}' is unknown; expected one of {', '.join(METHODS)}.")
    kind = kinds[method]
    own = {k: v for k, v in settings.items() if k not in ("lr", "class_text")}
    unknown = set(own) - set(kind.__dataclass_fields__)
    if unknown:
        raise InputError(
            f"methods.{method} has the unknown key '{min(unknown)}'; expected "
            f"{', '.join(kind.__dataclass_fields__)}."
        )
    return kind(**own)


def make_prompt(settings: Any, seeds: Sequence[int], backbone: Backbone, n_classes: int) -> Prompt:
    """Fresh prompts, one per seed, each initialised as if it were alone."""
    if isinstance(settings, TextSettings):
        return TextPrompt(settings, seeds, backbone, n_classes)
    if isinstance(settings, VisualSettings):
        return VisualPrompt(settings, seeds, backbone)
    return UnifiedPrompt(settings, seeds, backbone)


def describe(prompt: Prompt) -> dict[str, Any]:
    """Method and settings, as written into a prompt file's header."""
    return {"method": prompt.method, "settings": asdict(prompt.settings)}


def _visual_shape(backbone: Backbone, depth: str, n_ctx: int) -> tuple[int, int, int]:
    layers = len(backbone.image.blocks) if depth == "deep" else 1
    return (layers, n_ctx, backbone.image.width)


def _generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator) * 0.02


def _uniform(shape: tuple[int, ...], generator: torch.Generator, backbone: Backbone) -> Tensor:
    # VPT's initialisation: +-sqrt(6 / (3 p^2 + d)).
    return _between(
        math.sqrt(6 / (3 * backbone.image.patch_size**2 + backbone.image.width)), shape, generator
    )


def _between(bound: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


def _parameter(values: list[Tensor], backbone: Backbone) -> nn.Parameter:
    return nn.Parameter(torch.stack(values).to(backbone.device, backbone.dtype))
