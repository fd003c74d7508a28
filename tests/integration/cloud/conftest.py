import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cloud.peers import Cloud, Node, OpenIdProvider
from tests.programs import Program

HOST = r"127\.0\.0\.1"
READY = rf"^cloud ready: API (http://{HOST}:\d+), MQTT {HOST}:(\d+), relay {HOST}:(\d+)$"
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


def command(state: Path, *more: str) -> tuple[str, ...]:
    ports = ("--port", "0", "--mqtt-port", "0", "--relay-port", "0")
    return (sys.executable, "-m", "cloud", "--state", str(state), *ports, *more)


def start(state: Path, config: str = "[mid]\ndevelopment = true\n", **environ: str) -> Cloud:
    state.mkdir(exist_ok=True)
    file = state.parent / "cloud.toml"
    file.write_text(config)
    program = Program(command(state, "--config", str(file)), environ)
    ready = program.wait_for(READY)
    return Cloud(program, ready[1], int(ready[2]), int(ready[3]), state)


@pytest.fixture(scope="session")
def provider() -> Iterator[OpenIdProvider]:
    server = OpenIdProvider()
    yield server
    server.close()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider) -> Iterator[Cloud]:
    config = SETTINGS.format(issuer=provider.issuer)
    system = start(tmp_path_factory.mktemp("cloud") / "state", config)
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
