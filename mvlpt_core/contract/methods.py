"""The settings of the three prompt methods, and what each asks of the towers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, PrivateAttr, field_validator, model_validator

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.schema import SHARE, Settings, key, whole
from mvlpt_core.contract.templates import read_template


def _lr() -> Any:
    return key(
        "learning rate after the warm-up",
        "a number above 0 with a decimal point (0.002)",
        0.002,
        "first, when a method does not learn or diverges",
        gt=0,
    )


def _dropout() -> Any:
    return key("dropout on the visual prompt tokens while tuning", SHARE, 0.0, ge=0, lt=1)


def _position() -> Any:
    return key("place of the class name among the context vectors", None, "middle")


def _depth() -> Any:
    return key("deep: own visual tokens at every layer; shallow: at the first one", None, "deep")


def _ctx(tower: str, default: int) -> Any:
    return whole(f"context vectors of the {tower}", default, "more capacity, more cost")


TEXT_TOWER = "text tower; with the class name they must fit its length"
IMAGE_TOWER = "image tower, at each layer where deep"


class TextMethod(Settings):
    """CoOp (arXiv 2109.01134): context vectors around the class name in the text tower."""

    n_ctx: int = _ctx(TEXT_TOWER, 16)
    position: Literal["middle", "front", "end"] = _position()
    lr: float = _lr()

    dropout: ClassVar[float] = 0.0

    @property
    def text_ctx(self) -> int:
        """Context vectors in the text tower; 0 where the method leaves the tower alone."""
        return self.n_ctx

    @property
    def visual_ctx(self) -> int:
        """Prompt tokens in the image tower; 0 where the method leaves the tower alone."""
        return 0


class VisualMethod(Settings):
    """VPT (arXiv 2203.12119): prompt tokens in the image tower."""

    n_ctx: int = _ctx(IMAGE_TOWER, 16)
    depth: Literal["deep", "shallow"] = _depth()
    dropout: float = _dropout()
    class_text: str = key(
        "what the text tower reads: templates (the task's own), or one sentence for all classes",
        "templates, or a sentence with {c} for the class name",
        "a photo of a {c}.",
    )
    lr: float = _lr()

    text_ctx: ClassVar[int] = 0

    @field_validator("class_text")
    @classmethod
    def _is_template(cls, value: str) -> str:
        if value == "templates":
            return value
        try:
            return read_template(value, "")
        except InputError:
            raise ValueError(
                f"key 'methods.visual.class_text' is {value!r}, expected templates, or a sentence with {{c}} "
                "for the class name"
            ) from None

    @property
    def visual_ctx(self) -> int:
        """Prompt tokens in the image tower."""
        return self.n_ctx


class UnifiedMethod(Settings):
    """UPT (arXiv 2210.07225): vectors for both towers, coupled by one small transformer layer."""

    n_ctx_text: int = _ctx(TEXT_TOWER, 4)
    n_ctx_visual: int = _ctx(IMAGE_TOWER, 4)
    position: Literal["middle", "front", "end"] = _position()
    depth: Literal["deep", "shallow"] = _depth()
    width: int = whole("width of the coupling layer; towers of another width are mapped to it", 128)
    coupling: Literal["joint", "per_token"] = key(
        "joint: the coupling layer's tokens attend to one another, as the paper says; per_token: each "
        "to itself alone, as the published code does",
        None,
        "joint",
        "per_token to compare with numbers of the published code",
    )
    dropout: float = _dropout()
    lr: float = _lr()

    @property
    def text_ctx(self) -> int:
        """Context vectors in the text tower."""
        return self.n_ctx_text

    @property
    def visual_ctx(self) -> int:
        """Prompt tokens in the image tower."""
        return self.n_ctx_visual


Method = TextMethod | VisualMethod | UnifiedMethod
METHODS: dict[str, type[Method]] = {
    "text": TextMethod,
    "visual": VisualMethod,
    "unified": UnifiedMethod,
}


SOME_METHODS = "a mapping with at least one of text, visual and unified"


class Methods(Settings):
    """Any subset of the three prompt methods, in the order given; one that is left out is skipped."""

    model_config = ConfigDict(validate_default=False)

    text: TextMethod = key("CoOp: context vectors in the text tower", "a mapping", None)
    visual: VisualMethod = key("VPT: prompt tokens in the image tower", "a mapping", None)
    unified: UnifiedMethod = key("UPT: both, coupled", "a mapping", None)
    _order: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _in_order(cls, value: Any, handler: Callable[[Any], Methods]) -> Methods:
        found = handler(value)
        found._order = value._order if isinstance(value, Methods) else tuple(value)
        if not found._order:
            raise ValueError(f"key 'methods' is {{}}, expected {SOME_METHODS}")
        return found

    def by_name(self) -> dict[str, Method]:
        """The methods that are wanted, in the order of the configuration."""
        return {name: getattr(self, name) for name in self._order}
