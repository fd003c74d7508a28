"""Compiles the device package once for all tests."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.device.boards import compile_package
from tests.device.mosquitto import Mosquitto

# The device package marks its constants for MicroPython's compiler; CPython runs its pure parts.
sys.modules.setdefault("micropython", ModuleType("micropython")).const = lambda value: value  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the device package as it is on a board."""
    return compile_package(tmp_path_factory.mktemp("package"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """Give a running mosquitto."""
    with Mosquitto(tmp_path) as running:
        yield running
