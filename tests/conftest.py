import os
from pathlib import Path

import pytest

# Before any test imports torch or matplotlib: one thread a test process, no window.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies first: at the end one process would run them while the other waits."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
