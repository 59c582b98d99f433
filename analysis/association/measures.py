"""Tables of the measures themselves: their values, and how they go with one another."""

from ..similarity.pairs import measure_correlations, measure_overview

__all__ = ["measure_correlations", "measure_overview"]

MEASURE_COLUMNS = (
    *("measure", "kind", "symmetric", "n_pairs", "minimum", "median", "maximum"),
    *("asymmetry", "description"),
)
MEASURE_CORRELATION_COLUMNS = ("a", "b", "method", "spearman", "p_permutation", "n")
