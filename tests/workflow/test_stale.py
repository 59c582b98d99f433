"""Nothing is stale: a change runs exactly the jobs that depend on it, and ends as a fresh study does."""

import copy
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mvlpt_core.contract.schema import table
from mvlpt_core.contract.settings import Study
from mvlpt_core.contract.suite import EXPECTED
from support.snake import command, plan, run

# What follows from what, in stages (rules without the numbers of their blocks and packs).
ANALYSIS = {"statistics", "groups", "figures", "report"}
GATHERED = {"gather", "few_shot", *ANALYSIS}
TUNED = {"tune", "screen", "similarity", *GATHERED}
PROBED = {"probe", *TUNED}
SAMPLED = {"prepare_sample", "features_sample", "leakage", *PROBED}
TESTED = {"prepare_test", "features_test", "leakage", *PROBED}
EVERYTHING = {"backbone", *SAMPLED, *TESTED, "config"}
# Methods alone: their prompts are compared with one another, their scores gathered.
CHANGES: list[tuple[str, Any, set[str]]] = [
    ("study", "other", EVERYTHING),
    ("data_root", "elsewhere", set()),
    ("source_suite", "sources.tsv", {"report"}),
    ("groups", "groups.tsv", {"group", "report"}),
    ("means", {"mean": {"of": "tasks"}}, {"report"}),
    ("linear_probe", False, GATHERED),
    ("screen", False, ANALYSIS),
    ("runs", {"scratch": [{"group": "tasks", "start": "random"}]}, GATHERED - {"few_shot"}),
    (
        "runs",
        {"transfer": [{"group": "tasks", "start": "tasks", "replicates": 0.1}]},
        SAMPLED - {"probe", "screen", "similarity", "few_shot"},
    ),
    ("seeds", [1, 2, 3], SAMPLED),
    ("shots", [4, 2], SAMPLED),
    ("short_classes", "use_all", SAMPLED),
    ("val_share", 0.5, SAMPLED),
    ("max_test", 32, TESTED),
    ("device", "auto", set()),
    ("threads", 2, set()),
    ("pack", 1, set()),
    ("tasks_per_job", 1, set()),
    ("packs_per_device", 2, set()),
    ("gpu_step", "recorded", set()),
    ("memory_gb", 2.5, set()),
    ("mem_mb", 3000, set()),
    ("runtime", 100, set()),
    ("keep_prompts", "all", {"tune", *GATHERED} - {"few_shot"}),  # of runs from a prompt
    ("backbone.name", "local-dir:copy_of_backbone", EVERYTHING),
    ("backbone.pretrained", "openai", EVERYTHING),
    (
        "backbone.precision",
        "bf16",
        EVERYTHING - {"backbone", "prepare_sample", "prepare_test", "leakage"},
    ),
    ("methods.text", {"n_ctx": 3, "lr": 0.1}, TUNED),
    ("methods.text.n_ctx", 3, TUNED),
    ("methods.text.position", "end", TUNED),
    ("methods.text.lr", 0.2, TUNED),
    ("methods.visual", None, TUNED - {"tune", "screen"}),
    ("methods.visual.n_ctx", 3, TUNED),
    ("methods.visual.depth", "deep", TUNED),
    ("methods.visual.dropout", 0.1, TUNED),
    ("methods.visual.class_text", "a {c}", {"class_texts", *TUNED}),
    ("methods.visual.lr", 0.2, TUNED),
    ("methods.unified", {}, TUNED),
    *(
        ("tuning." + key, value, TUNED)
        for key, value in [
            ("epochs", 2),
            ("steps", 5),
            ("batch_size", 4),
            ("optimizer", "adamw"),
            ("momentum", 0.5),
            ("weight_decay", 0.1),
            ("multilabel_loss", "binary"),
            ("views", 3),
            ("warmup", 2),
            ("warmup_lr", 0.001),
            ("checkpoint", "best_val"),
            ("evaluations", 4),
            ("curve_images", 10),
        ]
    ),
    ("tuning.augment", "crop_flip", SAMPLED),
    ("joint.label_space", "per_task", {"report"}),
    ("joint.sampling", "balanced", {"report"}),
    ("analysis.permutations", 30, ANALYSIS),
    ("analysis.bootstrap", 30, ANALYSIS),
    ("analysis.seed", 1, {"similarity", *ANALYSIS}),
    ("analysis.margin", 2, ANALYSIS),
    ("analysis.margin_rho", 0.2, ANALYSIS),
    ("analysis.group_limit", 2, {"groups", "figures", "report"}),
    ("analysis.group_objective", "mean", {"groups", "figures", "report"}),
]
SUITE_CHANGES: list[tuple[str, str, set[str]]] = [
    ("task", "renamed", SAMPLED | TESTED),
    ("location", "frame_icy", SAMPLED | TESTED),
    ("metric", "mean_per_class", TESTED),
    ("templates", "a drawing of {c}", TESTED),
    ("names", "a|b|c|d|e|f|g|h", TESTED),
    ("orientation", "exif", SAMPLED | TESTED),
    ("grey_bits", "12", SAMPLED | TESTED),
    ("family", "other", ANALYSIS),
    *((column, "me/1" if column == "repo" else "1", set()) for column in EXPECTED),
]
REQUIRED_ELSEWHERE = {"suite", "backbone", "methods", "tuning", "joint", "analysis"}


@pytest.fixture(scope="module")
def base(root: Path) -> dict[str, Any]:
    config = yaml.safe_load((root / "tests/workflow/config/tiny.yaml").read_text())
    # One seed and one pack: what is tested here is what depends on what.
    return config | {"seeds": [1], "pack": 20, "suite": "suite.tsv", "screen": True}


@pytest.fixture(scope="module")
def finished(root: Path, base: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, its configuration and suite in its own folder."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(root / "tests/workflow/config/tiny.tsv", folder / "suite.tsv")
    for name in ("groups", "sources"):
        shutil.copy(root / f"tests/workflow/config/{name}.tsv", folder / f"{name}.tsv")
    shutil.copytree(root / "mvlpt_core/testbed/backbone", folder / "copy_of_backbone")
    (folder / "elsewhere").mkdir()
    write(folder / "study.yaml", base)
    run(command(folder, "--configfile", str(folder / "study.yaml")))
    return folder


def write(path: Path, config: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The configuration with the value at a dotted key; None removes it."""
    config = copy.deepcopy(config)
    *parents, last = key.split(".")
    place = config
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    if key == "tuning.epochs":
        del place["steps"]
    if key == "backbone.pretrained":  # a local folder has no tag
        place["name"] = "ViT-B-32"
    return config


def stages(counts: dict[str, int]) -> set[str]:
    return {re.sub(r"_\d+$", "", rule) for rule in counts}


def planned(folder: Path, config: dict[str, Any]) -> set[str]:
    write(folder / "changed.yaml", config)
    return stages(plan(folder, "--configfile", str(folder / "changed.yaml")))


def test_every_key_is_changed_here() -> None:
    keys = {row["key"] for row in table(Study) if "<name>" not in row["key"]}
    tried = {key for key, _, _ in CHANGES}
    assert keys - tried == REQUIRED_ELSEWHERE | {
        key for key in keys if key.startswith("methods.unified.")
    }


def test_a_finished_study_has_nothing_to_do(base: dict, finished: Path) -> None:
    assert planned(finished, base) == set()


@pytest.mark.parametrize(("key", "value", "expected"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_changed_key_reruns_what_depends_on_it(
    base: dict, finished: Path, key: str, value: Any, expected: set[str]
) -> None:
    assert planned(finished, changed(base, key, value)) == expected | {"config"}


def test_exchanged_values_are_no_equal_ones(base: dict, finished: Path) -> None:
    """Snakemake compares a job's values without their names."""
    first = changed(changed(base, "analysis.permutations", 20), "analysis.bootstrap", 25)
    second = changed(changed(base, "analysis.permutations", 25), "analysis.bootstrap", 20)
    assert planned(finished, first) == planned(finished, second) == {"config", *ANALYSIS}


def test_one_method_leaves_the_other_alone(base: dict, finished: Path) -> None:
    write(finished / "changed.yaml", changed(base, "methods.text.lr", 0.2))
    counts = plan(finished, "--configfile", str(finished / "changed.yaml"))
    write(finished / "changed.yaml", changed(base, "tuning.steps", 5))
    both = plan(finished, "--configfile", str(finished / "changed.yaml"))
    for rule, count in counts.items():
        if rule.startswith(("tune_", "screen_")):
            assert 2 * count == both[rule]


@pytest.mark.parametrize(("column", "value", "expected"), SUITE_CHANGES)
def test_a_changed_suite_row_reruns_what_depends_on_it(
    base: dict, finished: Path, column: str, value: str, expected: set[str]
) -> None:
    suite = pd.read_csv(finished / "suite.tsv", sep="\t", dtype=str)
    if column == "templates":
        suite["templates"] = ""
    if column == "revision":
        suite.loc[1, "repo"] = "me/1"
    suite.loc[1, column] = value
    suite.to_csv(finished / "changed.tsv", sep="\t", index=False)
    config = base | {"suite": "changed.tsv"}
    assert planned(finished, config) == expected | {"config", "report"}


def test_a_changed_study_ends_as_a_fresh_one(
    base: dict, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Settings, a drawn task's place, its metric and family: all tables as if never otherwise."""
    config = base
    for key, value in [
        ("tuning.steps", 5),
        ("methods.text.position", "front"),
        ("analysis.permutations", 30),
        ("val_share", 0.5),
        ("seeds", [1, 2]),
    ]:
        config = changed(config, key, value)
    fresh = tmp_path_factory.mktemp("fresh")
    old = finished.parent / "changed_study"
    shutil.copytree(finished, old)
    for folder in (old, fresh):
        suite = pd.read_csv(finished / "suite.tsv", sep="\t", dtype=str)
        suite.loc[0, "metric"] = "mean_per_class"
        suite.loc[1, "location"] = "frame_icy"
        suite.loc[2, "family"] = "other"
        suite.to_csv(folder / "suite.tsv", sep="\t", index=False)
        write(folder / "study.yaml", config)
        run(command(folder, "--configfile", str(folder / "study.yaml")))
    tables = [path.relative_to(fresh) for path in fresh.rglob("results/tiny/**/*.csv")]
    tables += [path.relative_to(fresh) for path in fresh.glob("results/tiny/*.parquet")]
    assert len(tables) > 15
    for name in tables:
        if name.suffix == ".csv":
            assert (old / name).read_bytes() == (fresh / name).read_bytes(), name
        else:
            pd.testing.assert_frame_equal(
                pd.read_parquet(old / name), pd.read_parquet(fresh / name)
            )
    assert planned(old, config) == set()


KINDS = [
    "config.yaml",
    "backbone/backbone.json",
    "backbone/backbone.safetensors",
    "prepared/object_rosy/test.safetensors",
    "prepared/object_rosy/test.npy",
    "prepared/object_rosy/shots4_seed1.safetensors",
    "prepared/object_rosy/shots4_seed1.npy",
    "features/object_rosy/test.safetensors",
    "features/object_rosy/shots4_seed1.safetensors",
    "zero_shot/object_rosy.parquet",
    "runs/text/shots4/object_rosy/random/seed1.parquet",
    "runs/text/shots4/object_rosy/random/seed1.safetensors",
    "runs/visual/shots4/object_rosy/object_golden/seed1.parquet",
    *(f"{name}.parquet" for name in ("scores", "transfer", "curves", "outcomes", "truth")),
    "runs/linear_probe/shots4/object_rosy/zero_shot/seed1.parquet",
    "screen/text/shots4/object_rosy/seed1.parquet",
    "leakage.csv",
    "tables/*",
    "shots4/similarity.parquet",
    "shots4/correlations.parquet",
    "shots4/correlations.csv",
    "shots4/tables/*.csv",
    "shots4/figures/*",
    "report.html",
]


def test_any_lost_file_comes_back(base: dict, finished: Path) -> None:
    """Each kind of file, and each table and figure, is planned anew when it is lost; in the end all are
    as they were."""
    results = finished / "results/tiny"
    write(finished / "changed.yaml", base)
    lost: dict[Path, bytes] = {}
    for kind in KINDS:
        paths = sorted(results.glob(kind))
        assert paths, kind
        content = paths[0].read_bytes()
        paths[0].unlink()
        rules = stages(plan(finished, "--configfile", str(finished / "changed.yaml")))
        paths[0].write_bytes(content)
        assert rules, f"{paths[0]} is not missed"
        lost |= {path: path.read_bytes() for path in paths}
    assert len(lost) > 45
    for path in lost:
        path.unlink()
    run(command(finished, "--configfile", str(finished / "changed.yaml")))
    for path, content in lost.items():
        assert path.exists(), path
        if path.suffix in (".csv", ".npy", ".png"):
            assert path.read_bytes() == content, path
    assert planned(finished, base) == set()


def _alike(path: Path, other: Path) -> bool:
    """Whether `other` could take the place of `path`; the only one of its kind takes a table."""
    kinds = {path.suffix, ".csv"} if path.suffix in (".html", ".yaml") else {path.suffix}
    return other.suffix in kinds and other.read_bytes() not in (path.read_bytes(), b"")


def test_any_damaged_file_is_made_anew(base: dict, finished: Path) -> None:
    """Each kind of file cut, emptied, changed in one byte at equal time and size, or exchanged for
    another of its kind; in the end all are as they were."""
    folder = finished.parent / "damaged"
    shutil.copytree(finished, folder)
    results = folder / "results/tiny"
    write(folder / "study.yaml", base)
    damaged: dict[Path, bytes] = {}
    for number, kind in enumerate(kind for kind in KINDS if "backbone" not in kind):
        path = sorted(results.glob(kind))[-1]
        state = path.stat()
        content = damaged[path] = path.read_bytes()
        like = next(other for other in sorted(results.rglob("*.*")) if _alike(path, other))
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes([content[:middle], b"", flipped, like.read_bytes()][number % 4])
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert planned(folder, base) == set()  # only told
    assert all(path.read_bytes() != content for path, content in damaged.items())
    said = run(command(folder, "--configfile", str(folder / "study.yaml")))
    assert re.search(r"2\d files not what was written .* more; set aside, made anew", said)
    for path, content in damaged.items():
        if path.suffix in (".csv", ".npy", ".png", ".safetensors", ".yaml"):
            assert path.read_bytes() == content, path
    assert planned(folder, base) == set()
