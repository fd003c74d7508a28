"""Lets the tests of each example import the `service` beside them, all in one run."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collectstart(collector: pytest.Collector) -> None:
    if isinstance(collector, pytest.Module):
        sys.modules.pop("service", None)
        others = [path for path in sys.path if Path(path).parent != FOLDER]
        sys.path[:] = [str(collector.path.parent), *others]
