"""Runs Node-RED with a flow of three nodes: MQTT in, a function, MQTT out."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import PeerError, UnableError
from benchmarks.npm import NPM_FOLDER, install_from_npm
from benchmarks.services.gateways import BenchGateway
from benchmarks.services.processes import program

PACKAGE = "node-red@4.1.8"  # the newest that runs on Node 20
INSTALL_S, START_S = 240.0, 60.0
LOOK_S = 0.05
FOLDER = NPM_FOLDER / "node_modules/node-red"
# no editor, no HTTP, no file of credentials
SETTINGS = """\
module.exports = {
  uiHost: "127.0.0.1", uiPort: 0, httpAdminRoot: false, httpNodeRoot: false,
  credentialSecret: false, flowFile: "flows.json",
  logging: { console: { level: "info", metrics: false, audit: false } },
}
"""
FUNCTION = "msg.topic = 'out' + msg.topic.slice(2); return msg;"


def install_node_red() -> str:
    """Put Node-RED into build/npm unless it is there; return why not, "" when it is there."""
    if (FOLDER / "red.js").exists():
        return ""
    return install_from_npm((PACKAGE,), INSTALL_S)


def node_red_version() -> str:
    """Return its version; "" when it is not installed."""
    try:
        return str(json.loads((FOLDER / "package.json").read_text())["version"])
    except OSError:
        return ""


@contextmanager
def run_node_red(gateway: BenchGateway) -> Iterator[int]:
    """Run the flow on a gateway's broker; yield the process id."""
    node = shutil.which("node")
    if node is None or not node_red_version():
        raise UnableError("Node-RED is not installed")
    folder, log = gateway.folder / "node-red", gateway.folder / "node-red.log"
    folder.mkdir()
    (folder / "settings.js").write_text(SETTINGS)
    (folder / "flows.json").write_text(json.dumps(make_flow(gateway.mqtt_port)))
    command = [node, str(FOLDER / "red.js"), "--userDir", str(folder)]
    with program(command, log) as process:
        _wait_for_connection(log)
        yield process.pid


def make_flow(port: int) -> list[dict[str, object]]:
    """Return the nodes: in/# at QoS 1, the topic changed, out/# at QoS 1."""
    flow: dict[str, object] = {"z": "flow", "x": 0, "y": 0}  # without a place, configuration
    broker = {
        "id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(port),
        "clientid": "node-red", "autoConnect": True, "usetls": False, "protocolVersion": "4",
        "keepalive": "60", "cleansession": True,
    }  # fmt: skip
    taking: dict[str, object] = {
        "id": "in", "type": "mqtt in", "topic": "in/#", "qos": "1", "datatype": "buffer",
        "broker": "broker", "inputs": 0, "wires": [["function"]],
    }  # fmt: skip
    function: dict[str, object] = {
        "id": "function", "type": "function", "func": FUNCTION, "outputs": 1, "noerr": 0,
        "initialize": "", "finalize": "", "libs": [], "wires": [["out"]],
    }  # fmt: skip
    giving: dict[str, object] = {
        "id": "out", "type": "mqtt out", "topic": "", "qos": "1", "retain": "false",
        "broker": "broker", "wires": [],
    }  # fmt: skip
    nodes = [flow | taking, flow | function, flow | giving]
    return [{"id": "flow", "type": "tab", "label": "echo"}, broker, *nodes]


def _wait_for_connection(log: Path) -> None:
    deadline = time.monotonic() + START_S
    while "Connected to broker" not in log.read_text():
        if time.monotonic() > deadline:
            raise PeerError(f"cannot start Node-RED: {log.read_text()[-400:]}")
        time.sleep(LOOK_S)
