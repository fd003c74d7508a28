"""One broker as people run it, and clients by the name of their library."""

import secrets
from collections.abc import Callable, Iterator

import pytest
from aiomqtt import ProtocolVersion

from tests.integration.broker.clients.cable import Cable
from tests.integration.broker.clients.peer import Opening, Peer
from tests.integration.broker.clients.with_aiomqtt import AiomqttPeer
from tests.integration.broker.clients.with_amqtt import AmqttPeer
from tests.integration.broker.clients.with_mqttjs import MqttJsPeer
from tests.integration.broker.clients.with_paho import PahoPeer
from tests.paho_client import V4, V5
from tests.programs import HECATE, Program

Open = Callable[..., Peer]

LIBRARIES: dict[str, Callable[[Opening], Peer]] = {
    "paho 3.1.1": lambda opening: PahoPeer(opening, V4),
    "paho 5": lambda opening: PahoPeer(opening, V5),
    "aiomqtt 3.1.1": lambda opening: AiomqttPeer(opening, ProtocolVersion.V311),
    "aiomqtt 5": lambda opening: AiomqttPeer(opening, ProtocolVersion.V5),
    "amqtt 3.1.1": AmqttPeer,
    "MQTT.js 3.1.1": lambda opening: MqttJsPeer(opening, 4),
    "MQTT.js 5": lambda opening: MqttJsPeer(opening, 5),
}


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    with Program([*HECATE, "broker", "--listen", "127.0.0.1:0", "--anonymous"]) as program:
        yield int(program.wait_for(r"broker ready: MQTT [\d.]+:(\d+);")[1])


@pytest.fixture
def root() -> str:
    """Return the topic level that this test has for itself."""
    return secrets.token_hex(6)


@pytest.fixture
def cable(port: int) -> Iterator[Cable]:
    with Cable(port) as cable:
        yield cable


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def connect(port: int, root: str, library: str) -> Iterator[Open]:
    """Connect a client of the library; its id is the test's own."""
    opened: list[Peer] = []

    def connect(client_id: str, **options: object) -> Peer:
        given = {"port": port, **options}
        peer = LIBRARIES[library](Opening(f"{root}-{client_id}", **given))  # type: ignore[arg-type]  # passed on
        opened.append(peer)
        return peer

    yield connect
    for each in opened:
        each.close()
