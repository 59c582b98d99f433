"""Every setting of a study, once: its type, range, default, meaning, and when to change it.

The check of a configuration, the defaults, the documentation table and the frozen objects that functions
take all come from these models and those of `methods`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mvlpt_core.contract.methods import METHODS, SOME_METHODS, Methods
from mvlpt_core.contract.schema import SHARE, WHOLE, WHOLE0, Settings, checked, key, whole

LARGEST = 2**31  # of seeds and shots, which become columns of tables

EPOCHS = 50  # the budget of a configuration that names none


class Backbone(Settings):
    """The frozen CLIP model."""

    name: str = key(
        "the frozen CLIP model; must be a ViT",
        "an open_clip model name, hf-hub:<owner/name> or local-dir:<folder>",
        min_length=1,
    )
    pretrained: str | None = key(
        "open_clip's tag of the weights (openai, laion2b_s34b_b88k, ...)",
        "an open_clip pretrained tag, or null for hf-hub and local-dir models",
        None,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = key(
        "precision of the matrix products; auto is bf16 where the device gains from it; fp16 tunes with "
        "a loss scale of each run's own",
        "auto, fp32, bf16, fp16 (not fp8: its scales are taken over a whole pack, which ties runs together)",
        "auto",
        "fp32 to compare devices",
    )


class Tuning(Settings):
    """Budget, optimiser and evaluation of every run, from scratch or from a prompt."""

    epochs: int | None = key(
        f"budget: passes over the few-shot sample; {EPOCHS} where neither this nor steps is given",
        WHOLE,
        None,
        "either this or steps",
        ge=1,
    )
    steps: int | None = key("budget: steps", WHOLE, None, "either this or epochs", ge=1)
    batch_size: int = whole("images a step", 32)
    optimizer: Literal["sgd", "adamw"] = key("sgd (with momentum) or adamw", None, "sgd")
    momentum: float = key("of sgd", SHARE, 0.9, ge=0, lt=1)
    weight_decay: float = key("weight decay", "a number of at least 0", 5e-4, ge=0)
    augment: Literal["none", "crop_flip"] = key(
        "what of a training image is seen: none, the image as it is scored; crop_flip, random resized "
        "crops, flipped half the time, of the original image",
        None,
        "none",
        "crop_flip, as the paper does, where CoOp's tasks are tuned on",
    )
    views: int = whole(
        "crops of each training image under crop_flip, drawn with the seed and encoded once: epoch e "
        "sees view e modulo views",
        8,
        "more for more variety; each costs a training image's disk and encoding",
    )
    multilabel_loss: Literal["cross_entropy", "binary"] = key(
        "loss on images of several classes: cross_entropy, one softmax whose weight the image's classes "
        "share, as in the published code; binary, the mean binary cross entropy over the task's classes",
        None,
        "cross_entropy",
        "binary as a control: CLIP's logits are large for every class, so it starts saturated",
    )
    warmup: int = key(
        "length of the warm-up at warmup_lr before the cosine, in the budget's unit",
        WHOLE0,
        1,
        ge=0,
    )
    warmup_lr: float = key(
        "learning rate of the warm-up",
        "a number of at least 0 with a decimal point (0.00001)",
        1e-5,
        ge=0,
    )
    checkpoint: Literal["last", "best_val"] = key(
        "which evaluation is the result: the last, or the best on the held-out part (at one shot, which has "
        "none, the last)",
        None,
        "last",
    )
    evaluations: int = whole(
        "evaluations after the one at step 0, evenly spread, the last at the end: of the curve, and "
        "of the held-out part under best_val",
        1,
        "more show the speed of learning and give best_val a choice",
    )
    curve_images: int = key(
        "test images, at most, of the fixed sample that the learning curves are scored on; 0: no "
        "curves. The whole test split is scored at step 0, at the chosen checkpoint and at the end",
        WHOLE0,
        200,
        "more for smoother curves; their cost grows with evaluations",
        ge=0,
    )

    @model_validator(mode="before")
    @classmethod
    def _default_budget(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("epochs") is value.get("steps") is None:
            return {**value, "epochs": EPOCHS}
        return value

    @model_validator(mode="after")
    def _one_budget(self) -> Tuning:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("tuning needs exactly one of the keys 'epochs' and 'steps'")
        return self

    @model_validator(mode="after")
    def _within_budget(self) -> Tuning:
        unit = "steps" if self.epochs is None else "epochs"
        budget = self.epochs or self.steps or 0
        if self.warmup > budget:
            raise ValueError(
                f"key 'tuning.warmup' is {self.warmup}, but the budget is {budget} {unit}: expected "
                "at most that"
            )
        if self.steps is not None and self.evaluations > self.steps:
            raise ValueError(
                f"key 'tuning.evaluations' is {self.evaluations}, but the budget is {budget} steps: "
                "expected at most that"
            )
        return self

    @property
    def stored_views(self) -> int:
        """Augmented views that a prepared sample holds of each training image."""
        return self.views if self.augment == "crop_flip" else 0


class Joint(Settings):
    """How a prompt is tuned on several tasks at once."""

    label_space: Literal["union", "per_task"] = key(
        "union: one softmax over the classes of all tasks of the group, as the published scripts "
        "do; per_task: other tasks' classes are excluded",
        None,
        "union",
    )
    sampling: Literal["proportional", "balanced"] = key(
        "proportional: batches are drawn over the union of the tasks' samples; balanced: each "
        "task gives the same share of a batch",
        None,
        "proportional",
        "balanced where tasks differ much in their number of classes",
    )


class Analysis(Settings):
    """The statistics of the analysis."""

    permutations: int = whole(
        "random permutations of the tasks behind a p-value", 10_000, "10000 resolve p = 0.0001"
    )
    bootstrap: int = whole("draws behind an interval", 2000)
    seed: int = key("seed of both", WHOLE0, 0, ge=0)
    margin: float = key(
        "points of gain that matter: a pair whose gain lies within them is equal",
        "a number above 0 and at most 100",
        1.0,
        "before the first run, to what would change a choice",
        gt=0,
        le=100,
    )
    margin_rho: float = key(
        "correlations that matter: gain and a similarity that correlate less are unconnected",
        "a number above 0 and below 1",
        0.1,
        "before the first run",
        gt=0,
        lt=1,
    )
    group_limit: int = key(
        "most tasks of a group for joint tuning", "a whole number of at least 2", 5, ge=2
    )
    group_objective: Literal["sum", "mean"] = key(
        "worth of a group: sum of its pairs' gains, or of each task's mean gain", None, "sum"
    )


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


Names = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_listed)]


def _axis(value: Any) -> Any:
    return [value] if type(value) is int else value


Axis = Annotated[list[Annotated[int, Field(ge=1, lt=LARGEST)]], BeforeValidator(_axis)]


class Pattern(Settings):
    """Runs of a study: every group named tuned from every start named."""

    group: Names = key(
        "what is tuned: names of tasks or groups; tasks (each of them), groups (each named group), "
        "members or others (each task in, or not in, the start's group), pairs (every two tasks, tuned "
        "together), sources (each task of source_suite)",
        "a name or a list of names",
        min_length=1,
    )
    start: Names = key(
        "where tuning begins: random, a mean, or names as above, whose own tuned prompt is loaded",
        "a name or a list of names",
        min_length=1,
    )
    shots: Axis | None = key(
        "at which of the study's shots; null: at all of them",
        "a whole number of at least 1, or a list of different ones",
        None,
        "to keep a large list of runs to one number of shots",
    )
    leave_out: Literal["target", "nothing"] | None = key(
        "where the start's group holds what is tuned from it: target, start from the group without it "
        "(a prompt of its own); nothing, start from all of it. null: an error, but for members",
        "target, nothing or null",
        None,
    )
    fraction: float = key(
        "how much of the list's pairs of a start and another group is measured: a designed part, in which "
        "every start and every group occurs equally often; the report completes the rest. A larger fraction "
        "later keeps the quarters that were whole",
        "a number above 0, up to 1",
        1.0,
        "0.25, to learn in a quarter of the time which pairs matter",
        gt=0,
        le=1,
    )
    replicates: float = key(
        "in a study of one seed, how much of the list's runs is repeated with a second one (the next whole "
        "number): a designed part of the pairs of two tasks, the runs from random that these need included, "
        "so that intervals and verdicts hold the noise of seeds. Several seeds need none and get none",
        "a number from 0 to 1",
        0.0,
        "0.1: seed noise for a tenth of the cost",
        ge=0,
        le=1,
    )

    @model_validator(mode="before")
    @classmethod
    def _no_budget(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "budget" in value:
            raise ValueError(
                "key 'budget' is no setting, for the runs of a study must not depend on a machine's speed: "
                "expected the key 'fraction' that `mvlpt plan --budget HOURS` prints"
            )
        return value


class Mean(Settings):
    """A start that is the mean of several tuned prompts, tensor by tensor."""

    of: Names = key(
        "whose prompts: names of tasks or groups, tasks, sources, groups; or a table (TSV: task, "
        "source) that says it for each task",
        "a name, a list of names, or the path of a table (.tsv)",
        min_length=1,
    )
    seeds: Literal["own", "all"] = key(
        "own: prompts of the run's own seed; all: of every seed of the study, as the paper does",
        None,
        "own",
    )
    leave_out: Literal["target", "nothing"] = key(
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


Seed = Annotated[int, key("", WHOLE0, ge=0, lt=LARGEST)]


class Study(Settings):
    """A whole study: one configuration, one folder results/<study>/."""

    study: str = key(
        "name of the study and of its folder below results/; a new name keeps old results",
        "a folder name of letters, digits, _ and -, 100 at most",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        max_length=100,
    )
    suite: str = key("table of tasks (TSV)", "the path of a suite file (TSV)", min_length=1)
    data_root: str | None = key(
        "folder that the suite's locations are relative to",
        "a folder, or null for the environment variable MVLPT_DATA_ROOT",
        None,
    )
    source_suite: str | None = key(
        "second suite (TSV), of tasks that are tuned on and started from, but not studied themselves",
        "the path of a suite file (TSV), or null",
        None,
        "to go from one set of tasks to another",
    )
    groups: Names = key(
        "tables of named groups of tasks of both suites (TSV: group, task)",
        "the path of a groups file (TSV), or a list of them",
        [],
        "to tune one prompt on several tasks",
    )
    means: dict[str, Mean] = key(
        "starts that are means of tuned prompts, by name",
        "a mapping of names to {of, seeds, leave_out}",
        {},
        "to start from what several prompts have in common",
    )
    runs: dict[str, list[Pattern]] = key(
        "the runs wanted, as named lists of {group, start} patterns; runs from random that a start "
        "or a gain needs come by themselves",
        "a mapping of names to lists of {group, start}",
        TRANSFER,
        "for another experiment than every task from every task",
        min_length=1,
    )
    seeds: list[Seed] = key(
        "each seed draws its own few-shot sample, initialisation and data order",
        "a list of different whole numbers of at least 0, below 2**31",
        [1],
        "three or more for intervals over seeds, at as many times the cost",
        min_length=1,
    )
    shots: Axis = key(
        "training images a class; several values give a study for each",
        "a whole number of at least 1, or a list of different ones",
        [20],
        min_length=1,
    )
    short_classes: Literal["error", "use_all"] = key(
        "classes with fewer images than shots: stop and name the class, or take what there is",
        None,
        "error",
    )
    val_share: float = key(
        "part of the few-shot sample held out to choose checkpoints (none at one shot)",
        "a number from 0 to 0.5",
        0.2,
        ge=0,
        le=0.5,
    )
    max_test: int | None = key(
        "most test images a task, drawn evenly over its classes",
        "a whole number of at least 1, or null for all test images",
        None,
        "to save time where scores need fewer digits",
        ge=1,
    )
    device: str = key(
        "where to compute; auto is CUDA where there is one, else the CPU",
        "auto, cpu, cuda, cuda:<number> or mps",
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$",
    )
    threads: int = whole("processor threads of one training job", 1, "on a GPU or a large CPU")
    pack: int = whole(
        "starts that one job tunes side by side; results do not depend on it", 20, "less memory"
    )
    tasks_per_job: int = whole(
        "groups that one job takes one after the other, so that starting Python is paid once",
        5,
        "1 on a cluster with more machines than patience",
    )
    packs_per_device: int = whole(
        "jobs on one GPU at a time, each with `memory_gb` of its memory; 1: a job has it to itself",
        1,
        "2 or 4 where `speed.gpu` shows that one pack leaves it idle",
    )
    gpu_step: Literal["plain", "compiled", "recorded"] = key(
        "how a GPU takes a tuning step: plain, kernel by kernel; compiled, each layer's sums, norm and "
        "activation fused by torch.compile (plain where the compiler does not work); recorded, text steps "
        "as a CUDA graph, which is launched at once",
        None,
        "plain",
        "to what `python -m speed.gpu` shows to be fastest on the GPU",
    )
    memory_gb: float = key(
        "gigabytes (the card's on a GPU) that a pack's activations may fill; a pack that needs more "
        "is tuned in portions",
        "a number of gigabytes above 0",
        3.0,
        gt=0,
    )
    mem_mb: int = key(
        "memory that a training job declares to the scheduler",
        "a whole number of megabytes",
        4000,
        ge=1,
    )
    runtime: int = key(
        "run time that a training job declares to the scheduler",
        "a whole number of minutes",
        240,
        ge=1,
    )
    keep_prompts: Literal["random", "all"] = key(
        "prompts kept: of the runs from random, which others start from, or of all runs",
        None,
        "random",
        "all, to use what a transfer run tuned",
    )
    backbone: Backbone = key(
        "the frozen CLIP model; without the key, ViT-B-16 with the weights openai",
        "a mapping with name, pretrained, precision",
        Backbone(name="ViT-B-16", pretrained="openai"),
    )
    linear_probe: bool = key(
        "whether a linear probe on the frozen features is fitted as a baseline (seconds a task)",
        "true or false",
        True,
    )
    screen: bool = key(
        "whether pairs are also ranked before any transfer run, by the loss of each target's sample at each "
        "source's prompt and its gradient; the report judges the ranking by the pairs that were measured",
        "true or false",
        False,
        "true, to choose which pairs to measure (mvlpt screen), at about the cost of one epoch of their runs",
    )
    methods: Methods = key(
        "the prompt methods, in the order of tables and figures; without the key, all three",
        SOME_METHODS,
        Methods.model_validate({name: {} for name in METHODS}),
    )
    tuning: Tuning = key("how every prompt is tuned", "a mapping", Tuning())
    joint: Joint = key("how several tasks are tuned at once", "a mapping", Joint())
    analysis: Analysis = key("the statistics of the analysis", "a mapping", Analysis())

    @model_validator(mode="after")
    def _known_shots(self) -> Study:
        for name, patterns in self.runs.items():
            if not patterns:
                raise ValueError(f"runs.{name} is [], expected a list of {{group, start}}")
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
        for axis, values in (("seeds", self.seeds), ("shots", self.shots)):
            if len(set(values)) != len(values):
                raise ValueError(
                    f"key '{axis}' is {values}, expected a list of different whole numbers"
                )
        return self

    @property
    def second_seed(self) -> int:
        """The seed of the runs that are replicates."""
        return max(self.seeds) + 1

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
    return checked(Study, config, where)
