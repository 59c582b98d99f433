"""Calls in several processes give what they give in one, in order."""

from functools import partial
from operator import add

import pytest

from mvlpt_analysis.parallel import side_by_side


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers: int) -> None:
    assert side_by_side([partial(add, i, 10) for i in range(7)], workers) == list(range(10, 17))


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side([partial(divmod, 1, 1), partial(divmod, 1, 0)], 2)
