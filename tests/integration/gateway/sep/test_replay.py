"""A request that was recorded on its way to the node is of no use to anybody."""

import selectors
import socket
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.programs import until
from tests.system import Cloud, Gateway


class Wire:
    """Carries one MQTT connection at a time between a gateway and its cloud; reads along."""

    def __init__(self, port: int) -> None:
        self._cloud_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.packets: list[bytes] = []  # from the cloud
        self.answers = 0  # packets of the gateway that hold an answer
        self._gateway: socket.socket | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def inject(self, packet: bytes) -> None:
        """Send the gateway a packet as its cloud would."""
        assert self._gateway is not None
        self._gateway.sendall(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closed:
            try:
                gateway, _ = self._listener.accept()
            except OSError:
                return
            with gateway, socket.create_connection(("127.0.0.1", self._cloud_port)) as cloud:
                self._gateway = gateway
                self._carry(gateway, cloud)
                self._gateway = None

    def _carry(self, gateway: socket.socket, cloud: socket.socket) -> None:
        down = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(gateway, selectors.EVENT_READ, cloud)
            ready.register(cloud, selectors.EVENT_READ, gateway)
            while not self._is_closed:
                for key, _ in ready.select(0.05):
                    source = gateway if key.data is cloud else cloud
                    try:
                        data = source.recv(65536)
                        key.data.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    if source is cloud:
                        down += data
                        self._split(down)
                    elif b"/response/" in data:
                        self.answers += 1

    def _split(self, down: bytearray) -> None:
        while len(down) > 1:
            length = shift = 0
            at = 1
            while True:
                length |= (down[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if not down[at - 1] & 0x80:
                    break
                if at == len(down):
                    return
            if len(down) < at + length:
                return
            self.packets.append(bytes(down[: at + length]))
            del down[: at + length]


def claims_of(node: Gateway) -> int:
    database = sqlite3.connect(node.state / "gateway.db")
    (count,) = database.execute("SELECT count(*) FROM claims").fetchone()
    database.close()
    return int(count)


# case CL5
def test_a_recorded_request_is_executed_once_whatever_restarts(
    cloud: Cloud, tmp_path: Path
) -> None:
    with Wire(cloud.mqtt_port) as wire:
        environ = {**cloud.environ(), "HECATE_GATEWAY_CLOUD_MQTT_PORT": str(wire.port)}
        with Gateway(tmp_path, **environ) as node:
            node.until_ready()
            owner = cloud.log_in(node.rpc("getEdgeIdToken")["id_token"])
            node.rpc("associateAccount", owner)
            made = httpx.post(
                f"{cloud.url}/sep/{node.node_id}/devices/v1/claims",
                headers={"Authorization": f"Bearer {owner}"},
                json={},
                trust_env=False,
                timeout=30,
            )
            assert made.is_success, made.text
            assert (claims_of(node), wire.answers) == (1, 1)
            (recorded,) = [each for each in wire.packets if b"/request" in each]
            for _ in range(2):
                wire.inject(recorded)
                check = httpx.get(f"{cloud.url}/sep/{node.node_id}/healthz", trust_env=False)
                assert check.status_code == 200, "served behind it: it was looked at"
                until(lambda: wire.answers >= 2, "that answer passed")
                assert (claims_of(node), wire.answers) == (1, 2)
                wire.answers = 1
                node.program.kill()
                node.start()
                node.until_ready()
            wire.inject(recorded)
            check = httpx.get(f"{cloud.url}/sep/{node.node_id}/healthz", trust_env=False)
            assert check.status_code == 200
            assert claims_of(node) == 1
