from collections.abc import Iterator

import pytest

from tests.system import Cloud, Gateway, start_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    system = start_cloud(tmp_path_factory.mktemp("cloud") / "state")
    yield system
    assert system.program.stop() == 0


@pytest.fixture(scope="module")
def node(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway whose SEP is online and that is in no account yet."""
    with Gateway(tmp_path_factory.mktemp("node"), **cloud.environ()) as gateway:
        gateway.until_ready()
        yield gateway
