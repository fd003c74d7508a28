"""Who talks to a gateway: its cloud, a person at the sidecar, an MQTT client."""

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.mqtt_peer import Mqtt
from tests.programs import Program, until

SCOPES = "edge:mcm edge:clusters edge:account:associate edge:read:accountkey hec:data"


@dataclass
class Cloud:
    """A running cloud."""

    program: Program
    url: str
    mqtt_port: int
    relay_port: int
    state: Path

    def environ(self) -> dict[str, str]:
        """Return the settings of a gateway that belongs to this cloud."""
        return {
            "HECATE_GATEWAY_CLOUD_URL": self.url,
            "HECATE_GATEWAY_CLOUD_MQTT_PORT": str(self.mqtt_port),
        }

    def log_in(self, edge_id_token: str) -> str:
        """Return an access token of the development user, bound to a node."""
        password = (self.state / "dev-password").read_text().strip()
        person = {"username": "dev", "password": password}
        login = httpx.post(f"{self.url}/mid/v1/dev/login", data=person, trust_env=False)
        form = {
            "grant_type": "id_token_signin",
            "id_token": login.raise_for_status().json()["id_token"],
            "edge_id_token": edge_id_token,
            "scope": SCOPES,
        }
        answer = httpx.post(f"{self.url}/mid/v1/token", data=form, trust_env=False)
        return str(answer.raise_for_status().json()["access_token"])


def start_cloud(state: Path, url_port: int = 0, mqtt_port: int = 0, relay_port: int = 0) -> Cloud:
    """Start a cloud; without ports on any free ones."""
    command = (sys.executable, "-m", "cloud", "--state", str(state), "--port", str(url_port),
               "--mqtt-port", str(mqtt_port), "--relay-port", str(relay_port))  # fmt: skip
    program = Program(command, {"HECATE_CLOUD_MID_DEVELOPMENT": "true"})
    ready = program.wait_for(
        r"cloud ready: API (http://\S+), MQTT 127\.0\.0\.1:(\d+), relay 127\.0\.0\.1:(\d+)"
    )
    return Cloud(program, ready[1], int(ready[2]), int(ready[3]), state)


def restart_cloud(cloud: Cloud) -> Cloud:
    """Start a cloud that was stopped again, where it was."""
    port = int(cloud.url.rpartition(":")[2])
    return start_cloud(cloud.state, port, cloud.mqtt_port, cloud.relay_port)


class Gateway:
    """A running gateway; a context that ends it."""

    def __init__(self, state: Path, **environ: str) -> None:
        self.state = state
        self.environ = {
            "HECATE_GATEWAY_NODE_STATE": str(state),
            "HECATE_GATEWAY_NODE_NAME": "barn",
            "HECATE_GATEWAY_BROKER_PORT": "0",
            "HECATE_GATEWAY_SIDECAR_PORT": "0",
            **environ,
        }
        self.start()

    def command(self) -> tuple[str, ...]:
        """Return what is started."""
        return (sys.executable, "-m", "gateway.cli.serve")

    def start(self) -> None:
        """Start the program, again if need be."""
        self.program = Program(self.command(), self.environ)
        ready = self.program.wait_for(
            r"gateway ready: node (\w{12}), MQTT \S+:(\d+), API (http://[\d.:]+), supernode, SEP "
        )
        self.mqtt_port, self.url = int(ready[2]), ready[3]
        self.node_id = str(self.status()["node"]["id"])
        assert self.node_id.startswith(ready[1])

    @property
    def key(self) -> str:
        """The API key."""
        return (self.state / "api-key").read_text().strip()

    def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        """Call the sidecar with its API key, another, or none ("")."""
        headers = dict(more.pop("headers", {}))
        key = self.key if key is None else key
        if key:
            headers["Authorization"] = f"Bearer {key}"
        url = self.url + path
        return httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **more)

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Return the JSON of a call that must succeed."""
        answer = self.ask(method, path, **more).raise_for_status()
        return answer.json() if answer.content else None

    def rpc(self, method: str, *params: str) -> dict[str, Any]:
        """Return the result of a JSON-RPC call."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self.call("POST", "/jsonrpc/v1", json=body)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def status(self) -> dict[str, Any]:
        """Return the snapshot."""
        snapshot: dict[str, Any] = self.call("GET", "/status/v1")
        return snapshot

    def until_ready(self) -> None:
        """Wait until /readyz says so."""
        until(lambda: self.ask("GET", "/readyz", "").status_code == 200, "the gateway is ready", 40)

    def claim(self, **wish: Any) -> str:
        """Return a new claim token."""
        return str(self.call("POST", "/devices/v1/claims", json=wish)["token"])

    def stop(self) -> int:
        """End it as a service manager would; return the exit code."""
        return self.program.stop(timeout_s=8)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = self.stop()
        log = "".join(self.program.lines)
        assert "Traceback" not in log, log
        if error is None:
            assert code == 0, log


def join(gateway: Gateway, token: str, client_id: str = "board-1") -> dict[str, Any]:
    """Do what a device does to join; return the gateway's answer."""
    with Mqtt(gateway.mqtt_port, "claim", token, client_id) as splicer:
        assert splicer.is_in, splicer.reason
        assert splicer.subscribe(f"$hec/join/{client_id}/response")
        splicer.publish(f"$hec/join/{client_id}/request", {"name": "lamp", "model": "paho"})
        answer: dict[str, Any] = until(splicer.payloads, "the gateway answers the join")[0]
        return answer


def log_in(gateway: Gateway, credentials: dict[str, Any]) -> Mqtt:
    """Connect as a device that has joined."""
    device_id = credentials["device_id"]
    device = Mqtt(gateway.mqtt_port, credentials["username"], credentials["password"], device_id)
    assert device.is_in, device.reason
    return device


def free_port() -> tuple[socket.socket, int]:
    """Return a socket that holds a port, and the port."""
    held = socket.create_server(("127.0.0.1", 0))
    return held, held.getsockname()[1]
