"""Every table has its header and makes no noise, however little a study holds."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest

from mvlpt_analysis.association import links, measures
from mvlpt_analysis.association import tables as association
from mvlpt_analysis.choice import groups, ranking
from mvlpt_analysis.choice.recommend import recommend
from mvlpt_analysis.foreign import CLUSTER_COLUMNS, cluster_table
from mvlpt_analysis.gains import controls, curves, image_bootstrap, relations
from mvlpt_analysis.gains.agreement import AGREEMENT_COLUMNS, agreements
from mvlpt_analysis.gains.shares import VARIANCE_COLUMNS, variance_table
from mvlpt_analysis.gains.table import GAIN_COLUMNS, GAIN_KINDS, gain_table
from mvlpt_analysis.read import pairs
from mvlpt_analysis.read.study import factor_frame
from support import view_data as made


class Study:
    """The frames of a study of `n` tasks; with `lost`, every run diverged."""

    def __init__(self, n: int, lost: bool, seeds: int) -> None:
        self.tasks = made.tasks(n)
        transfer = made.transfer(max(n, 1), ("text",), seeds)
        self.transfer = made.diverged(transfer, "text") if lost else transfer
        self.transfer = self.transfer if n else self.transfer.iloc[:0]
        self.similarity = made.similarity(max(n, 1))
        self.similarity = self.similarity if n else self.similarity.iloc[:0]
        self.gains = gain_table(self.transfer)
        self.factors = factor_frame(self.tasks, made.factors(n))

    @property
    def data(self) -> association.Matrices:
        return association.matrices(self.gains, self.similarity, GAIN_KINDS)

    @property
    def matrix(self) -> np.ndarray:
        return pairs.square(self.gains, "gain", self.tasks)


study_of = cache(Study)
Table = Callable[[Study], pd.DataFrame]
TABLES: dict[str, tuple[Table, tuple[str, ...]]] = {
    "gains": (lambda s: s.gains, GAIN_COLUMNS),
    "variance": (lambda s: variance_table(s.transfer), VARIANCE_COLUMNS),
    "correlations": (
        lambda s: association.correlation_table(s.data, permutations=9),
        association.CORRELATION_COLUMNS,
    ),
    "links": (
        lambda s: links.link_table(s.data, s.factors, permutations=9),
        links.LINK_COLUMNS,
    ),
    "partial": (
        lambda s: association.partial_table(s.data, permutations=9),
        association.PARTIAL_COLUMNS,
    ),
    "regression": (
        lambda s: association.regression_table(s.data, permutations=9),
        association.REGRESSION_COLUMNS,
    ),
    "measures": (lambda s: measures.measure_overview(s.similarity), measures.MEASURE_COLUMNS),
    "measure_correlations": (
        lambda s: measures.measure_correlations(s.similarity, 9),
        measures.MEASURE_CORRELATION_COLUMNS,
    ),
    "ranking_by_target": (
        lambda s: ranking.rank_quality(s.gains, s.similarity),
        ranking.RANKING_BY_TARGET_COLUMNS,
    ),
    "ranking": (
        lambda s: ranking.summarise_quality(ranking.rank_quality(s.gains, s.similarity)),
        ranking.RANKING_COLUMNS,
    ),
    "groups": (lambda s: groups.group_table(s.tasks, s.matrix, draws=3), groups.GROUP_COLUMNS),
    "givers": (lambda s: groups.givers(s.gains), groups.GIVER_COLUMNS),
    "edges": (lambda s: groups.transfer_graph(s.gains), groups.EDGE_COLUMNS),
    "relations": (
        lambda s: relations.relation_table(s.gains, s.factors),
        relations.RELATION_COLUMNS,
    ),
    "effects": (
        lambda s: relations.effect_table(s.gains, s.factors, permutations=9),
        relations.EFFECT_COLUMNS,
    ),
    "asymmetry": (
        lambda s: controls.asymmetry_table(s.gains, permutations=9),
        controls.ASYMMETRY_COLUMNS,
    ),
    "diagonal": (lambda s: controls.diagonal_control(s.gains), controls.DIAGONAL_COLUMNS),
    "task_effects": (lambda s: controls.task_effects(s.gains), controls.TASK_EFFECT_COLUMNS),
    "curves": (
        lambda s: curves.curve_frame(made.curves(s.transfer), "text", bootstrap=9),
        curves.CURVE_MEAN_COLUMNS,
    ),
    "reached": (
        lambda s: curves.reached(curves.curve_frame(made.curves(s.transfer), "text", bootstrap=9)),
        curves.REACHED_COLUMNS,
    ),
    "clusters": (lambda s: cluster_table(s.gains), CLUSTER_COLUMNS),
    "agreement": (lambda s: agreements(s.gains, 9), AGREEMENT_COLUMNS),
}
TESTED = ("correlations", "links", "partial", "regression", "measure_correlations")


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_its_header(name: str, lost: bool, seeds: int, n: int) -> None:
    make, columns = TABLES[name]
    table = make(study_of(n, lost, seeds))
    assert tuple(table.columns) == columns
    if name in TESTED:
        assert table.empty == (n < 4)


def test_similarities_without_a_number_have_reasons() -> None:
    study = Study(5, False, 2)
    study.similarity = study.similarity.assign(value=np.nan)
    table = association.correlation_table(study.data, permutations=9)
    assert table[["value", "p_permutation", "q"]].isna().all(axis=None)
    assert set(table["reason"]) == {"fewer than 3 defined pairs"}
    assert measures.measure_overview(study.similarity)["n_pairs"].tolist() == [0, 0]
    assert measures.measure_correlations(study.similarity, 9)["spearman"].isna().all()
    quality = ranking.rank_quality(study.gains, study.similarity).set_index("ranker")
    assert quality.loc["visual_cosine", "ndcg"].isna().all()


def test_a_method_without_gains_says_so() -> None:
    study = Study(5, True, 2)
    effects = relations.effect_table(study.gains, study.factors, permutations=9)
    assert set(effects["reason"]) == {"no pair has a gain"}
    assert groups.group_table(study.tasks, study.matrix).empty


@pytest.mark.parametrize("lost", [False, True])
def test_a_new_task_has_recommendations_of_the_methods_that_have_gains(lost: bool) -> None:
    study = Study(5, lost, 2)
    new = study.similarity[study.similarity["target"] == study.tasks[0]]
    found = recommend(study.gains, study.similarity, new[["source", "measure", "value"]])
    assert len(found.table) == (0 if lost else 5)
    assert {"method", "rank", "source", "expected_gain", "prompt"} <= set(found.table.columns)


def test_images_without_a_scratch_run_have_no_interval() -> None:
    names = ["method", "source", "target", "seed", "metric", "outcomes", "outcome_kind"]
    truth = pd.DataFrame(columns=["target", "metric", "n", "truth"])
    found = image_bootstrap.image_intervals(pd.DataFrame(columns=names), truth)
    assert tuple(found.columns) == image_bootstrap.INTERVAL_COLUMNS
