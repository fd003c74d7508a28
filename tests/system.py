"""Starts clouds and gateways as programs, and calls them over HTTP."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.programs import Program, until

HOST = r"127\.0\.0\.1"
CLOUD_READY = rf"^cloud ready: API (http://{HOST}:\d+), MQTT {HOST}:(\d+), relay {HOST}:(\d+)$"
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

    def call(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        """Call the cloud's API, with an access token if one is given."""
        headers = dict(options.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = self.url + path
        return httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **options)

    def dev_id_token(self) -> str:
        """Return an ID token of the development user."""
        password = (self.state / "dev-password").read_text().strip()
        form = {"username": "dev", "password": password}
        answer = self.call("POST", "/mid/v1/dev/login", data=form).raise_for_status()
        return str(answer.json()["id_token"])

    def sign_in(self, id_token: str, **more: str) -> httpx.Response:
        """Exchange an ID token for an access token."""
        form = {"grant_type": "id_token_signin", "id_token": id_token, **more}
        return self.call("POST", "/mid/v1/token", data=form)

    def log_in(self, edge_id_token: str = "") -> str:
        """Return an access token of the development user, bound to a node if one is given."""
        more = {"edge_id_token": edge_id_token, "scope": SCOPES} if edge_id_token else {}
        answer = self.sign_in(self.dev_id_token(), **more).raise_for_status()
        return str(answer.json()["access_token"])

    def metric(self, name: str) -> float:
        """Return the value of a metric, 0 when it is absent."""
        for line in self.call("GET", "/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return 0.0


def cloud_command(state: Path, *more: str, ports: tuple[int, int, int] = (0, 0, 0)) -> list[str]:
    """Return the command of a cloud; ports are of API, MQTT and relay, 0 is any free one."""
    options = ("--port", "--mqtt-port", "--relay-port")
    numbers = [text for pair in zip(options, map(str, ports), strict=True) for text in pair]
    return [sys.executable, "-m", "cloud", "--state", str(state), *numbers, *more]


def start_cloud(
    state: Path,
    config: str = "[mid]\ndevelopment = true\n",
    *,
    ports: tuple[int, int, int] = (0, 0, 0),
    **environ: str,
) -> Cloud:
    """Start a cloud with the text of a configuration file."""
    state.mkdir(exist_ok=True)
    file = state.parent / f"{state.name}.toml"
    file.write_text(config)
    program = Program(cloud_command(state, "--config", str(file), ports=ports), environ)
    ready = program.wait_for(CLOUD_READY)
    return Cloud(program, ready[1], int(ready[2]), int(ready[3]), state)


def restart_cloud(cloud: Cloud) -> Cloud:
    """Start a stopped cloud again, on the same ports."""
    port = int(cloud.url.rpartition(":")[2])
    return start_cloud(cloud.state, ports=(port, cloud.mqtt_port, cloud.relay_port))


class Gateway:
    """A running gateway; a context that ends it."""

    def __init__(self, state: Path, **environ: str) -> None:
        self.state = state
        self.environ = {
            "HECATE_GATEWAY_NODE_STATE": str(state),
            "HECATE_GATEWAY_NODE_NAME": "barn",
            "HECATE_GATEWAY_BROKER_PORT": "0",
            "HECATE_GATEWAY_SIDECAR_PORT": "0",
            "HECATE_GATEWAY_CLUSTER_ADMIT": "none",
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
            r"gateway ready: node (\w{12}), MQTT \S+:(\d+), API (http://[\d.:]+), "
            r"(?:supernode|member), SEP "
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
        options = {"timeout": 30, "trust_env": False, **more}
        return httpx.request(method, url, headers=headers, **options)

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
