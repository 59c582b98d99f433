"""Which prompt a task that was not in the study should start from."""

import numpy as np
import pandas as pd
import pytest

from mvlpt.recommend import _shown
from mvlpt_analysis.new_task import recommend_start
from mvlpt_analysis.read.features import TaskFeatures, read_tasks
from mvlpt_analysis.similarity.pairs import task_similarities
from mvlpt_core.contract.errors import InputError
from support import view_data as made


def features(name: str, seed: int) -> TaskFeatures:
    rng = np.random.default_rng(seed)
    images, words = (rng.normal(size=(rows, 8)) for rows in (12, 3))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    labels = np.repeat(np.arange(3), 4)
    return TaskFeatures(name, ("a", "b", f"c{seed}"), images, labels, words, words, 10.0)


def test_a_new_task_is_told_where_to_start():
    names = made.tasks(5)
    tasks = [features(name, i) for i, name in enumerate(names)]
    transfers = made.transfer(5, ("text",), 2)
    group = transfers[transfers["source"] == names[0]].assign(source="all_five")
    tables = made.tables(5, ("text",), transfers=transfers, alike=task_similarities(tasks))
    gains = made.tables(5, ("text",), transfers=pd.concat([transfers, group]))["gains"]
    assert "all_five" in set(gains["source"])
    prompts = {("text", name): f"runs/{name}/seed1.safetensors" for name in names}
    found = recommend_start(features("new", 7), tasks, gains, tables["similarity"], prompts)
    ranked = found.table
    assert ranked["rank"].tolist() == [1, 2, 3, 4, 5]
    assert set(ranked["source"]) == set(names)
    assert not any(column.startswith("prompt_cosine") for column in ranked)
    assert ranked["prompt"].tolist() == [f"runs/{s}/seed1.safetensors" for s in ranked["source"]]
    assert "visual_cosine" in ranked["why"][0]
    assert found.statements[0].startswith("text: ")
    # The most alike task is the one with the highest mean percentile; what sources gained on it, both ways.
    percentiles = ranked.set_index("source").filter(like="_percentile").mean(axis=1)
    (like,) = set(ranked["like"])
    assert like == percentiles.idxmax()
    on_it = gains[gains["target"] == like].set_index("source").loc[ranked["source"]]
    other = (ranked["source"] != like).to_numpy()
    for name, column in (("gain_on_like", "gain"), ("gain_shrunk_on_like", "gain_shrunk")):
        np.testing.assert_array_equal(ranked[name][other], on_it[column][other])
        assert ranked[name][~other].isna().all()
    said = _shown("text", ranked.head(2))
    first = ranked[other].iloc[0]
    assert f"measured on {like}, the most alike task:" in " ".join(said.split())
    assert f"(shrunk {100 * first['gain_shrunk_on_like']:+.1f})" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    again = recommend_start(
        features("new", 7), tasks, tables["gains"], tables["similarity"], prompts
    )
    assert again.table["source"].tolist() == ranked["source"].tolist()


def test_lost_features_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"gone\.safetensors"):
        read_tasks([tmp_path / "gone.safetensors"], [])
