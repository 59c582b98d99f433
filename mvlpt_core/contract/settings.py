"""Every setting of a study, once: its type, range, default, meaning, and when to change it.

The check of a configuration, the defaults, the documentation table (`table`) and the frozen objects
that functions take all come from these models. Mistakes are one sentence with the key, its value and
what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from mvlpt_core.contract.errors import InputError

WHOLE = "a whole number of at least 1"
WHOLE0 = "a whole number of at least 0"
SHARE = "a number from 0 up to, but not including, 1"


def _key(
    meaning: str,
    expected: str | None = None,
    default: Any = PydanticUndefined,
    change: str = "",
    **limits: Any,
) -> Any:
    """A field: what it means, what a legal value is in words, its default, when to change it."""
    extra: dict[str, Any] = {"expected": expected, "change": change}
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


def _whole(meaning: str, default: Any = PydanticUndefined, change: str = "") -> Any:
    return _key(meaning, WHOLE, default, change, ge=1)


class _Settings(BaseModel):
    """Frozen, without unknown keys, without guesses at types, with finite numbers only."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


class Backbone(_Settings):
    """The frozen CLIP model."""

    name: str = _key(
        "the frozen CLIP model; must be a ViT",
        "an open_clip model name, hf-hub:<owner/name> or local-dir:<folder>",
        min_length=1,
    )
    pretrained: str | None = _key(
        "open_clip's tag of the weights (openai, laion2b_s34b_b88k, ...)",
        "an open_clip pretrained tag, or null for hf-hub and local-dir models",
        None,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _key(
        "precision of the matrix products; auto is bf16 where the device gains from it; fp16 tunes with "
        "a loss scale of each run's own",
        None,
        "auto",
        "fp32 to compare devices",
    )


def _lr() -> Any:
    return _key(
        "learning rate after the warm-up",
        "a number above 0 with a decimal point (0.002)",
        0.002,
        "first, when a method does not learn or diverges",
        gt=0,
    )


def _dropout() -> Any:
    return _key("dropout on the visual prompt tokens while tuning", SHARE, 0.0, ge=0, lt=1)


def _position() -> Any:
    return _key("place of the class name among the context vectors", None, "middle")


def _depth() -> Any:
    return _key("deep: own visual tokens at every layer; shallow: at the first one", None, "deep")


def _ctx(tower: str, default: int) -> Any:
    return _whole(f"context vectors of the {tower}", default, "more capacity, more cost")


TEXT_TOWER = "text tower; with the class name they must fit its length"
IMAGE_TOWER = "image tower, at each layer where deep"


class TextMethod(_Settings):
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


class VisualMethod(_Settings):
    """VPT (arXiv 2203.12119): prompt tokens in the image tower."""

    n_ctx: int = _ctx(IMAGE_TOWER, 16)
    depth: Literal["deep", "shallow"] = _depth()
    dropout: float = _dropout()
    class_text: str = _key(
        "what the text tower reads: templates (the task's own), or one sentence for all classes",
        "templates, or a sentence with {c} for the class name",
        "a photo of a {c}.",
        pattern=r"^templates$|\{c\}",
    )
    lr: float = _lr()

    text_ctx: ClassVar[int] = 0

    @property
    def visual_ctx(self) -> int:
        """Prompt tokens in the image tower."""
        return self.n_ctx


class UnifiedMethod(_Settings):
    """UPT (arXiv 2210.07225): vectors for both towers, coupled by one small transformer layer."""

    n_ctx_text: int = _ctx(TEXT_TOWER, 4)
    n_ctx_visual: int = _ctx(IMAGE_TOWER, 4)
    position: Literal["middle", "front", "end"] = _position()
    depth: Literal["deep", "shallow"] = _depth()
    width: int = _whole(
        "width of the coupling layer; towers of another width are mapped to it", 128
    )
    coupling: Literal["joint", "per_token"] = _key(
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


class Methods(_Settings):
    """Any subset of the three prompt methods, in the order given; one that is left out is skipped."""

    model_config = ConfigDict(validate_default=False)

    text: TextMethod = _key("CoOp: context vectors in the text tower", "a mapping", None)
    visual: VisualMethod = _key("VPT: prompt tokens in the image tower", "a mapping", None)
    unified: UnifiedMethod = _key("UPT: both, coupled", "a mapping", None)
    _order: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _in_order(cls, value: Any, handler: Callable[[Any], Methods]) -> Methods:
        found = handler(value)
        found._order = tuple(value)
        if not found._order:
            raise ValueError(
                f"key 'methods' is {{}}, expected {_expected(Study.model_fields['methods'])}"
            )
        return found

    def by_name(self) -> dict[str, Method]:
        """The methods that are wanted, in the order of the configuration."""
        return {name: getattr(self, name) for name in self._order}


class Tuning(_Settings):
    """Budget, optimiser and evaluation of every run, from scratch or from a prompt."""

    epochs: int | None = _key(
        "budget: passes over the few-shot sample", WHOLE, None, "either this or steps", ge=1
    )
    steps: int | None = _key("budget: steps", WHOLE, None, "either this or epochs", ge=1)
    batch_size: int = _whole("images a step", 32)
    optimizer: Literal["sgd", "adamw"] = _key("sgd (with momentum) or adamw", None, "sgd")
    momentum: float = _key("of sgd", SHARE, 0.9, ge=0, lt=1)
    weight_decay: float = _key("weight decay", "a number of at least 0", 5e-4, ge=0)
    augment: Literal["none", "crop_flip"] = _key(
        "what of a training image is seen: none, the image as it is scored; crop_flip, random resized "
        "crops, flipped half the time, of the original image",
        None,
        "none",
        "crop_flip, as the paper does, where CoOp's tasks are tuned on",
    )
    views: int = _whole(
        "crops of each training image under crop_flip, drawn with the seed and encoded once: epoch e "
        "sees view e modulo views",
        8,
        "more for more variety; each costs a training image's disk and encoding",
    )
    multilabel_loss: Literal["cross_entropy", "binary"] = _key(
        "loss on images of several classes: cross_entropy, one softmax whose weight the image's classes "
        "share, as in the published code; binary, the mean binary cross entropy over the task's classes",
        None,
        "cross_entropy",
        "binary as a control: CLIP's logits are large for every class, so it starts saturated",
    )
    warmup: int = _key(
        "length of the warm-up at warmup_lr before the cosine, in the budget's unit",
        WHOLE0,
        1,
        ge=0,
    )
    warmup_lr: float = _key(
        "learning rate of the warm-up",
        "a number of at least 0 with a decimal point (0.00001)",
        1e-5,
        ge=0,
    )
    checkpoint: Literal["last", "best_val"] = _key(
        "which evaluation is the result: the last, or the best on the held-out part (at one shot, which has "
        "none, the last)",
        None,
        "last",
    )
    evaluations: int = _whole(
        "evaluations after the one at step 0, evenly spread, the last at the end: of the curve, and "
        "of the held-out part under best_val",
        1,
        "more show the speed of learning and give best_val a choice",
    )
    curve_images: int = _key(
        "test images, at most, of the fixed sample that the learning curves are scored on; 0: no "
        "curves. The whole test split is scored at step 0, at the chosen checkpoint and at the end",
        WHOLE0,
        200,
        "more for smoother curves; their cost grows with evaluations",
        ge=0,
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Tuning:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("tuning needs exactly one of the keys 'epochs' and 'steps'")
        return self

    @property
    def stored_views(self) -> int:
        """Augmented views that a prepared sample holds of each training image."""
        return self.views if self.augment == "crop_flip" else 0


class Joint(_Settings):
    """How a prompt is tuned on several tasks at once."""

    label_space: Literal["union", "per_task"] = _key(
        "union: one softmax over the classes of all tasks of the group, as the published scripts "
        "do; per_task: other tasks' classes are excluded",
        None,
        "union",
    )
    sampling: Literal["proportional", "balanced"] = _key(
        "proportional: batches are drawn over the union of the tasks' samples; balanced: each "
        "task gives the same share of a batch",
        None,
        "proportional",
        "balanced where tasks differ much in their number of classes",
    )


class Analysis(_Settings):
    """The statistics of the analysis."""

    permutations: int = _whole(
        "random permutations of the tasks behind a p-value", 10_000, "10000 resolve p = 0.0001"
    )
    bootstrap: int = _whole("draws behind an interval", 2000)
    seed: int = _key("seed of both", WHOLE0, 0, ge=0)
    group_limit: int = _key(
        "most tasks of a group for joint tuning", "a whole number of at least 2", 5, ge=2
    )
    group_objective: Literal["sum", "mean"] = _key(
        "worth of a group: sum of its pairs' gains, or of each task's mean gain", None, "sum"
    )


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


Names = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_listed)]


def _axis(value: Any) -> Any:
    return [value] if type(value) is int else value


Axis = Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_axis)]


class Pattern(_Settings):
    """Runs of a study: every group named tuned from every start named."""

    group: Names = _key(
        "what is tuned: names of tasks or groups; tasks (each of them), groups (each named group), "
        "members or others (each task in, or not in, the start's group), pairs (every two tasks, tuned "
        "together), sources (each task of source_suite)",
        "a name or a list of names",
        min_length=1,
    )
    start: Names = _key(
        "where tuning begins: random, a mean, or names as above, whose own tuned prompt is loaded",
        "a name or a list of names",
        min_length=1,
    )
    shots: Axis | None = _key(
        "at which of the study's shots; null: at all of them",
        "a whole number of at least 1, or a list of different ones",
        None,
        "to keep a large list of runs to one number of shots",
    )
    leave_out: Literal["target", "nothing"] | None = _key(
        "where the start's group holds what is tuned from it: target, start from the group without it "
        "(a prompt of its own); nothing, start from all of it. null: an error, but for members",
        "target, nothing or null",
        None,
    )


class Mean(_Settings):
    """A start that is the mean of several tuned prompts, tensor by tensor."""

    of: Names = _key(
        "whose prompts: names of tasks or groups, tasks, sources, groups; or a table (TSV: task, "
        "source) that says it for each task",
        "a name, a list of names, or the path of a table (.tsv)",
        min_length=1,
    )
    seeds: Literal["own", "all"] = _key(
        "own: prompts of the run's own seed; all: of every seed of the study, as the paper does",
        None,
        "own",
    )
    leave_out: Literal["target", "nothing"] = _key(
        "target: without prompts that were tuned on what starts from the mean (a group that holds it "
        "gives way to the group without it); nothing: with them",
        None,
        "target",
    )

    @property
    def table(self) -> str | None:
        """The path of the table, where `of` names one."""
        return self.of[0] if len(self.of) == 1 and self.of[0].endswith(".tsv") else None


TRANSFER: dict[str, list[dict[str, Any]]] = {"transfer": [{"group": "tasks", "start": "tasks"}]}


Seed = Annotated[int, _key("", WHOLE0, ge=0)]


class Study(_Settings):
    """A whole study: one configuration, one folder results/<study>/."""

    study: str = _key(
        "name of the study and of its folder below results/; a new name keeps old results",
        "a folder name of letters, digits, _ and -",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
    )
    suite: str = _key("table of tasks (TSV)", "the path of a suite file (TSV)", min_length=1)
    data_root: str | None = _key(
        "folder that the suite's locations are relative to",
        "a folder, or null for the environment variable MVLPT_DATA_ROOT",
        None,
    )
    source_suite: str | None = _key(
        "second suite (TSV), of tasks that are tuned on and started from, but not studied themselves",
        "the path of a suite file (TSV), or null",
        None,
        "to go from one set of tasks to another",
    )
    groups: Names = _key(
        "tables of named groups of tasks of both suites (TSV: group, task)",
        "the path of a groups file (TSV), or a list of them",
        [],
        "to tune one prompt on several tasks",
    )
    means: dict[str, Mean] = _key(
        "starts that are means of tuned prompts, by name",
        "a mapping of names to {of, seeds, leave_out}",
        {},
        "to start from what several prompts have in common",
    )
    runs: dict[str, list[Pattern]] = _key(
        "the runs wanted, as named lists of {group, start} patterns; runs from random that a start "
        "or a gain needs come by themselves",
        "a mapping of names to lists of {group, start}",
        TRANSFER,
        "for another experiment than every task from every task",
        min_length=1,
    )
    seeds: list[Seed] = _key(
        "each seed draws its own few-shot sample, initialisation and data order",
        "a list of different whole numbers of at least 0",
        [1],
        "three or more for intervals over seeds, at as many times the cost",
        min_length=1,
    )
    shots: Axis = _key(
        "training images a class; several values give a study for each",
        "a whole number of at least 1, or a list of different ones",
        [20],
        min_length=1,
    )
    short_classes: Literal["error", "use_all"] = _key(
        "classes with fewer images than shots: stop and name the class, or take what there is",
        None,
        "error",
    )
    val_share: float = _key(
        "part of the few-shot sample held out to choose checkpoints (none at one shot)",
        "a number from 0 to 0.5",
        0.2,
        ge=0,
        le=0.5,
    )
    max_test: int | None = _key(
        "most test images a task, drawn evenly over its classes",
        "a whole number of at least 1, or null for all test images",
        None,
        "to save time where scores need fewer digits",
        ge=1,
    )
    device: str = _key(
        "where to compute; auto is CUDA where there is one, else the CPU",
        "auto, cpu, cuda, cuda:<number> or mps",
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$",
    )
    threads: int = _whole("processor threads of one training job", 1, "on a GPU or a large CPU")
    pack: int = _whole(
        "starts that one job tunes side by side; results do not depend on it", 20, "less memory"
    )
    tasks_per_job: int = _whole(
        "groups that one job takes one after the other, so that starting Python is paid once",
        5,
        "1 on a cluster with more machines than patience",
    )
    memory_gb: float = _key(
        "gigabytes (the card's on a GPU) that a pack's activations may fill; a pack that needs more "
        "is tuned in portions",
        "a number of gigabytes above 0",
        3.0,
        gt=0,
    )
    mem_mb: int = _key(
        "memory that a training job declares to the scheduler",
        "a whole number of megabytes",
        4000,
        ge=1,
    )
    runtime: int = _key(
        "run time that a training job declares to the scheduler",
        "a whole number of minutes",
        240,
        ge=1,
    )
    keep_prompts: Literal["random", "all"] = _key(
        "prompts kept: of the runs from random, which others start from, or of all runs",
        None,
        "random",
        "all, to use what a transfer run tuned",
    )
    backbone: Backbone = _key("the frozen CLIP model", "a mapping with name, pretrained, precision")
    linear_probe: bool = _key(
        "whether a linear probe on the frozen features is fitted as a baseline (seconds a task)",
        "true or false",
        True,
    )
    methods: Methods = _key(
        "the prompt methods, in the order of tables and figures",
        "a mapping with at least one of text, visual and unified",
    )
    tuning: Tuning = _key("how every prompt is tuned", "a mapping with epochs or steps")
    joint: Joint = _key("how several tasks are tuned at once", "a mapping", Joint())
    analysis: Analysis = _key("the statistics of the analysis", "a mapping", Analysis())

    @model_validator(mode="after")
    def _known_shots(self) -> Study:
        for name, patterns in self.runs.items():
            odd = [k for pattern in patterns for k in pattern.shots or [] if k not in self.shots]
            if odd:
                raise ValueError(
                    f"runs.{name} wants {odd[0]} shots, expected some of the study's: {self.shots}"
                )
        return self

    @model_validator(mode="after")
    def _something_to_choose_by(self) -> Study:
        if self.tuning.checkpoint == "best_val" and self.val_share == 0:
            raise ValueError(
                "key 'tuning.checkpoint' is 'best_val', but val_share is 0: expected a larger one, or 'last'"
            )
        return self

    @model_validator(mode="after")
    def _different_axes(self) -> Study:
        for key, values in (("seeds", self.seeds), ("shots", self.shots)):
            if len(set(values)) != len(values):
                raise ValueError(
                    f"key '{key}' is {values}, expected a list of different whole numbers"
                )
        return self

    def resolved(self) -> dict[str, Any]:
        """The complete configuration as plain values, defaults filled in: what YAML can hold."""
        values = self.model_dump()
        values["methods"] = {name: own.model_dump() for name, own in self.methods.by_name().items()}
        for budget in ("epochs", "steps"):
            if values["tuning"][budget] is None:
                del values["tuning"][budget]
        return values


def read_study(config: Mapping[str, Any], where: str) -> Study:
    """The checked settings of a configuration, defaults filled in.

    `where` names the configuration in messages. Raises `InputError`, one sentence, for an unknown
    or missing key, an illegal value, and settings that contradict each other.
    """
    return _checked(Study, config, where)


def _checked(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # Misspelt keys first: they explain the missing ones.
        rank = {"extra_forbidden": 0, "missing": 1}
        worst = min(error.errors(), key=lambda e: rank.get(e["type"], 2))
        raise InputError(f"{where}: {_sentence(kind, worst)}") from None


def _sentence(kind: type[BaseModel], error: ErrorDetails) -> str:
    loc = error["loc"]
    key = ".".join(map(str, loc))
    owner, field = _place(kind, loc)
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}', expected one of {', '.join(owner.model_fields)}"
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if field is None:
        return f"this is {_show(error['input'])}, expected a mapping of keys to values"
    return f"key '{key}' is {_show(error['input'])}, expected {_expected(field)}"


def _place(
    kind: type[BaseModel], loc: tuple[int | str, ...]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The model that the last part of `loc` stands in, and the field nearest to it."""
    owner, inner, field = kind, kind, None
    for part in loc:
        if inner is not None and part in inner.model_fields:
            owner, field = inner, inner.model_fields[str(part)]
            inner = _model_in(field.annotation)
        elif inner is not None:
            owner = inner
    return owner, field


def _model_in(annotation: Any) -> Any:
    """The settings model somewhere in a type, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _expected(field: FieldInfo) -> str:
    """What a legal value of the field is, in words."""
    extra = field.json_schema_extra
    said = extra.get("expected") if isinstance(extra, dict) else None
    if said:
        return str(said)
    return "one of " + ", ".join(map(str, get_args(field.annotation)))


def _show(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def table(kind: type[BaseModel] = Study, prefix: str = "") -> Iterator[dict[str, str]]:
    """The documentation of every key, in order: key, expected, default, meaning, change."""
    for name, field in kind.model_fields.items():
        inner = _model_in(field.annotation)
        nested = inner is not None and inner not in (Pattern, Mean)
        default = "required" if field.is_required() else _show(field.get_default())
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield {
            "key": prefix + name,
            "expected": _expected(field),
            "default": "" if nested and not field.is_required() else default,
            "meaning": field.description or "",
            "change": str(extra.get("change") or ""),
        }
        if inner is not None:
            yield from table(inner, f"{prefix}{name}." if nested else f"{prefix}{name}.<name>.")
