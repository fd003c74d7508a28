"""A message that breaks the connection to the cloud, for a reason that nobody announced."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http_proxy import close
from tests.integration.gateway.nodes import Node
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud

POISON = b"poison"


class Cutter:
    """Passes TCP on to a port and cuts each connection that carries a word."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        close(self._server)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                cloud = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            for ends in ((client, cloud), (cloud, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while received := source.recv(65536):
                if POISON in received:
                    self.cuts += 1
                    break
                sink.sendall(received)
        except OSError:
            pass
        close(source)
        close(sink)


@pytest.fixture
def cutter(cloud: Cloud) -> Iterator[Cutter]:
    between = Cutter(cloud.mqtt_port)
    yield between
    between.close()


# case G1
def test_a_message_that_breaks_the_connection_is_set_aside_whatever_the_reason(
    cloud: Cloud, cutter: Cutter, tmp_path: Path
) -> None:
    port = str(cutter.port)
    with Node(tmp_path / "node", cloud, HECATE_GATEWAY_CLOUD_MQTT_PORT=port) as node:
        with node.application() as app, Mqtt(node.mqtt_port) as person:
            assert person.subscribe("devices/#")
            for number in range(20):
                payload = POISON if number == 7 else b"%d" % number
                assert person.publish("devices/x/readings/t", payload)
            above = f"nodes/{node.node_id}/devices/x/readings/t"
            good = [n for n in range(20) if n != 7]
            until(lambda: set(app.payloads(above)) == set(good), "all others are in the cloud")
            assert list(dict.fromkeys(app.payloads(above))) == good, "in their order"
            assert len(person.messages) == 20
        until(lambda: node.spool()["set_aside"] == 1, "it is set aside")
        assert 2 <= cutter.cuts <= 6  # 3, unless a busy machine takes long to notice a cut
        (aside,) = node.spool()["latest"]
        assert aside["topic"] == "devices/x/readings/t"
        assert aside["reason"].startswith("broke the connection")
        until(lambda: node.status()["sep"]["state"] == "online", "the SEP is up")
        until(lambda: node.spooled() == 0, "the spool is empty")
        node.program.kill()  # the set-aside message survives and is not sent again
        cuts = cutter.cuts
        node.start()
        node.until_ready()
        assert node.spool()["set_aside"] == 1
        assert cutter.cuts == cuts
