from pathlib import Path

import pytest

from tests.device.boards import compile_package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the device package as it is on a board."""
    return compile_package(tmp_path_factory.mktemp("package"))
