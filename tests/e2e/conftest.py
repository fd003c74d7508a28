"""One machine's worth of Hecate: cloud, gateway, one device in MicroPython, one microservice."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.programs import HECATE, Program, run, until

GATEWAY = """
[node]
name = "bench-gateway"
state = "{state}"
[broker]
port = 0
anonymous = "loopback"
[sidecar]
port = 0
[cloud]
url = "{cloud}"
mqtt_port = {mqtt_port}
"""


@dataclass
class Cloud:
    """The cloud's process, addresses and a person's access."""

    program: Program
    url: str
    mqtt_port: int
    state: Path

    def log_in(self, *, edge_id_token: str = "") -> str:
        """Return an access token of the development user, for a node if its token is given."""
        password = (self.state / "dev-password").read_text().strip()
        person = {"username": "dev", "password": password}
        login = httpx.post(f"{self.url}/mid/v1/dev/login", data=person).raise_for_status()
        form = {"grant_type": "id_token_signin", "id_token": login.json()["id_token"]}
        if edge_id_token:
            form["edge_id_token"] = edge_id_token
        answer = httpx.post(f"{self.url}/mid/v1/token", data=form).raise_for_status()
        return str(answer.json()["access_token"])


@dataclass
class Gateway:
    """The gateway's process, addresses and local key."""

    program: Program
    node_id: str
    mqtt_port: int
    url: str
    state: Path

    @property
    def key(self) -> str:
        """The sidecar's API key."""
        return (self.state / "api-key").read_text().strip()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the sidecar with the API key; fail when it fails."""
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.request(method, self.url + path, headers=headers, timeout=30, **options)
        return answer.raise_for_status()

    def rpc(self, method: str, *params: str) -> dict[str, Any]:
        """Return the result of a JSON-RPC call."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self.call("POST", "/jsonrpc/v1", json=body).json()
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def status(self) -> dict[str, Any]:
        """Return the gateway's snapshot."""
        snapshot: dict[str, Any] = self.call("GET", "/status/v1").json()
        return snapshot


def start_cloud(state: Path) -> Cloud:
    """Start a cloud in development mode on free ports."""
    ports = ("--port", "0", "--mqtt-port", "0", "--relay-port", "0")
    command = (sys.executable, "-m", "cloud", "--state", str(state), *ports)
    program = Program(command, {"HECATE_CLOUD_MID_DEVELOPMENT": "true"})
    ready = program.wait_for(r"cloud ready: API (http://\S+), MQTT 127.0.0.1:(\d+)")
    return Cloud(program, ready[1].rstrip(","), int(ready[2]), state)


def start_gateway(state: Path, cloud: Cloud) -> Gateway:
    """Start a gateway that belongs to a cloud, on free ports."""
    state.mkdir(exist_ok=True)
    config = state / "gateway.toml"
    settings = {"state": state, "cloud": cloud.url, "mqtt_port": cloud.mqtt_port}
    config.write_text(GATEWAY.format(**settings))
    program = Program((*HECATE, "gateway", "--config", str(config)))
    line = r"gateway ready: node (\w{12}), MQTT 127.0.0.1:(\d+), API (http://\S+),"
    ready = program.wait_for(line)
    gateway = Gateway(program, "", int(ready[2]), ready[3], state)
    gateway.node_id = gateway.status()["node"]["id"]
    assert gateway.node_id.startswith(ready[1])
    until(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 200, "the gateway is ready")
    return gateway


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    system = start_cloud(tmp_path_factory.mktemp("cloud"))
    yield system
    assert system.program.stop() == 0


@pytest.fixture(scope="module")
def gateway(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway that is associated with the development account and runs the example."""
    node = start_gateway(tmp_path_factory.mktemp("gateway"), cloud)
    token = cloud.log_in(edge_id_token=node.rpc("getEdgeIdToken")["id_token"])
    assert node.rpc("associateAccount", token)["accountId"]
    run((*HECATE, "deploy", "examples/climate"), HECATE_URL=node.url, HECATE_API_KEY=node.key)
    yield node
    assert node.program.stop() == 0
