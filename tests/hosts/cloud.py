"""Runs a cloud on a host of a test network, with nodes that belong to its development account."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.hosts.gateways import HostGateway
from tests.hosts.network import Host
from tests.mqtt_peer import Mqtt
from tests.programs import Program
from tests.system import Cloud, cloud_command

PORTS = 8080, 1884, 8443  # API, MQTT, relay
CONFIG = """
[mid]
development = true
[api]
plaintext_beyond_loopback = true
[mqtt]
plaintext_beyond_loopback = true
[relay]
plaintext_beyond_loopback = true
"""
RULES = """
[[uplink.topics]]
filter = "plant/#"
direction = "up"
"""


class HostCloud(Cloud):
    """A cloud on a host of its own."""

    def __init__(self, host: Host, state: Path) -> None:
        self.host = host
        state.mkdir(exist_ok=True)
        self._config = state.with_suffix(".toml")
        self._config.write_text(CONFIG)
        program = self._start(state)
        super().__init__(program, f"http://{host.address}:{PORTS[0]}", *PORTS[1:], state)

    def _start(self, state: Path) -> Program:
        more = ("--config", str(self._config), "--host", self.host.address)
        program = Program(self.host.command(*cloud_command(state, *more, ports=PORTS)))
        program.wait_for("^cloud ready")
        return program

    def restart(self) -> None:
        """End it by SIGKILL, and start it again."""
        self.program.kill()
        self.program = self._start(self.state)

    def call(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        with self.host.inside():
            return super().call(method, path, token, **options)


class CloudNode(HostGateway):
    """A gateway of the development account that sends plant/# to the cloud."""

    def __init__(self, host: Host, folder: Path, cloud: HostCloud, **environ: str) -> None:
        folder.mkdir(parents=True)
        self._config = folder / "gateway.toml"
        self._config.write_text(RULES)
        super().__init__(
            host,
            folder / "state",
            **{
                "HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback",
                "HECATE_GATEWAY_CLOUD_URL": cloud.url,
                "HECATE_GATEWAY_CLOUD_MQTT_PORT": str(cloud.mqtt_port),
                **environ,
            },
        )
        self.token = cloud.log_in(self.rpc("getEdgeIdToken")["id_token"])
        self.account = str(self.rpc("associateAccount", self.token)["accountId"])

    def command(self) -> tuple[str, ...]:
        return (*super().command(), str(self._config))


class Application:
    """An application of the account that gets what nodes send; a context that disconnects it."""

    def __init__(self, cloud: HostCloud, nodes: Sequence[CloudNode]) -> None:
        self._cloud, self._nodes = cloud, nodes
        self._clients: list[Mqtt] = []
        self.connect()
        assert all(self._clients[0].subscribe(f"nodes/{each.node_id}/#") for each in nodes)

    def connect(self) -> None:
        """Connect, again after a restart of the cloud; the session keeps what came meanwhile."""
        first = self._nodes[0]
        with self._cloud.host.inside():
            client = Mqtt(
                self._cloud.mqtt_port,
                first.account,
                first.token,
                "application",
                host=self._cloud.host.address,
                clean_start=False,
                expiry_s=3600,
            )
        assert client.is_in, client.reason
        self._clients.append(client)

    def texts(self) -> list[str]:
        """Return the messages that have come."""
        return [bytes(m.payload).decode() for each in self._clients for m in list(each.messages)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self._clients:
            each.close()
