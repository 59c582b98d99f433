"""The analysis' command line: studies, tables of others, recommendations, mistakes."""

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from mvlpt_analysis import foreign, study
from mvlpt_analysis.__main__ import main
from mvlpt_analysis.figures import gallery
from mvlpt_core.contract.errors import InputError
from support import view_data as made


@pytest.fixture(autouse=True)
def one_figure(monkeypatch):
    """Only the first kind of figure is drawn: all are in the tests of figures."""
    mpl.use("Agg")
    monkeypatch.setattr(gallery, "MAKERS", (gallery.gain_heatmaps,))


FEW = ["--permutations", "100", "--bootstrap", "50"]


def table(n: int = 5, extra: int = 2, seed: int = 0) -> pd.DataFrame:
    """Scores of n + extra sources on n targets, each better on tasks near to it."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"t{s}", f"t{t}", 0.8 - 0.05 * abs(s - t) + 0.005 * rng.normal(), -abs(s - t))
        for s in range(n + extra)
        for t in range(n)
    ]
    return pd.DataFrame(rows, columns=["source", "target", "score", "closeness"])


def features(folder, name: str, seed: int, shift: float = 0.0) -> None:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(12, 8)) + shift
    words = rng.normal(size=(3, 8))
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (images, words)]
    labels = np.repeat(np.arange(3), 4)
    meta = {
        "name": name,
        "classnames": ["a", "b", f"c{seed}"],
        "templates": ["{c}"],
        "metric": "accuracy",
        "multilabel": False,
        "shots": 4,
        "image_size": 8,
        "source_digest": "x",
        "logit_scale": 10.0,
    }
    tensors = {
        "train_features": unit[0],
        "test_features": unit[0],
        "class_features": unit[1],
        "text_features": unit[1],
        "train_logits": unit[0] @ unit[1].T,
        "zero_shot_logits": unit[0] @ unit[1].T,
    }
    save_file(
        {
            **{key: value.astype(np.float32) for key, value in tensors.items()},
            "train_labels": labels,
            "test_labels": labels,
        },
        folder / f"{name}.safetensors",
        metadata={"task": json.dumps(meta)},
    )


def test_a_foreign_table_with_its_similarity(tmp_path, capsys):
    path = tmp_path / "scores.csv"
    table().to_csv(path, index=False)
    out = tmp_path / "out"
    command = [str(path), "--similarity", str(path), "--out", str(out), *FEW]
    assert main(command) == 0
    assert "report.html" in capsys.readouterr().out
    rows = pd.read_csv(out / "correlations.csv")
    chosen = (rows["scope"] == "pooled") & (rows["statistic"] == "spearman")
    assert rows.loc[chosen, "value"].iloc[0] > 0.9
    gains = pd.read_csv(out / "tables" / "gains.csv").set_index(["source", "target"])["gain"]
    scores = table().set_index(["source", "target"])["score"]
    assert gains["t1", "t0"] == pytest.approx(scores["t1", "t0"] / scores["t0", "t0"] - 1)
    svg = (out / "figures" / "gains_scores.svg").read_text()
    assert "t6" in svg
    assert "percent" in svg


def test_several_tables_are_compared(tmp_path):
    for size, seed in (("1k", 1), ("16k", 2)):
        frame = table(5, 2, seed)
        frame["score"] /= 1000  # affinities: no common scale, so standardised within targets
        baseline = frame[frame["source"] == "t1"].assign(source="self", score=0.5)
        pd.concat([frame, baseline]).to_csv(tmp_path / f"affinity_{size}.csv", index=False)
    out = tmp_path / "out"
    paths = [str(tmp_path / f"affinity_{size}.csv") for size in ("1k", "16k")]
    assert main([*paths, "--out", str(out), *FEW]) == 0
    row = pd.read_csv(out / "tables" / "agreement.csv").iloc[0]
    assert (row["a"], row["b"], row["n_pairs"]) == ("1k", "16k", 30)
    assert row["spearman_per_target"] > 0.9
    assert set(pd.read_csv(out / "tables" / "clusters.csv")["method"]) == {"1k", "16k"}
    page = (out / "report.html").read_text()
    assert "agree on the order of sources" in page
    assert "sources left out" in page
    gains = pd.read_csv(out / "tables" / "gains.csv")
    off = gains[gains["source"] != gains["target"]].groupby(["method", "target"])["gain"]
    assert off.mean().abs().max() < 1e-9
    assert off.std().to_numpy() == pytest.approx(1)


def test_gain_by_column(tmp_path):
    frame = table().assign(scratch=0.5)
    assert foreign._kind([frame], [tmp_path]) == "minus_scratch"
    assert foreign._gain(frame, "minus_scratch", tmp_path)[0] == pytest.approx(
        frame["score"][0] - 0.5
    )
    assert foreign._kind([frame.assign(gain=1.0)], [tmp_path]) == "gain"
    with pytest.raises(InputError, match="column 'scratch' is missing"):
        foreign._gain(table(), "minus_scratch", tmp_path)


def test_models_and_metrics_stand_for_methods(tmp_path):
    parts = [table(3, 0).assign(model=model, metric="acc") for model in ("A", "B")]
    path = tmp_path / "many.csv"
    pd.concat(parts).to_csv(path, index=False)
    assert set(foreign._read(path)["method"]) == {"A", "B"}
    seeds = [table(3, 0, seed).assign(seed=seed) for seed in (1, 2)]
    pd.concat(seeds).to_csv(path, index=False)
    frame = foreign._read(path)
    assert len(frame) == 9
    assert frame["score"][1] == pytest.approx(np.mean([part["score"][1] for part in seeds]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("source,target\na,b\n", "column 'score' is missing"),
        ("source,target,score\na,b,x\n", "expected a finite number"),
        ("source,target,score\na,b,1\na,b,2\n", "more than one row"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(tmp_path, capsys, content, message):
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_text(content)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_similarity_without_a_measure(tmp_path, capsys):
    path = tmp_path / "scores.csv"
    table()[["source", "target", "score"]].to_csv(path, index=False)
    command = [str(path), "--similarity", str(path), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "no similarity in it" in capsys.readouterr().err


def test_study_and_recommendation(tmp_path, capsys):
    folder = made.write_study(tmp_path / "s", 5, ("text",), alike=False)
    (folder / "features").mkdir()
    for i, task in enumerate(made.tasks(5)):
        features(folder / "features", task, i)
        prompt = folder / "sources" / "text" / task / "seed1.safetensors"
        prompt.parent.mkdir(parents=True)
        header = {"prompt": json.dumps({"method": "text", "task": task, "seed": 1})}
        save_file({"text": np.eye(2, 4, dtype=np.float32) + i}, prompt, metadata=header)
    assert main(["study", str(folder), *FEW]) == 0
    assert (folder / "similarity.parquet").exists()
    features(tmp_path, "new", 7)
    out = tmp_path / "ranked.csv"
    new = str(tmp_path / "new.safetensors")
    capsys.readouterr()
    assert main(["recommend", "--study", str(folder), "--task", new, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "start from" in text
    assert "seed1.safetensors" in text
    assert "visual_cosine" in text
    ranked = pd.read_csv(out)
    assert ranked["rank"].tolist() == [1, 2, 3, 4, 5]
    assert not any(column.startswith("prompt_cosine") for column in ranked)
    assert main(["recommend", "--study", str(folder), "--task", str(out)]) == 2


def test_recommendation_without_features_is_an_error(tmp_path):
    folder = made.write_study(tmp_path / "s", 3, ("text",))
    study.analyse_statistics(folder, permutations=50, bootstrap=50)
    with pytest.raises(InputError, match=r"features/\*\.safetensors"):
        study.recommend_for(folder, tmp_path / "x.safetensors")
