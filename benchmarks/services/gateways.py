"""Runs a gateway with its default settings, and talks to its API."""

import http.client
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.brokers import SCRATCH
from benchmarks.errors import PeerError
from benchmarks.services.processes import program, tree
from gateway.services.images.pack import pack_image

CONFIG = """\
[node]
name = "bench-gateway"
state = "{folder}/state"
[broker]
port = 0
anonymous = "loopback"
[sidecar]
port = 0
[log]
level = "INFO"
"""
READY = re.compile(r"gateway ready: .*MQTT 127\.0\.0\.1:(\d+), API http://127\.0\.0\.1:(\d+)")
READY_S, ANSWER_S = 30.0, 30.0
LOOK_S = 0.002


@dataclass(frozen=True, slots=True)
class BenchGateway:
    """A gateway that is ready."""

    folder: Path
    mqtt_port: int
    api_port: int
    key: str
    pid: int
    ready_s: float  # from its start until /readyz says so

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to its HTTP port."""
        return http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=ANSWER_S)

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Any:
        """Return the answer of the API; PeerError when it refuses."""
        connection = self.connect()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind or "text/plain"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status not in (200, 201):
            raise PeerError(f"cannot {method} {path}: {answer.status} {text.decode()[:300]}")
        return json.loads(text)

    def upload(self, folder: Path) -> str:
        """Upload the image of a folder; return its name."""
        head = b'--b\r\ncontent-disposition: form-data; name="image"; filename="i.tar"\r\n\r\n'
        form = head + pack_image(folder) + b"\r\n--b--\r\n"
        path = "/mcm/v1/images"
        return str(self.call("POST", path, form, "multipart/form-data; boundary=b")["name"])

    def create(self, name: str, image: str, env: Mapping[str, str] | None = None) -> str:
        """Run a container, or update it; return its id when it runs."""
        body = json.dumps({"name": name, "image": image, "env": env or {}}).encode()
        made = self.call("POST", "/mcm/v1/containers", body, "application/json")
        if made["state"] != "started":
            raise PeerError(f"cannot run {name}: {made['state']}: {made['error']}")
        return str(made["id"])

    def container(self, container_id: str) -> Any:
        """Return what the API says of a container."""
        return self.call("GET", f"/mcm/v1/containers/{container_id}")

    def front_pids(self, name: str) -> set[int]:
        """Return the processes of a container, known by their working folder."""
        folders = self.folder / "state/services/containers"
        found = set()
        for pid in tree(self.pid):
            with suppress(OSError):
                cwd = Path(f"/proc/{pid}/cwd").readlink()
                if cwd.is_relative_to(folders) and name in cwd.relative_to(folders).parts[0]:
                    found.add(pid)
        return found


@contextmanager
def run_gateway(cloud: str = "") -> Iterator[BenchGateway]:
    """Start a gateway with a state folder of its own; it is gone afterwards.

    Args:
        cloud: the URL of a cloud that is away.
    """
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory("", "bench-", SCRATCH) as name:
        folder, began = Path(name), time.perf_counter()
        config, log = folder / "gateway.toml", folder / "log"
        config.write_text(CONFIG.format(folder=folder))
        command = [sys.executable, "-m", "gateway.cli.serve", str(config)]
        with program(command, log, {"HECATE_GATEWAY_CLOUD_URL": cloud}) as process:
            while not (found := READY.search(log.read_text())):
                if process.poll() is not None or time.perf_counter() - began > READY_S:
                    raise PeerError(f"cannot start the gateway: {log.read_text()[-400:]}")
                time.sleep(LOOK_S)
            mqtt_port, api_port = int(found[1]), int(found[2])
            _wait_for_readyz(api_port, began, 503 if cloud else 200)
            ready_s = time.perf_counter() - began
            key = (folder / "state/api-key").read_text().strip()
            yield BenchGateway(folder, mqtt_port, api_port, key, process.pid, ready_s)


def _wait_for_readyz(port: int, began: float, status: int) -> None:
    while time.perf_counter() - began < READY_S:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
        with suppress(OSError):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == status:
                connection.close()
                return
        connection.close()
        time.sleep(LOOK_S)
    raise PeerError("cannot start the gateway: /readyz does not say that it is ready")
