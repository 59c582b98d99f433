"""A study of three tasks on a tiny random backbone, and its packs."""

from pathlib import Path
from typing import Any

from mvlpt_core.backbone.convert import convert_backbone
from mvlpt_core.contract.methods import METHODS
from mvlpt_core.contract.rows import read_rows
from mvlpt_core.contract.settings import Joint, Tuning
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.features import encode_sample, encode_test
from mvlpt_core.jobs import tune_pack
from mvlpt_core.tasks.prepare import (
    prepare_sample,
    prepare_test,
    read_preprocess,
)
from mvlpt_core.testbed import TASKS
from mvlpt_core.tuning.problem import TaskFiles
from support.open_clip_folder import write_open_clip

NAMES = tuple(TASKS)[:3]
MATES = tuple(TASKS)[:2]  # of one family: they share their class names
TUNING = {"steps": 4, "batch_size": 8, "optimizer": "adamw", "evaluations": 2, "curve_images": 10}
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"n_ctx": 2, "lr": 0.01},
    "visual": {"n_ctx": 2, "lr": 0.01, "class_text": "templates"},
    "unified": {"n_ctx_text": 2, "n_ctx_visual": 2, "width": 16, "lr": 0.01},
}
PROVENANCE = {"study": "tiny", "config_digest": "c0", "code_digest": "d0"}


def build(root: Path) -> Path:
    """Backbone, prepared tasks, features and each task's own prompts, below `root`."""
    convert_backbone(write_open_clip(root / "clip"), "", root / "backbone")
    preprocess = read_preprocess(root / "backbone/backbone.json")
    for name in NAMES:
        row = TaskRow(name, "testbed", name, "accuracy", TASKS[name].templates)
        files = files_of(root, name)
        prepare_test(row, None, preprocess, max_test=40, out=files.test)
        sample = {"shots": 4, "seed": 1, "val_share": 0.25, "short_classes": "error"}
        prepare_sample(name, "testbed", name, None, preprocess, out=files.sample, **sample)
        encode_test(
            root / "backbone/backbone.json",
            [files.test],
            [files.test_features],
            [root / f"zero_shot/{name}.parquet"],
            device="cpu",
            provenance=PROVENANCE,
        )
        encode_sample(
            root / "backbone/backbone.json", [files.sample], [files.sample_features], device="cpu"
        )
    for method in SETTINGS:
        pack(root, method, {name: [name] for name in NAMES}, ["random"], "own", keep=True)
    return root


def files_of(root: Path, name: str) -> TaskFiles:
    return TaskFiles(
        root / f"prepared/{name}/test.safetensors",
        root / f"prepared/{name}/sample.safetensors",
        root / f"features/{name}/test.safetensors",
        root / f"features/{name}/sample.safetensors",
    )


def own_prompt(root: Path, method: str, name: str) -> Path:
    return root / f"own/{method}/{name}/random.safetensors"


def pack(
    root: Path,
    method: str,
    groups: dict[str, list[str]],
    wanted: list[str],
    to: str,
    keep: bool = False,
    prompts: dict[tuple[str, str], list[Path]] | None = None,
    tuning: dict[str, Any] | None = None,
    joint: Joint | None = None,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Tune the groups from the starts wanted; the folder of the rows."""
    keys = [(group, start) for group in groups for start in wanted]
    out = root / to / method
    loaded = {(g, s): [own_prompt(root, method, s)] for g, s in keys if s != "random"}
    tune_pack(
        root / "backbone/backbone.json",
        groups=groups,
        files={name: files_of(root, name) for name in NAMES},
        prompts=loaded if prompts is None else prompts,
        scores={(g, s): out / g / f"{s}.parquet" for g, s in keys},
        kept={(g, s): out / g / f"{s}.safetensors" for g, s in keys if keep},
        settings=METHODS[method](**(settings or SETTINGS[method])),
        tuning=Tuning(**{**TUNING, **(tuning or {})}),
        joint=joint or Joint(),
        shots=4,
        seed=1,
        device="cpu",
        memory_gb=options.pop("memory_gb", 3.0),
        provenance=PROVENANCE,
        **options,
    )
    return out


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_rows([path]).to_pylist()
    return found
