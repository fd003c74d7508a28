"""Gateways of an account: one that mirrors topics, and one that runs the example."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mqtt_peer import Mqtt
from tests.programs import HECATE, run
from tests.system import Cloud, Gateway

RULES = """
[[uplink.topics]]
filter = "devices/#"
direction = "up"
[[uplink.topics]]
filter = "plant/+/level"
direction = "up"
rename = "site/+/fill"
[[uplink.topics]]
filter = "fast/#"
direction = "up"
qos = 0
[[uplink.topics]]
filter = "devices/+/commands/#"
direction = "down"
[[uplink.topics]]
filter = "recipes/#"
direction = "down"
rename = "kitchen/#"
"""


@contextmanager
def climate_gateway(folder: Path, cloud: Cloud) -> Iterator[Gateway]:
    """Run a gateway in the development account, with the example microservice."""
    with Gateway(folder, **cloud.environ()) as node:
        node.until_ready()
        node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
        deploy = (*HECATE, "deploy", "examples/climate")
        run(deploy, HECATE_URL=node.url, HECATE_API_KEY=node.key)
        yield node


class Node(Gateway):
    """A gateway with its own rules, in the development account."""

    def __init__(self, folder: Path, cloud: Cloud, rules: str = RULES, **environ: str) -> None:
        self.cloud, self.token = cloud, ""
        folder.mkdir()
        self.config = folder / "gateway.toml"
        self.config.write_text(rules)
        super().__init__(
            folder / "state",
            **{"HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback", **cloud.environ(), **environ},
        )
        self.until_ready()
        self.token = cloud.log_in(self.rpc("getEdgeIdToken")["id_token"])
        self.account = self.rpc("associateAccount", self.token)["accountId"]

    def command(self) -> tuple[str, ...]:
        return (*super().command(), str(self.config))

    @contextmanager
    def application(self) -> Iterator[Mqtt]:
        """Give a client of the account at the cloud's broker."""
        port = self.cloud.mqtt_port
        with Mqtt(port, self.account, self.token, f"app-{self.node_id[:8]}") as client:
            assert client.is_in, client.reason
            assert client.subscribe(f"nodes/{self.node_id}/#")
            yield client

    def spooled(self) -> int:
        return int(self.status()["sep"]["spool"]["messages"])

    def spool(self) -> dict[str, Any]:
        spool: dict[str, Any] = self.status()["sep"]["spool"]
        return spool
