from collections.abc import Iterator

import pytest

from tests.integration.cloud.peers import Node, OpenIdProvider
from tests.system import Cloud, start_cloud

SETTINGS = """
[mid]
development = true
[[mid.providers]]
issuer = "{issuer}"
client_id = "client"
[mss]
timeout_s = 1.5
open_limit_node = 3
bep_limit_node = 3
"""


@pytest.fixture(scope="session")
def provider() -> Iterator[OpenIdProvider]:
    server = OpenIdProvider()
    yield server
    server.close()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider) -> Iterator[Cloud]:
    config = SETTINGS.format(issuer=provider.issuer)
    system = start_cloud(tmp_path_factory.mktemp("cloud") / "state", config)
    yield system
    assert system.program.stop() == 0
    log = "".join(system.program.lines)
    assert "Traceback" not in log, log
    assert "Bearer" not in log, log


@pytest.fixture
def node(cloud: Cloud) -> Node:
    """Give a node that is registered."""
    peer = Node(cloud)
    peer.register().raise_for_status()
    return peer
