"""The workflow itself: a tiny study for real, its resumption, groups, and the plan of the default study."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

import mvlpt_analysis
import mvlpt_core as mvlpt
from mvlpt.publish import publish_study
from mvlpt_analysis.publish.library import OpenLibrary
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.rows import read_rows
from mvlpt_core.contract.suite import read_choices, read_groups
from mvlpt_core.contract.tensors import read_tensors
from mvlpt_core.tasks.fewshot import sample_test
from mvlpt_workflow.written import record
from stress.kills import TINY, Study, differences, results
from support.snake import command, job_counts, plan, run
from support.task_files import write_birds

TASKS = ["object_golden", "object_rosy", "background_golden", "background_rosy"]
AT = Layout("results/tiny")
RUN = AT.run("text", "object_rosy", "background_rosy", 4, 1)


def configured(root: Path, name: str = "tiny") -> list[str]:
    return ["--configfile", str(root / f"tests/workflow/config/{name}.yaml")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny study in odd surroundings that was killed four times, and continued by one command."""
    folder = tmp_path_factory.mktemp("tiny") / "Käfig (1), a 'tiny' one"
    folder.mkdir()
    study = Study(folder, TINY, "--set", "device=auto", umask=0o077)
    runs = folder / "results/tiny/runs"

    def done() -> int:
        return len(list(runs.rglob("*.parquet")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C")
        # Two devices that are none: jobs take them, and compute on the processor.
        patch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
        patch.setenv("MVLPT_DEVICE_LOCKS", str(folder / "locks"))
        study.start()
        assert study.until((folder / AT.config).exists)
        # While one works on it, a second is told so.
        second = subprocess.run(
            study.command, cwd=folder, capture_output=True, text=True, check=False
        )
        assert second.returncode == 2
        assert re.search(r"results/tiny: process \d+ on \S+ works on this study", second.stderr)
        assert study.until(lambda: done() > 0)
        study.strike("tree", signal.SIGKILL)
        before = done()
        assert 0 < before < 80
        study.start()
        assert study.until(lambda: done() > before)
        study.strike("parent", signal.SIGKILL)
        # The clock is moved back by a day.
        for path in (folder / "results").rglob("*"):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 86400))
        study.start()
        assert study.until(lambda: " packs, " in study.output.read_text())
        assert study.strike("parent", signal.SIGTERM).ending < 15
        assert "files were of the future: dated now" in study.output.read_text()
        study.start()
        assert study.until(lambda: " packs, " in study.output.read_text() and study.just_begun())
        assert re.search(r" runs done.* \(1 on [ab]\)", study.output.read_text())
        study.strike("worker", signal.SIGKILL)
        assert "It ended without a word: killed, as systems do" in study.output.read_text()
        assert done() < 88  # with the probes
        assert not (folder / AT.gathered("transfer")).exists()
        # What a process that is killed while it writes leaves behind.
        part = (folder / RUN).with_name(".1.part.seed1.parquet")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"PAR1")
        last = Study(folder, umask=0o077)
        last.start()
        assert "80 of 80 runs done" in last.finish()
    return folder


def test_a_killed_study_ends_with_every_declared_output(tiny: Path) -> None:
    runs = {
        tiny / AT.run(method, group, start, 4, seed)
        for method in ("text", "visual")
        for group in TASKS
        for start in ["random", *TASKS]
        for seed in (1, 2)
    }
    runs |= {
        tiny / AT.run("linear_probe", task, "zero_shot", 4, seed)
        for task in TASKS
        for seed in (1, 2)
    }
    assert set((tiny / "results/tiny/runs").rglob("*.parquet")) == runs
    assert not list((tiny / "results").rglob(".*.part.*"))
    for name in (
        AT.config,
        AT.report,
        AT.gathered("transfer"),
        AT.gathered("scores"),
        AT.similarity(4),
        AT.correlations(4, "csv"),
        AT.table(4, "groups"),
        AT.figure(4, "gains_text", "png"),
        AT.figure(4, "relations", "svg"),
        AT.captions(4),
    ):
        assert (tiny / name).stat().st_size > 0, name
    config = yaml.safe_load((tiny / AT.config).read_text())
    assert config["tuning"]["momentum"] == 0.9
    log = (tiny / "results/tiny/logs/tune/text/shots4/pack2_seed1.log").read_text()
    assert "object_golden from object_golden" in log
    assert "step 4 of 4, mean loss" in log


def test_a_killed_study_ends_as_one_that_was_left_alone(
    root: Path, tiny: Path, tmp_path: Path
) -> None:
    run(command(tmp_path, *configured(root), "--", *map(str, results(tiny))))
    assert len(list(results(tmp_path))) > 160
    assert differences(tiny, tmp_path) == []


def test_a_runs_file_has_the_rows_of_the_contract(tiny: Path) -> None:
    found = read_rows([tiny / RUN]).to_pandas()
    assert sorted(found.loc[found["split"] == "test", "step"]) == [0, 4]
    assert sorted(found.loc[found["split"] == "curve", "step"]) == [0, 2, 4]
    assert found.loc[found["selected"], "step"].tolist() == [4]
    named = found[["study", "start", "group", "target"]]
    assert (named == ["tiny", "background_rosy", "object_rosy", "object_rosy"]).all(axis=None)


def test_transfer_table_has_a_row_for_every_pair(tiny: Path) -> None:
    transfer = pd.read_parquet(tiny / AT.gathered("transfer"))
    assert len(transfer) == 64
    assert not transfer.duplicated(["method", "source", "target", "seed"]).any()
    assert (transfer["status"] == "ok").all()
    assert transfer[["scratch", "zero_shot", "score"]].notna().all(axis=None)
    assert len(set(transfer["code_digest"])) == 1
    assert transfer.groupby("method")["config_digest"].nunique().eq(1).all()


def test_a_folder_of_images_gets_a_recommendation(tiny: Path, tmp_path: Path) -> None:
    birds = write_birds(tmp_path / "B\u00e4r (1)", 4)
    study = str(tiny / "results/tiny")
    recommend = [sys.executable, "-m", "mvlpt", "recommend", "--study", study, "--task", str(birds)]
    done = subprocess.run(recommend, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    advice, *_ = done.stdout.splitlines()
    assert advice.startswith("text: ")
    for method in ("text", "visual"):
        assert f"{method} (gains in points over scratch; " in done.stdout
    told, _, commands = done.stdout.rpartition("\n\n")
    assert max(map(len, told.splitlines())) <= 80
    assert "mvlpt tune --task" in commands
    assert done.stderr.startswith(f"reading {study} ...\n")
    lost = tiny / AT.test_features("object_rosy")
    content = lost.read_bytes()
    lost.unlink()
    done = subprocess.run(recommend, cwd=tmp_path, capture_output=True, text=True, check=False)
    lost.write_bytes(content)
    assert done.returncode == 2
    assert "object_rosy/test.safetensors: no such file" in done.stderr


def test_a_study_is_published_and_recommends(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "results/tiny", tmp_path / "results/tiny")
    shutil.copy(TINY.parent / "tiny.tsv", tmp_path)

    def mvlpt_(*given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mvlpt", *given],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    done = mvlpt_("publish", "results/tiny", "--license", "cc-by-4.0")
    assert done.returncode == 0, done.stderr
    library = OpenLibrary(tmp_path / "tiny_library")
    assert set(library.known) == {library.name(path) for path in library.files()}
    library.check(library.files())
    for name, columns in {
        "gains": "method source target shots",
        "tasks": "task",
        "prompts": "file",
        "similarity": "source target measure shots method",
        "scores": "method group start shots seed target",
    }.items():
        table = library.read(name)
        assert len(table)
        assert not table.duplicated(columns.split()).any()
    prompts = library.read("prompts")
    own = tiny / AT.prompt("text", "object_rosy", "random", 4, 2)
    place = library.prompt("text", "object_rosy", "random", 4, 2)
    assert place.read_bytes() == own.read_bytes()
    assert library.name(place) in set(prompts["file"])
    assert not any(
        "images" in read_tensors(path, "task")[1] for path in library.root.glob("features/*/*")
    )
    card = library.card.read_text()
    for text in ('license: "cc-by-4.0"', "| object_rosy | ", "seeds 1, 2"):
        assert text in card
    # By MLCommons' own reader, in a process of its own: what it imports warns.
    program = (
        "import sys, mlcroissant; found = mlcroissant.Dataset(sys.argv[1]);"
        "assert not found.metadata.ctx.issues.errors;"
        "print([record['tasks/task'].decode() for record in found.records('tasks')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(library.croissant)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(list(library.read("tasks")["task"])), done.stderr

    # The same study, the same bytes; nothing there is written over, and no other study is taken.
    assert (
        mvlpt_("publish", "results/tiny", "--license", "cc-by-4.0", "--out", "again").returncode
        == 0
    )
    assert (tmp_path / "again/SHA256SUMS").read_bytes() == library.sums.read_bytes()
    done = mvlpt_("publish", "results/tiny")
    assert (done.returncode, done.stderr.count("is there already")) == (2, 1)
    (tmp_path / "results/tiny/scores.parquet").write_bytes(b"cut")
    done = mvlpt_("publish", "results/tiny", "--out", "third")
    assert (done.returncode, done.stderr.count("scores.parquet: not what was written")) == (2, 1)
    assert not [path for path in tmp_path.iterdir() if "third" in path.name]

    # Without the study, from its own folder and the same as from the study.
    shutil.rmtree(tmp_path / "results")
    birds = write_birds(tmp_path / "birds", 4)
    given = ("recommend", "--task", str(birds), "--out", "found.csv")
    done = mvlpt_(*given, "--library", "tiny_library", "--backbone", "testbed")
    assert done.returncode == 0, done.stderr
    assert "--start tiny_library/prompts/" in done.stdout
    assert "--backbone testbed" in done.stdout
    found = pd.read_csv(tmp_path / "found.csv")
    done = mvlpt_(*given, "--study", str(tiny / "results/tiny"))
    assert done.returncode == 0, done.stderr
    expected = pd.read_csv(tmp_path / "found.csv")
    pd.testing.assert_frame_equal(found.drop(columns="prompt"), expected.drop(columns="prompt"))
    lost = library.test_features("object_golden")
    for path, message in (
        (
            library.prompt("text", "object_rosy", "random", 4, 1),
            "not the file that SHA256SUMS says",
        ),
        (lost, "no such file"),
    ):
        content = path.read_bytes()
        path.write_bytes(content[:-1]) if path != lost else path.unlink()
        done = mvlpt_(*given, "--library", "tiny_library", "--backbone", "testbed")
        path.write_bytes(content)
        assert (done.returncode, done.stderr.count(message)) == (2, 1), done.stderr
        assert path.name in done.stderr
    done = mvlpt_(*given, "--library", str(birds))
    assert "expected a folder that `mvlpt publish` made" in done.stderr


def test_tuning_by_hand_is_the_studys_run(tiny: Path, tmp_path: Path) -> None:
    """Of the task by its name in the study: text from random, like the study's, visual from a source."""
    rosy = mvlpt.open_task("testbed:object_rosy")
    # The study scores a part of the test images.
    kept = sample_test(rosy.source.split("test").labels, 40, "object_rosy")
    own = tiny / AT.prompt("text", "object_rosy", "random", 4, 2)
    source = tiny / AT.prompt("visual", "background_rosy", "random", 4, 2)
    found = {
        ("text", "random"): mvlpt.tune(rosy, None, like=own, out=tmp_path / "text.safetensors"),
        ("visual", "background_rosy"): mvlpt.tune(
            rosy, None, source, out=tmp_path / "visual.safetensors"
        ),
    }
    for (method, start), done in found.items():
        rows = read_rows([tiny / AT.run(method, "object_rosy", start, 4, 2)]).to_pylist()
        for score, step in ((done.start, 0), (done.after, 4)):
            (row,) = [r for r in rows if r["split"] == "test" and r["step"] == step]
            expected = np.frombuffer(row["outcomes"], "<u2")
            np.testing.assert_array_equal(score.outcomes[kept], expected)
    header, tensors = read_tensors(own, "prompt")
    for name, value in read_tensors(tmp_path / "text.safetensors", "prompt")[1].items():
        np.testing.assert_allclose(value, tensors[name], atol=1e-6)
    rows = read_rows([tiny / AT.run("text", "object_rosy", "random", 4, 2)]).to_pylist()
    assert header["score"] == {r["target"]: r["score"] for r in rows if r["selected"]}


def test_a_study_is_read_back(tiny: Path) -> None:
    study = mvlpt_analysis.open_study(tiny / "results/tiny")
    assert len(study.gains) == 32
    assert {"gain", "low", "high"} <= set(study.gains.columns)
    assert "p_permutation" in study.correlations
    assert {"visual_cosine", "label_cosine"} <= set(study.similarity["measure"])
    found = study.outcomes("object_rosy")
    assert found.answers.shape == (len(found.runs), 40)
    transfer = pd.read_parquet(tiny / AT.gathered("transfer"))
    for cell, values in zip(found.runs.itertuples(), found.answers, strict=True):
        if cell.source != "scratch":
            keys = ["method", "source", "seed", "target"]
            same = (transfer[keys] == [cell.method, cell.source, cell.seed, "object_rosy"]).all(
                axis=1
            )
            assert transfer.loc[same, "score"].item() == pytest.approx(
                (values == found.truth).mean()
            )
    figure = Figure()
    ax = figure.subplots()
    assert study.heatmap(ax, "text") is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == sorted(TASKS)
    with pytest.raises(InputError, match="no outcomes of task 'birds'"):
        study.outcomes("birds")
    for name in mvlpt_analysis.__all__:
        assert callable(getattr(mvlpt_analysis, name))
        assert f"`{name}(" in (mvlpt_analysis.__doc__ or "").replace(" of `", " `")


def test_the_notebook_runs_on_a_study(root: Path, tiny: Path) -> None:
    notebook = json.loads((root / "docs/from_study_to_figure.ipynb").read_text())
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert all(c["outputs"] for c in notebook["cells"] if c["cell_type"] == "code")
    program = "\n".join(code).replace("results/testbed", str(tiny / "results/tiny"))
    for its, ours in (("frame_rosy", "object_rosy"), ("frame_leafy", "object_golden")):
        program = program.replace(its, ours)
    exec(program, {})


def test_a_finished_study_has_nothing_to_do_and_repacking_reruns_nothing(
    root: Path, tiny: Path
) -> None:
    assert plan(tiny, *configured(root)) == {}
    config = yaml.safe_load((root / "tests/workflow/config/tiny.yaml").read_text())
    config |= {"pack": 1, "tasks_per_job": 2, "device": "auto", "mem_mb": 2000}
    (tiny / "repacked.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert plan(tiny, "--configfile", str(tiny / "repacked.yaml")) == {"config": 1}


def test_a_failed_study_has_no_report_that_looks_valid(root: Path, tiny: Path) -> None:
    path = tiny / RUN
    content = path.read_bytes()
    path.write_bytes(content[:100])
    # As if the job had written it so: gather is the one to notice.
    record(tiny / AT.root, [path])
    done = subprocess.run(
        command(tiny, *configured(root)), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "seed1.parquet: not a parquet file of score rows" in done.stdout + done.stderr
    assert not (tiny / AT.report).exists()
    again = plan(tiny, *configured(root))
    assert {"gather", "report"} <= set(again)
    path.unlink()
    run(command(tiny, *configured(root)))
    assert (tiny / AT.report).exists()
    assert plan(tiny, *configured(root)) == {}


def test_one_configuration_tunes_a_group_and_starts_members_and_others_from_it(
    root: Path, tmp_path: Path
) -> None:
    """A group of two tasks from random, both members and a third task from it, at two values of shots."""
    at = Layout("results/groups")
    run(command(tmp_path, *configured(root, "groups")))
    scores = pd.read_parquet(tmp_path / at.gathered("scores"))
    found = scores[(scores["method"] == "text") & (scores["shots"] == 4)]
    assert set(zip(found["group"], found["start"], found["target"], strict=True)) == {
        *(("gold", "random", task) for task in ("object_golden", "background_golden")),
        *((task, "random", task) for task in TASKS[:3]),
        *((task, "gold", task) for task in TASKS[:3]),
    }
    assert (scores["status"] == "ok").all()
    assert sorted(scores["shots"].unique()) == [2, 4]
    # Used as it is, the group's prompt scores on a member what its own run ended with.
    joint = found[(found["group"] == "gold") & (found["target"] == "object_golden")].iloc[0]
    start = found[(found["group"] == "object_golden") & (found["start"] == "gold")].iloc[0]
    assert start["step0"] == joint["score"]
    report = (tmp_path / at.report).read_text()
    assert "nan" not in report.split("<table", 1)[0].split("</style>")[-1]
    groups = tmp_path / "groups.tsv"
    groups.write_text("group\ttask\ngold\tobject_golden\ngold\tbackground_rosy\n")
    config = yaml.safe_load((root / "tests/workflow/config/groups.yaml").read_text())
    config["groups"] = str(groups)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    stages = {
        name.rpartition("_")[0] or name
        for name in plan(tmp_path, "--configfile", str(tmp_path / "other.yaml"))
    }
    assert {"config", "group", "tune", "gather", "statistics", "report"} <= stages
    assert not {"prepare", "features_test", "features_sample", "backbone"} & stages


def test_every_kind_of_run_and_benchmark_in_small(root: Path, tmp_path: Path) -> None:
    """Sets without the target, sources of a second suite, means, joint pairs, groups, linear probes."""
    at = Layout("results/multitask")
    run(command(tmp_path, *configured(root, "multitask")))
    scores = pd.read_parquet(tmp_path / at.gathered("scores"))
    assert (scores["status"] == "ok").all()
    starts = scores[(scores["shots"] == 4) & (scores["target"] == "object_golden")]
    started = starts[(starts["group"] == "object_golden") & (starts["method"] == "text")]
    assert set(started["start"]) == {
        *("random", *TASKS),
        *("three_less_object_golden", "both_dots", "mean_others", "three_all_seeds"),
    }
    # The set's prompt as it is: what the set's own run scores on a member that it left out.
    pair = starts[starts["group"] == "object_golden_and_object_rosy"]
    assert sorted(pair["seed"]) == [1, 2]
    # One shot leaves nothing to choose a checkpoint by.
    one = scores[(scores["shots"] == 1) & (scores["method"] == "text")]
    assert (one.loc[one["group"] == one["target"], "selected_step"] == 4).all()
    probe = starts[starts["method"] == "linear_probe"]
    assert (probe["step0"] == probe["zero_shot"]).all()
    table = pd.read_parquet(tmp_path / at.benchmark("generalisation.parquet"))
    entries = set(table["entry"])
    assert {"zero-shot", "linear probe", "CoOp", "CoOp from set", "CoOp from sources"} < entries
    assert {"CoOp from mean_others", "CoOp, set as it is", "CoOp from best source"} < entries
    few = pd.read_parquet(tmp_path / at.benchmark("few_shot.parquet"))
    assert sorted(few["shots"].unique()) == [1, 4]
    joint = pd.read_csv(tmp_path / at.benchmark("joint_pairs.csv"))
    assert len(joint) == 12
    assert joint[["joint_gain", "sequential_gain"]].notna().all(axis=None)
    together = pd.read_csv(tmp_path / at.benchmark("adaptation.csv"))
    assert {"gold", "three"} == set(together["group"].dropna())
    report = (tmp_path / at.report).read_text()
    for section in ("few_shot", "generalisation", "adaptation", "joint_pairs"):
        assert f'<section id="{section}">' in report
    assert plan(tmp_path, *configured(root, "multitask")) == {}
    study = str(tmp_path / at.root)
    out = tmp_path / "best.tsv"
    # Without --shots: the transfer study is at 4 alone.
    for name, more in (("choices", ["--top", "2"]), ("groups", [])):
        arguments = [name, "--study", study, "--method", "text", *more]
        done = subprocess.run(
            [sys.executable, "-m", "mvlpt", *arguments, "--out", str(out)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or "no group of two tasks" in done.stderr
    assert read_choices(out, TASKS) if "source" in out.read_text() else read_groups([out], TASKS)
    publish_study(Path(study), tmp_path / "library", "")
    assert set(pd.read_parquet(tmp_path / "library/gains.parquet")["shots"]) == {4}


def test_the_default_study_plans_its_1377_runs_in_30_jobs(tmp_path: Path) -> None:
    said = run(command(tmp_path, "--dry-run"))
    assert "Study testbed: 1,377 runs (420 pairs of group and start x 3 methods" in said
    assert "x 1 seed, 117 again with seed 2), in 30 jobs" in said
    counts = job_counts(said)
    assert sum(n for name, n in counts.items() if name.startswith("tune_")) == 30
    assert (counts["prepare_test"], counts["backbone"], counts["gather"]) == (20, 1, 1)
    assert counts["prepare_sample"] == 33


def test_a_sentence_for_the_classes_is_no_pattern_of_files(root: Path, tmp_path: Path) -> None:
    """`{c}` stands in the configuration for a class, in Snakemake's eyes for a wildcard."""
    counts = plan(tmp_path, *configured(root, "groups"))
    assert (counts["class_texts_1"], counts["group"], counts["report"]) == (1, 1, 1)
