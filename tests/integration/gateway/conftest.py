from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import Cloud, Gateway, start_cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Give a cloud that nobody may stop."""
    system = start_cloud(tmp_path_factory.mktemp("cloud"))
    yield system
    assert system.program.stop() == 0


@pytest.fixture
def cloud_of_its_own(tmp_path: Path) -> Iterator[Cloud]:
    """Give a cloud that a test may stop."""
    system = start_cloud(tmp_path / "cloud")
    yield system
    system.program.stop()


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway without a cloud."""
    with Gateway(tmp_path_factory.mktemp("lone")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def node(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway whose SEP is online and that is in no account yet."""
    state = tmp_path_factory.mktemp("node")
    with Gateway(state, HECATE_GATEWAY_BROKER_ANONYMOUS="loopback", **cloud.environ()) as gateway:
        gateway.until_ready()
        yield gateway
